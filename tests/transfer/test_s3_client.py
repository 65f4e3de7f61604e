"""The user's AWS settings neither redirect nor break an upload (design rule 6)."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from synthdub_tui.transfer.s3_client import S3Config, isolated_session, make_s3_client
from synthdub_tui.transfer.upload import Uploader
from tests.transfer.conftest import OBJECT_PATH, UPLOAD_TARGET, make_source, part_digests
from tests.transfer.fault_servers import FakeBucket

HOSTILE_ENVIRONMENT = {
    "AWS_PROFILE": "nobody",
    "AWS_DEFAULT_PROFILE": "nobody",
    "AWS_ACCESS_KEY_ID": "AKIDOFTHEUSER",
    "AWS_SECRET_ACCESS_KEY": "users",
    "AWS_SESSION_TOKEN": "users",
    "AWS_REGION": "nowhere-1",
    "AWS_DEFAULT_REGION": "nowhere-1",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false",
    "AWS_CA_BUNDLE": "/nowhere/ca.pem",
    "AWS_DATA_PATH": "/nowhere",
    "AWS_USE_FIPS_ENDPOINT": "true",
    "AWS_USE_DUALSTACK_ENDPOINT": "true",
    "AWS_S3_USE_ARN_REGION": "true",
    "AWS_S3_US_EAST_1_REGIONAL_ENDPOINT": "nonsense",
    "AWS_S3_DISABLE_MULTIREGION_ACCESS_POINTS": "true",
    "AWS_S3_DISABLE_EXPRESS_SESSION_AUTH": "true",
    "AWS_REQUEST_CHECKSUM_CALCULATION": "nonsense",
    "AWS_RESPONSE_CHECKSUM_VALIDATION": "nonsense",
    "AWS_MAX_ATTEMPTS": "-3",
    "AWS_RETRY_MODE": "nonsense",
    "AWS_DEFAULTS_MODE": "nonsense",
    "AWS_STS_REGIONAL_ENDPOINTS": "nonsense",
    "AWS_AUTH_SCHEME_PREFERENCE": "sigv4a",
    "AWS_SIGV4A_SIGNING_REGION_SET": "*",
    "AWS_ACCOUNT_ID_ENDPOINT_MODE": "required",
    "AWS_DISABLE_REQUEST_COMPRESSION": "nonsense",
    "AWS_REQUEST_MIN_COMPRESSION_SIZE_BYTES": "nonsense",
    "AWS_CSM_ENABLED": "true",
    "AWS_SDK_UA_APP_ID": "x" * 200,
}

NETWORK_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
"""These stay honoured, so they must not differ between the places compared."""

AWS_CONFIG_FILES = """
[default]
region = nowhere-1
endpoint_url = http://127.0.0.1:9
ca_bundle = /nowhere/ca.pem
credential_process = /bin/false
aws_access_key_id = AKIDOFTHEUSER
aws_secret_access_key = users
use_fips_endpoint = true
retry_mode = nonsense
request_checksum_calculation = nonsense
proxy_ca_bundle = /nowhere/ca.pem
s3 =
  addressing_style = virtual
  use_accelerate_endpoint = true
  payload_signing_enabled = nonsense
  signature_version = s3
"""


@pytest.fixture(autouse=True)
def fresh_session() -> None:
    """Made in the place of the test, not in that of the first upload of the run."""
    isolated_session.cache_clear()


@pytest.fixture(params=["environment", "files", "broken files", "both"])
def hostile_settings(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings that a plain boto3 client would follow or stumble over."""
    for name in [name for name in os.environ if name.startswith("AWS_") or name in NETWORK_VARIABLES]:
        monkeypatch.delenv(name)
    folder = tmp_path / "home" / ".aws"
    folder.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(folder.parent))
    if request.param in ("environment", "both"):
        for name, value in HOSTILE_ENVIRONMENT.items():
            monkeypatch.setenv(name, value)
    if request.param != "environment":
        text = "[default\nregion" if request.param == "broken files" else AWS_CONFIG_FILES
        for name in ("config", "credentials"):
            (folder / name).write_text(text)


@pytest.mark.usefixtures("hostile_settings")
async def test_an_upload_goes_to_the_given_endpoint(
    bucket_and_url: tuple[FakeBucket, str], uploader: Uploader, tmp_path: Path
) -> None:
    await uploader.upload(make_source(tmp_path / "a.mp4", 9 * 1024 * 1024), UPLOAD_TARGET, lambda sent: None)
    assert bucket_and_url[0].objects == {OBJECT_PATH: part_digests(tmp_path / "a.mp4")}
    for request in bucket_and_url[0].received:
        assert f"Credential={UPLOAD_TARGET.access_key_id}/" in request.headers["authorization"]
        assert "/eu-west-1/s3/aws4_request" in request.headers["authorization"]
        assert request.headers["x-amz-security-token"] == UPLOAD_TARGET.session_token
    assert "x-amz-checksum-crc32" in bucket_and_url[0].received[1].headers


@pytest.mark.usefixtures("hostile_settings")
def test_without_an_endpoint_the_client_is_for_aws_in_ireland() -> None:
    assert _client_facts(make_s3_client(_s3_config(), UPLOAD_TARGET)) == _clean_client_facts()


@pytest.mark.usefixtures("hostile_settings")
def test_the_hostile_settings_affect_a_plain_client(tmp_path: Path) -> None:
    """A plain client in the same place does something else, or cannot even be made."""
    try:
        made = _client_facts(_plain_boto3_client())
    except Exception as error:
        made = {"error": type(error).__name__}
    assert made != _clean_client_facts()


def _s3_config() -> S3Config:
    return S3Config(None, 6, 15, 60, 6, 1.0)


def _plain_boto3_client() -> Any:
    import boto3

    return boto3.Session().client(
        "s3",
        region_name="eu-west-1",
        aws_access_key_id=UPLOAD_TARGET.access_key_id,
        aws_secret_access_key=UPLOAD_TARGET.secret_access_key,
        aws_session_token=UPLOAD_TARGET.session_token,
    )


def _client_facts(client: Any) -> dict[str, Any]:
    """What a client would do, as a whole."""
    sent: list[str] = []

    def intercept(request: Any, **_: Any) -> None:
        sent.append(request.url)
        raise LookupError

    client.meta.events.register("before-send.s3", intercept)
    with pytest.raises(LookupError):
        client.put_object(Bucket="bucket", Key="key", Body=b"")
    config = client.meta.config
    return {
        "url": client.meta.endpoint_url,
        "sent": sent,
        "region": config.region_name,
        "s3": config.s3,
        "retries": config.retries,
        "checksums": (config.request_checksum_calculation, config.response_checksum_validation),
        "verify": client._endpoint.http_session._verify,
        "variants": (config.use_fips_endpoint, config.use_dualstack_endpoint),
    }


@functools.cache
def _clean_client_facts() -> dict[str, Any]:
    code = (
        "import json; from tests.transfer.test_s3_client import _client_facts, _s3_config; "
        "from synthdub_tui.transfer.s3_client import make_s3_client; from tests.transfer.conftest import UPLOAD_TARGET; "
        "print(json.dumps(_client_facts(make_s3_client(_s3_config(), UPLOAD_TARGET))))"
    )
    clean = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    clean["HOME"] = "/nowhere"
    done = subprocess.run([sys.executable, "-c", code], env=clean, capture_output=True, text=True, check=True)
    made: dict[str, Any] = json.loads(done.stdout)
    made["checksums"] = tuple(made["checksums"])
    made["variants"] = tuple(made["variants"])
    assert made["url"] == "https://s3.eu-west-1.amazonaws.com"
    assert made["sent"] == ["https://bucket.s3.eu-west-1.amazonaws.com/key"]
    return made


def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    client = make_s3_client(_s3_config(), UPLOAD_TARGET)
    assert client._endpoint.http_session._proxy_config.proxy_url_for("https://s3.eu-west-1.amazonaws.com/") == (
        "http://proxy.example:3128"
    )
