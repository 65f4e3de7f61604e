"""Checks AWS signatures of version 4: computes them again with botocore's own signer and compares."""

from __future__ import annotations

import hmac
import re
import time
from calendar import timegm
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from synthdub_tui.sandbox.http_server import Request
from synthdub_tui.sandbox.s3_errors import S3Error
from synthdub_tui.sandbox.service_state import UploadGrant

REGION: Final = "eu-west-1"
_MAX_CLOCK_SKEW_SECONDS: Final = 15 * 60.0  # seconds, as in S3
_HEADER: Final = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, *"
    r"SignedHeaders=([^,]+), *Signature=([0-9a-f]{64})"
)


@dataclass(frozen=True)
class Signed:
    """The verified signature of a request. `sign` signs further strings with its key, for the chunks of its body."""

    grant: UploadGrant
    signature: str
    timestamp: str
    scope: str
    sign: Callable[[str], str]


def verify(request: Request, find: Callable[[str], UploadGrant | None], now: float) -> Signed:
    """Check the Authorization header. Raises the S3Error that S3 would answer."""
    header = request.headers.get("authorization")
    if header is None:
        raise S3Error("AccessDenied", "Access Denied")
    match = _HEADER.fullmatch(header)
    if match is None:
        raise S3Error("AuthorizationHeaderMalformed", "The authorization header that you provided is not valid.")
    access_key, date, region, service, names, signature = match.groups()
    grant = _admit(request, find(access_key), region, service, now)
    timestamp = request.headers.get("x-amz-date", "")
    _check_time(timestamp, date)
    auth = S3SigV4Auth(Credentials(grant.access_key, grant.secret, grant.token), "s3", REGION)
    again = _rebuild_request(request, names.split(";"), timestamp)
    text = auth.string_to_sign(again, auth.canonical_request(again))
    _compare(auth.signature(text, again), signature)
    return Signed(grant, signature, timestamp, auth.credential_scope(again), lambda more: str(auth.signature(more, again)))


def _admit(request: Request, grant: UploadGrant | None, region: str, service: str, now: float) -> UploadGrant:
    if region != REGION:
        message = f"The authorization header is malformed; the region '{region}' is wrong; expecting '{REGION}'"
        raise S3Error("AuthorizationHeaderMalformed", message, Region=REGION)
    if service != "s3":
        raise S3Error("AuthorizationHeaderMalformed", f'incorrect service "{service}". This endpoint belongs to "s3".')
    if grant is None:
        raise S3Error("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
    if request.headers.get("x-amz-security-token") != grant.token:
        raise S3Error("InvalidToken", "The provided token is malformed or otherwise invalid.")
    if now >= grant.expires:
        raise S3Error("ExpiredToken", "The provided token has expired.")
    return grant


def _check_time(timestamp: str, date: str) -> None:
    """Compare with the real time, because tests may move the sandbox's clock but not the client's. Raises S3Error."""
    at = _seconds(timestamp)
    if at is None or timestamp[:8] != date:
        raise S3Error("AuthorizationHeaderMalformed", "The authorization header is malformed; invalid date.")
    if abs(time.time() - at) > _MAX_CLOCK_SKEW_SECONDS:
        raise S3Error("RequestTimeTooSkewed", "The difference between the request time and the current time is too large.")


def _seconds(timestamp: str) -> float | None:
    try:
        return float(timegm(time.strptime(timestamp, "%Y%m%dT%H%M%SZ")))
    except ValueError:
        return None


def _rebuild_request(request: Request, names: list[str], timestamp: str) -> Any:
    """The request as the client signed it. Raises S3Error if a required header is not signed."""
    unsigned = [name for name in request.headers if name.startswith("x-amz-") and name not in names]
    if unsigned or "host" not in names:
        missing = ", ".join(unsigned or ["host"])
        raise S3Error(
            "AccessDenied", "There were headers present in the request which were not signed", HeadersNotSigned=missing
        )
    headers = {name: request.headers.get(name, "") for name in names}
    again = AWSRequest(request.method, f"http://{request.headers.get('host', '')}{request.target}", headers=headers)
    again.context["timestamp"] = timestamp
    return again


def _compare(ours: str, theirs: str) -> None:
    if not hmac.compare_digest(ours, theirs):
        message = "The request signature we calculated does not match the signature you provided."
        raise S3Error("SignatureDoesNotMatch", message)


# -- signed URLs ------------------------------------------------------------------------------------------------------


def presign(url: str, credentials: Credentials, seconds: int, now: float) -> str:
    """A URL for GETs of one object, valid for `seconds` from `now`."""
    auth = S3SigV4QueryAuth(credentials, "s3", REGION, expires=seconds)
    timestamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    query = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{credentials.access_key}/{timestamp[:8]}/{REGION}/s3/aws4_request",
        "X-Amz-Date": timestamp,
        "X-Amz-Expires": str(seconds),
        "X-Amz-SignedHeaders": "host",
    }
    unsigned = f"{url}?{urlencode(query)}"
    return f"{unsigned}&X-Amz-Signature={_query_signature(auth, 'GET', unsigned, timestamp)}"


def verify_url(request: Request, credentials: Credentials, now: float) -> None:
    """Check a signed URL. Raises the S3Error that S3 would answer."""
    if "authorization" in request.headers:
        message = (
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, "
            "Signature query string parameter or the Authorization header should be specified"
        )
        raise S3Error("InvalidArgument", message, ArgumentName="Authorization")
    signature = request.argument("X-Amz-Signature")
    timestamp = request.argument("X-Amz-Date") or ""
    expires = request.argument("X-Amz-Expires") or ""
    at = _seconds(timestamp)
    if signature is None:
        raise S3Error("AccessDenied", "Access Denied")
    if at is None or not expires.isdecimal():
        raise S3Error("AuthorizationQueryParametersError", "Error parsing the X-Amz-Credential parameter.")
    if now >= at + int(expires):
        raise S3Error("AccessDenied", "Request has expired", **{"X-Amz-Expires": expires})
    target = re.sub(r"[?&]X-Amz-Signature=[^&]*", "", request.target)
    auth = S3SigV4QueryAuth(credentials, "s3", REGION, expires=int(expires))
    ours = _query_signature(auth, request.method, f"http://{request.headers.get('host', '')}{target}", timestamp)
    _compare(ours, signature)


def _query_signature(auth: Any, method: str, url: str, timestamp: str) -> str:
    request = AWSRequest(method, url)
    request.context["timestamp"] = timestamp
    return str(auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request))
