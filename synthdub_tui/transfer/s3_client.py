"""Creates S3 clients that ignore the user's AWS settings, and translates S3's errors.

A bare botocore session reads dozens of `AWS_*` variables and two files in `~/.aws`. Any of them can send an upload elsewhere,
sign it with another region or break it. Here every session variable is pinned to botocore's own default. `HTTP_PROXY`,
`HTTPS_PROXY`, `NO_PROXY`, `SSL_CERT_FILE` and `REQUESTS_CA_BUNDLE` still apply, because they say how to reach the network.

botocore is imported on first use: that takes about 130 ms.
"""

from __future__ import annotations

import logging
import os
import random
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from synthdub_tui.errors import ProblemError
from synthdub_tui.transfer.failures import describe_cause

REGION: Final = "eu-west-1"
"""Region of the service's upload bucket (API reference, POST /v2/assets)."""

MAX_RETRY_PAUSE_SECONDS: Final = 20.0
"""Longest pause between two attempts in seconds, as in botocore's standard retry mode."""

MAX_RESPONSE_BYTES: Final = 1024 * 1024
"""Largest answer of the storage in bytes; answers to uploads have a few hundred."""

_TRANSIENT_STATUS: Final = frozenset({429, 500, 502, 503, 504})
_TRANSIENT_CODES: Final = frozenset(
    {
        *("BadDigest", "BandwidthLimitExceeded", "IncompleteBody", "PriorRequestNotComplete", "RequestLimitExceeded"),
        *("RequestThrottled", "RequestTimeout", "RequestTimeoutException", "SlowDown", "Throttling", "ThrottlingException"),
    }
)
_EXPIRED: Final = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"})
_REGION: Final = frozenset(
    {
        *("AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect", "Redirect"),
        *("TemporaryRedirect", "301", "307"),
    }
)
_REQUIRED_RESPONSE_FIELDS: Final = {
    **dict.fromkeys(("PutObject", "UploadPart", "CompleteMultipartUpload"), "ETag"),
    "CreateMultipartUpload": "UploadId",
}
_UPLOAD_GONE_CODES: Final = frozenset({"NoSuchUpload"})  # the storage dropped the multipart upload: another upload may succeed
_CODE: Final = re.compile(r"[A-Za-z][A-Za-z.]{0,63}|[1-5][0-9]{2}")


@dataclass(frozen=True)
class UploadTarget:
    """Bucket and key for one source, and short-lived credentials for that key alone. Its repr shows no secret."""

    access_key_id: str = field(repr=False)
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    bucket: str
    key: str


@dataclass(frozen=True)
class S3Config:
    """How to connect to the storage. Timeouts and `backoff` (first pause between attempts, doubled each time) in seconds."""

    endpoint_url: str | None
    connections: int
    connect_timeout: float
    read_timeout: float
    attempts: int
    backoff: float


_SESSION_LOCK: Final = threading.Lock()
"""Creates clients one at a time: threads must not use a botocore session at once."""


def make_s3_client(config: S3Config, target: UploadTarget) -> Any:
    """Create a client for one target (2–3 ms; the first of a process about 150 ms). Raises botocore's errors."""
    with _SESSION_LOCK:
        client = isolated_session().create_client(
            "s3",
            region_name=REGION,
            endpoint_url=config.endpoint_url,
            aws_access_key_id=target.access_key_id,
            aws_secret_access_key=target.secret_access_key,
            aws_session_token=target.session_token,
            config=_config(config),
            verify=_ca_bundle(),
        )
    session = client._endpoint.http_session
    session.send = _limit_response(session.send, config.read_timeout)
    return client


def _limit_response(send: Callable[[Any], Any], seconds: float) -> Callable[[Any], Any]:
    """Limit each answer to `MAX_RESPONSE_BYTES` bytes and its body to `seconds`; botocore limits neither."""

    def bounded(request: Any) -> Any:
        from botocore.exceptions import HTTPClientError  # noqa: PLC0415

        request.stream_output = True  # the body is read below
        response = send(request)
        body = bytearray()
        deadline = time.monotonic() + seconds
        try:
            for piece in response.raw.stream(65536):
                body += piece
                if len(body) > MAX_RESPONSE_BYTES or time.monotonic() > deadline:
                    raise ValueError("too long an answer")
        except Exception as error:
            response.raw.close()
            raise HTTPClientError(error=error) from error
        response._content = bytes(body)
        return response

    return bounded


@cache
def isolated_session() -> Any:
    """The only botocore session of the process. It reads no profile, no AWS file and no `AWS_*` variable."""
    import botocore.session  # noqa: PLC0415
    from botocore.configprovider import ConstantProvider  # noqa: PLC0415

    _keep_secrets_out_of_logs()
    session = botocore.session.Session()
    store = session.get_component("config_store")
    for name, (_, _, default, _) in botocore.session.Session.SESSION_VARIABLES.items():
        value = None if name in {"config_file", "credentials_file"} else default
        store.set_config_provider(name, ConstantProvider(value))
    for section in ("s3", "proxies_config"):
        store.set_config_provider(section, ConstantProvider(None))
    return session


def _keep_secrets_out_of_logs() -> None:
    """At DEBUG these libraries log request headers with the session token; a root logger at DEBUG must not cause that."""
    for name in ("botocore", "s3transfer", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _config(link: S3Config) -> Any:
    from botocore.config import Config  # noqa: PLC0415

    return Config(
        connect_timeout=link.connect_timeout,
        read_timeout=link.read_timeout,
        max_pool_connections=link.connections,
        retries={"total_max_attempts": 1, "mode": "standard"},  # `RetryHandler` decides instead
        signature_version="s3v4",
        s3={
            "addressing_style": "path" if link.endpoint_url else "auto",
            "use_accelerate_endpoint": False,
            "use_arn_region": False,
        },
        request_checksum_calculation="when_supported",  # S3 then checks a CRC of every part
        response_checksum_validation="when_required",
        use_dualstack_endpoint=False,
        use_fips_endpoint=False,
        ignore_configured_endpoint_urls=True,
        defaults_mode="legacy",
        tcp_keepalive=True,
    )


def _ca_bundle() -> str | bool:
    """The CA bundle named by the environment, in the same order as for API calls; else botocore's own."""
    return os.environ.get("SSL_CERT_FILE") or os.environ.get("REQUESTS_CA_BUNDLE") or True


class RetryHandler:
    """Decides for botocore whether to repeat a failed request, and pauses so that a cancel interrupts the pause.

    botocore's own retries sleep up to 20 s despite a cancel, and repeat reads that failed because the source changed.
    `should_give_up` is called before each repetition: it returns whether another part has already failed, and raises to end the
    transfer. It is not called after a success (the id of a new multipart upload is needed to abort it), nor for an abort
    (giving up would leave an orphan).
    """

    def __init__(self, config: S3Config, stop: threading.Event, should_give_up: Callable[[], bool]) -> None:
        self._config = config
        self._stop_event = stop
        self._should_give_up = should_give_up

    def install(self, client: Any) -> None:
        """Make the client call `on_needs_retry` before its own retry handler."""
        client.meta.events.register_first("needs-retry.s3", self.on_needs_retry)

    def on_needs_retry(
        self, attempts: int, operation: Any, request_dict: Any, response: Any, caught_exception: Any, **_: Any
    ) -> int | None:
        """Handler of botocore's `needs-retry` event: None keeps the outcome, 0 repeats the request now. Raises CancelledError
        after a cancel, ProblemError("upload_failed") if the last answer is not from S3, and the errors of `should_give_up`."""
        if not _names_region(response):
            # botocore's region redirector would send a HEAD for the region, and another for its answer, without end
            request_dict["context"].setdefault("s3_redirect", {})["redirected"] = True
        aborting = operation.name == "AbortMultipartUpload"
        strange = _is_not_from_storage(operation.name, response)
        if not (strange or _is_transient(response, caught_exception)) or (not aborting and self._should_give_up()):
            return None
        if attempts >= self._config.attempts:
            if strange:
                raise ProblemError("upload_failed", "the answer is not the storage's")
            return None
        pause = random.uniform(0.5, 1.0) * min(MAX_RETRY_PAUSE_SECONDS, self._config.backoff * 2 ** (attempts - 1))  # noqa: S311
        if aborting:
            time.sleep(pause)
        elif self._stop_event.wait(pause):
            raise CancelledError
        return 0


def _names_region(response: Any) -> bool:
    """Whether the storage names its region, so that botocore can redirect the request."""
    parsed = response[1] if response is not None else {}
    headers = parsed.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return "x-amz-bucket-region" in headers or "Region" in parsed.get("Error", {})


def _is_not_from_storage(operation: str, response: Any) -> bool:
    """Whether a success lacks a field that S3 always sends: then a proxy or a sign-in page answered, and nothing was stored."""
    if response is None or not 200 <= response[0].status_code < 300:
        return False
    return (
        operation in _REQUIRED_RESPONSE_FIELDS
        and _REQUIRED_RESPONSE_FIELDS[operation] not in response[1]
        and "Error" not in response[1]
    )


def _is_transient(response: Any, error: Any) -> bool:
    from botocore.exceptions import ConnectionError as NoConnection  # noqa: PLC0415
    from botocore.exceptions import HTTPClientError  # noqa: PLC0415

    if response is None:
        return isinstance(error, NoConnection | HTTPClientError)
    http, parsed = response
    return http.status_code in _TRANSIENT_STATUS or parsed.get("Error", {}).get("Code") in _TRANSIENT_CODES


def problem_from_error(error: Exception) -> ProblemError | None:
    """The ProblemError for an error of botocore: credentials_expired, upload_region, upload_denied or upload_failed; None for
    any other error."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    if isinstance(error, ClientError):
        return _problem_from_response(error.response)
    if isinstance(error, BotoCoreError):
        return ProblemError("upload_failed", describe_cause(error))
    return None


def _problem_from_response(response: Any) -> ProblemError:
    """Codes: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html"""
    said = str(response.get("Error", {}).get("Code", ""))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    code = said if _CODE.fullmatch(said) else ""
    detail = ", ".join(filter(None, (code, f"HTTP {status}" if status else "")))
    if code in _EXPIRED:
        return ProblemError("credentials_expired", detail)
    if code in _REGION or status in {301, 302, 307}:
        return ProblemError("upload_region", detail)
    if code in _TRANSIENT_CODES | _UPLOAD_GONE_CODES or status in _TRANSIENT_STATUS or not 400 <= status < 500:
        return ProblemError("upload_failed", detail)
    return ProblemError("upload_denied", detail)
