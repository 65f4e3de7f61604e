"""Decides from an answer whether its request was accepted, refused or of unknown outcome.

A paid request counts as refused only if the API itself says so: a refusal's status and a complete error in the API's form.
A proxy, a gateway or a firewall may answer after the service has accepted the request. Any other answer therefore leaves the
outcome unknown, and only the user may send the request again. Two exceptions need no error in the API's form: a 429 with the
documented headers of a rate limit, since a rate limiter rejects calls instead of forwarding them, and a refusal by moderation.

Answers to free requests are read with more tolerance: repeating such a request does no harm.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from synthdub_tui.errors import ProblemError
from synthdub_tui.jobs.moderation import MODERATION, is_moderation_refusal

from .errors import (
    AccountError,
    InvalidApiKeyError,
    NotSentError,
    RequestRejectedError,
    ServiceUnavailableError,
    UnknownOutcomeError,
)
from .rate_gate import Endpoint
from .retry_after import DEFAULT_WAIT_SECONDS, requested_wait
from .schema import ErrorBody

_PAID: Final = frozenset({Endpoint.CREATE_DUBBING, Endpoint.ADD_LOCALES})

_REJECTION_STATUSES: Final = frozenset({400, 401, 402, 403, 404, 415, 422, 429})
"""Statuses with which the API refuses a request before it acts on it (API reference; for 401 the guide)."""

_MODERATION_STATUSES: Final = frozenset({400, 403, 422})
"""Statuses of a refusal by moderation. It is believed in any form, since such a request is never repeated automatically."""

_LIMIT_HEADERS: Final = ("retry-after", "ratelimit-limit", "ratelimit-reset")

_NOT_PROCESSED_STATUSES: Final = frozenset({408, 425})
"""The server did not process the request (RFC 9110, 15.5.9; RFC 8470, 5.2): a free request may be repeated."""

_MEDIA_TYPE_PATTERN: Final = re.compile(r"media type|content.?type")
_ACCOUNT_PATTERN: Final = re.compile(r"credit|balance|payment|billing|subscription|quota|\bplan\b")
"""Words of a 403 that is about credits or the plan, not about the key."""

_SERVICE_CODES: Final = frozenset(
    {"video_duration_limit_reached", "invalid_target_language", "processing_error", "BrokenAssetUrlError"}
)
"""Values of `error` that `problems.py` explains as codes."""

_NOT_FOUND: Final[dict[Endpoint, str]] = {
    Endpoint.CREATE_ASSET: "service_answer",  # the request names no object that could be missing: the URL is wrong
    Endpoint.GET_ASSET: "asset_not_found",
    Endpoint.CREATE_DUBBING: "asset_not_found",
    Endpoint.GET_DUBBING: "project_not_found",
    Endpoint.ADD_LOCALES: "project_not_found",
}


@dataclass(frozen=True)
class ApiResponse:
    """An answer whose status arrived. `body_error` is (code, detail) if its body is incomplete or unusable."""

    status: int
    headers: Mapping[str, str]  # names are case-insensitive
    body: bytes = b""
    body_error: tuple[str, str] | None = None

    @property
    def is_html(self) -> bool:
        """Whether the answer is a web page, so from a proxy or a web server and not from the API."""
        return "html" in self.headers.get("content-type", "").lower() or self.body.lstrip()[:1] == b"<"

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


def error_from_response(endpoint: Endpoint, response: ApiResponse, error_body: ErrorBody) -> ProblemError:
    """Returns the error of a call whose answer is not 2xx; for the classes see `errors.py`."""
    status, wait = response.status, requested_wait(response.headers)
    detail = f"HTTP {status}: {error_body.message}" if error_body.message else f"HTTP {status}"
    if endpoint in _PAID and not _is_certainly_rejected(response, error_body):
        return error_of_unknown_effect(endpoint, "submission_unknown", detail)
    if _is_about_account(endpoint, response, error_body):
        return AccountError("account_refused", error_body.message or detail)
    if rejects_key(endpoint, response, error_body):
        return InvalidApiKeyError("key_rejected", error_body.message)
    if status == 429:
        return error_without_effect(endpoint, "rate_limited", retry_after=wait or DEFAULT_WAIT_SECONDS)
    if status in _NOT_PROCESSED_STATUSES or (status == 403 and response.is_html):
        return error_without_effect(endpoint, "service_down", detail, retry_after=wait)
    if status == 404 and response.is_html:
        return error_without_effect(endpoint, "service_answer", detail, retry_after=wait)
    if status >= 500 and not (status == 501 and error_body.error):  # the API's own 501 is a refusal (API reference)
        return error_of_unknown_effect(endpoint, "service_down", detail, retry_after=wait)
    if status < 400:
        return _redirect_error(endpoint, status)
    return RequestRejectedError(
        _refusal_code(endpoint, status, error_body), error_body.message or detail, status=status, languages=error_body.languages
    )


def rejects_key(endpoint: Endpoint, response: ApiResponse, error_body: ErrorBody) -> bool:
    """Whether to send no further call with this key, regardless of the outcome of the answered request."""
    if response.status == 401:
        return True
    other_reason = _is_about_content(endpoint, error_body) or _is_about_account(endpoint, response, error_body)
    return response.status == 403 and not response.is_html and not other_reason


def error_without_effect(endpoint: Endpoint, code: str, detail: str = "", *, retry_after: float | None = None) -> ProblemError:
    """Returns the error of a call that certainly had no effect."""
    kind = NotSentError if endpoint.is_write else ServiceUnavailableError
    return kind(code, detail, retry_after=retry_after)


def error_of_unknown_effect(endpoint: Endpoint, code: str, detail: str, *, retry_after: float | None = None) -> ProblemError:
    """Returns the error of a call of unknown effect. A paid call gets the code that asks the user; any other gets `code`."""
    if not endpoint.is_write:
        return ServiceUnavailableError(code, detail, retry_after=retry_after)
    return UnknownOutcomeError("submission_unknown" if endpoint in _PAID else code, detail)


def _is_certainly_rejected(response: ApiResponse, error_body: ErrorBody) -> bool:
    """Whether a paid request was certainly not accepted."""
    if response.body_error is not None or response.is_html:
        return False
    if response.status == 429 and any(name in response.headers for name in _LIMIT_HEADERS):
        return True
    if response.status in _MODERATION_STATUSES and is_moderation_refusal(error_body.error, error_body.message):
        return True
    return response.status in _REJECTION_STATUSES and error_body.is_from_api


def _is_about_content(endpoint: Endpoint, error_body: ErrorBody) -> bool:
    return endpoint.is_write and is_moderation_refusal(error_body.error, error_body.message)


def _is_about_account(endpoint: Endpoint, response: ApiResponse, error_body: ErrorBody) -> bool:
    """Whether a refusal is about credits or the plan, so that the next video would be refused as well."""
    if not endpoint.is_write:
        return False
    forbidden = response.status == 403 and not response.is_html and not _is_about_content(endpoint, error_body)
    return response.status == 402 or (forbidden and _ACCOUNT_PATTERN.search(error_body.message.lower()) is not None)


def _redirect_error(endpoint: Endpoint, status: int) -> ProblemError:
    """Redirects are not followed: they mean a wrong URL or a login page. A repeated write would be redirected again."""
    detail = f"HTTP {status}, a redirect"
    if endpoint.is_write:
        return RequestRejectedError("service_answer", detail, status=status)
    return error_of_unknown_effect(endpoint, "service_answer", detail)


def _refusal_code(endpoint: Endpoint, status: int, said: ErrorBody) -> str:
    """Returns the code of `problems.py` that explains a refusal best."""
    text = said.message.lower()
    if _is_about_content(endpoint, said):
        return "language_refused" if said.languages else MODERATION
    if said.error in _SERVICE_CODES:
        return said.error
    if status == 415 or (endpoint is Endpoint.CREATE_ASSET and status == 400 and _MEDIA_TYPE_PATTERN.search(text)):
        return "media_type"
    if "brokenasseturlerror" in text:
        return "BrokenAssetUrlError"
    if status in {404, 410}:
        return _NOT_FOUND[endpoint]
    return "language_refused" if said.languages else "request_refused"
