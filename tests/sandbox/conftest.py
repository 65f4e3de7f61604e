"""A sandbox per test, and a client of it that speaks plain HTTP."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from synthdub_tui.sandbox import Sandbox, SandboxConfig, running_sandbox

SLOW_SANDBOX: dict[str, Any] = {"processing_seconds": 60.0, "dubbing_seconds": (100.0, 200.0)}
"""Long on the sandbox's clock, which the tests move: nothing ends by itself while a test looks."""

CLIENT_OPTIONS: dict[str, Any] = {"timeout": 60, "verify": False, "trust_env": False}
"""Loading certificates takes longer than most of these tests."""


class ApiCaller:
    """The API as a stranger would call it."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.api_client = httpx.Client(base_url=sandbox.api_url, headers={"Authorization": sandbox.api_key}, **CLIENT_OPTIONS)
        self.plain_client = httpx.Client(**CLIENT_OPTIONS)

    def close(self) -> None:
        self.api_client.close()
        self.plain_client.close()

    def post_asset(self, **changes: Any) -> httpx.Response:
        body = {"contentType": "video/mp4", "configuration": {"name": "dubbing"}, "title": "intro", **changes}
        return self.api_client.post("/v2/assets", json=body)

    def create_asset(self, **changes: Any) -> dict[str, Any]:
        answer = self.post_asset(**changes)
        assert answer.status_code == 201
        document: dict[str, Any] = answer.json()
        return document

    def upload(self, asset: dict[str, Any], body: bytes = b"a video") -> None:
        assert self.send_signed("PUT", asset, body=body).status_code == 200

    def upload_new_asset(self, **changes: Any) -> str:
        """Id of a new asset that was uploaded and processed."""
        asset = self.create_asset(**changes)
        self.upload(asset)
        self.sandbox.advance(60)
        return str(asset["id"])

    def post_dubbing(self, asset: str, *languages: str, **changes: Any) -> httpx.Response:
        body = {
            "title": "intro",
            "sourceAssetId": asset,
            "sourceLanguage": "en",
            "targetLanguages": list(languages),
            **changes,
        }
        return self.api_client.post("/v2/dubbing", json=body)

    def create_project(self, *languages: str, **changes: Any) -> str:
        """Id of a new project."""
        answer = self.post_dubbing(self.upload_new_asset(), *languages, **changes)
        assert answer.status_code == 202
        return str(answer.json()["createdImportedAsset"]["id"])

    def look(self, project: str) -> dict[str, Any]:
        document: dict[str, Any] = self.api_client.get(f"/v2/dubbing/{project}").json()
        return document

    def complete_dubs(self, *languages: str) -> list[dict[str, Any]]:
        """The dubs of a new project, all complete."""
        project = self.create_project(*languages)
        self.sandbox.advance(200)
        document = self.look(project)
        assert document["status"] == "complete"
        return list(document["dubbedAssets"])

    def send_signed(
        self,
        method: str,
        asset: dict[str, Any],
        query: str = "",
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        region: str = "eu-west-1",
        **changes: str,
    ) -> httpx.Response:
        """A request to storage, signed with the asset's credentials; `changes` replace some of them."""
        given = {**asset["uploadCredentials"], **changes}
        url = f"{self.sandbox.s3_url}/{given['bucket']}/{given['key']}{query}"
        content_hash = hashlib.sha256(body).hexdigest()
        request = AWSRequest(method, url, headers={"X-Amz-Content-SHA256": content_hash, **(headers or {})}, data=body)
        credentials = Credentials(given["accessKeyId"], given["secretAccessKey"], given["sessionToken"])
        _Signer(credentials, "s3", region).add_auth(request)
        return self.plain_client.request(method, url, headers=dict(request.headers.items()), content=body)


class _Signer(S3SigV4Auth):
    """Signs the hash that the request names, be it wrong."""

    def _modify_request_before_signing(self, request: AWSRequest) -> None:
        named = request.headers["X-Amz-Content-SHA256"]
        super()._modify_request_before_signing(request)
        del request.headers["X-Amz-Content-SHA256"]
        request.headers["X-Amz-Content-SHA256"] = named


MakeCaller = Callable[..., ApiCaller]


@pytest.fixture
def make_caller(tmp_path: Path) -> Iterator[MakeCaller]:
    """Starts a sandbox with the given configuration; any number in a test."""
    with ExitStack() as stack:

        def start(**config: Any) -> ApiCaller:
            root = tmp_path / f"sandbox-{len(list(tmp_path.iterdir()))}"
            caller = ApiCaller(stack.enter_context(running_sandbox(SandboxConfig(**{**SLOW_SANDBOX, **config}), root)))
            stack.callback(caller.close)
            return caller

        yield start


@pytest.fixture
def caller(make_caller: MakeCaller) -> ApiCaller:
    return make_caller()
