"""The storages that the conformance tests run against."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import boto3
import httpx
import pytest
from botocore.config import Config

from synthdub_tui.sandbox import Sandbox, SandboxConfig, running_sandbox
from tests.seaweedfs_server import SeaweedFS, seaweedfs

__all__ = ["seaweedfs"]


@dataclass(frozen=True)
class UploadTicket:
    """What an uploader is given: an endpoint, credentials, and the one key they are good for."""

    endpoint_url: str
    access_key: str
    secret_key: str
    token: str
    bucket: str
    key: str

    def client(self, **config: Any) -> Any:
        """A boto3 client; no retries, so that an error shows at once."""
        settings: dict[str, Any] = {"retries": {"total_max_attempts": 1}, **config}
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            region_name="eu-west-1",
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            aws_session_token=self.token,
            config=Config(**settings),
        )

    @property
    def bucket_and_key(self) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self.key}


class StorageUnderTest(Protocol):
    """A storage under test, seen from behind."""

    expired_error: tuple[str, int]

    def ticket(self, expired: bool = False) -> UploadTicket: ...

    def content(self, ticket: UploadTicket) -> bytes | None:
        """What is stored under the ticket's key."""

    def count_open_uploads(self, ticket: UploadTicket) -> int:
        """Multipart uploads to the key that were neither completed nor aborted."""


class SandboxStorage:
    expired_error = ("ExpiredToken", 400)  # as S3 documents it, and the vendor's guide

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def ticket(self, expired: bool = False) -> UploadTicket:
        body = {"contentType": "video/mp4", "configuration": {"name": "dubbing"}}
        headers = {"Authorization": self._sandbox.api_key}
        given = httpx.post(f"{self._sandbox.api_url}/v2/assets", json=body, headers=headers).json()["uploadCredentials"]
        if expired:
            self._sandbox.advance(self._sandbox.config.upload_credentials_seconds + 1)
        return UploadTicket(
            self._sandbox.s3_url,
            given["accessKeyId"],
            given["secretAccessKey"],
            given["sessionToken"],
            given["bucket"],
            given["key"],
        )

    def content(self, ticket: UploadTicket) -> bytes | None:
        stored = self._sandbox.storage.uploads.objects.get(ticket.key)
        return stored.path.read_bytes() if stored else None

    def count_open_uploads(self, ticket: UploadTicket) -> int:
        return sum(upload.key == ticket.key for upload in self._sandbox.storage.uploads.open_uploads.values())


class SeaweedStorage:
    expired_error = ("InvalidAccessKeyId", 403)  # it forgets a session when its token expires

    def __init__(self, server: SeaweedFS) -> None:
        self._server = server

    def ticket(self, expired: bool = False) -> UploadTicket:
        key = f"user-assets/{uuid4()}/source"
        given = self._server.credentials_for(key, -60 if expired else 900)
        server = self._server
        return UploadTicket(server.endpoint_url, given.access_key, given.secret_key, given.token, server.bucket, key)

    def content(self, ticket: UploadTicket) -> bytes | None:
        admin = self._server.admin()
        listed = admin.list_objects_v2(Bucket=ticket.bucket, Prefix=ticket.key)
        if listed["KeyCount"] == 0:
            return None
        return bytes(admin.get_object(**ticket.bucket_and_key)["Body"].read())

    def count_open_uploads(self, ticket: UploadTicket) -> int:
        listed = self._server.admin().list_multipart_uploads(Bucket=ticket.bucket)
        return sum(upload["Key"] == ticket.key for upload in listed.get("Uploads", []))


@pytest.fixture(params=["sandbox", "seaweedfs"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StorageUnderTest]:
    if request.param == "seaweedfs":
        yield SeaweedStorage(request.getfixturevalue("seaweedfs"))
        return
    with running_sandbox(SandboxConfig(), tmp_path / "sandbox") as sandbox:
        yield SandboxStorage(sandbox)


@pytest.fixture
def ticket(storage: StorageUnderTest) -> UploadTicket:
    return storage.ticket()


def change_ticket(ticket: UploadTicket, **changes: str) -> UploadTicket:
    return replace(ticket, **changes)
