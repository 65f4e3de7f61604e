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

from synthdub_tui.errors import Trouble
from synthdub_tui.jobs.moderation import MODERATION, is_moderation

from .errors import AccountRefused, KeyRejected, NotSent, Refused, Unavailable, Unclear
from .rate_gate import Endpoint
from .retry_after import DEFAULT_WAIT, asked_wait
from .schema import ErrorBody

_PAID: Final = frozenset({Endpoint.CREATE_DUBBING, Endpoint.ADD_LOCALES})

_REFUSALS: Final = frozenset({400, 401, 402, 403, 404, 415, 422, 429})
"""Statuses with which the API refuses a request before it acts on it (API reference; for 401 the guide)."""

_ABOUT_CONTENT: Final = frozenset({400, 403, 422})
"""Statuses of a refusal by moderation. It is believed in any form, since such a request is never repeated automatically."""

_LIMIT_HEADERS: Final = ("retry-after", "ratelimit-limit", "ratelimit-reset")

_UNTAKEN: Final = frozenset({408, 425})
"""The server did not process the request (RFC 9110, 15.5.9; RFC 8470, 5.2): a free request may be repeated."""

_MEDIA: Final = re.compile(r"media type|content.?type")
_ACCOUNT: Final = re.compile(r"credit|balance|payment|billing|subscription|quota|\bplan\b")
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
class Answer:
    """An answer whose status arrived. `broken` is (code, detail) if its body is incomplete or unusable."""

    status: int
    headers: Mapping[str, str]  # names are case-insensitive
    body: bytes = b""
    broken: tuple[str, str] | None = None

    @property
    def html(self) -> bool:
        """Whether the answer is a web page, so from a proxy or a web server and not from the API."""
        return "html" in self.headers.get("content-type", "").lower() or self.body.lstrip()[:1] == b"<"

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


def judged(endpoint: Endpoint, answer: Answer, said: ErrorBody) -> Trouble:
    """Returns the error of a call whose answer is not 2xx; for the classes see `errors.py`."""
    status, wait = answer.status, asked_wait(answer.headers)
    detail = f"HTTP {status}: {said.words}" if said.words else f"HTTP {status}"
    if endpoint in _PAID and not _certain(answer, said):
        return lost(endpoint, "submission_unknown", detail)
    if _about_account(endpoint, answer, said):
        return AccountRefused("account_refused", said.words or detail)
    if rejects_key(endpoint, answer, said):
        return KeyRejected("key_rejected", said.words)
    if status == 429:
        return untaken(endpoint, "rate_limited", retry_after=wait or DEFAULT_WAIT)
    if status in _UNTAKEN or (status == 403 and answer.html):
        return untaken(endpoint, "service_down", detail, retry_after=wait)
    if status == 404 and answer.html:
        return untaken(endpoint, "service_answer", detail, retry_after=wait)
    if status >= 500 and not (status == 501 and said.error):  # the API's own 501 is a refusal (API reference)
        return lost(endpoint, "service_down", detail, retry_after=wait)
    if status < 400:
        return _redirected(endpoint, status)
    return Refused(_refusal_code(endpoint, status, said), said.words or detail, status=status, languages=said.languages)


def rejects_key(endpoint: Endpoint, answer: Answer, said: ErrorBody) -> bool:
    """Whether to send no further call with this key, regardless of the outcome of the answered request."""
    if answer.status == 401:
        return True
    other_reason = _about_content(endpoint, said) or _about_account(endpoint, answer, said)
    return answer.status == 403 and not answer.html and not other_reason


def untaken(endpoint: Endpoint, code: str, detail: str = "", *, retry_after: float | None = None) -> Trouble:
    """Returns the error of a call that certainly had no effect."""
    kind = NotSent if endpoint.write else Unavailable
    return kind(code, detail, retry_after=retry_after)


def lost(endpoint: Endpoint, code: str, detail: str, *, retry_after: float | None = None) -> Trouble:
    """Returns the error of a call of unknown effect. A paid call gets the code that asks the user; any other gets `code`."""
    if not endpoint.write:
        return Unavailable(code, detail, retry_after=retry_after)
    return Unclear("submission_unknown" if endpoint in _PAID else code, detail)


def _certain(answer: Answer, said: ErrorBody) -> bool:
    """Whether a paid request was certainly not accepted."""
    if answer.broken is not None or answer.html:
        return False
    if answer.status == 429 and any(name in answer.headers for name in _LIMIT_HEADERS):
        return True
    if answer.status in _ABOUT_CONTENT and is_moderation(said.error, said.words):
        return True
    return answer.status in _REFUSALS and said.of_api


def _about_content(endpoint: Endpoint, said: ErrorBody) -> bool:
    return endpoint.write and is_moderation(said.error, said.words)


def _about_account(endpoint: Endpoint, answer: Answer, said: ErrorBody) -> bool:
    """Whether a refusal is about credits or the plan, so that the next video would be refused as well."""
    if not endpoint.write:
        return False
    forbidden = answer.status == 403 and not answer.html and not _about_content(endpoint, said)
    return answer.status == 402 or (forbidden and _ACCOUNT.search(said.words.lower()) is not None)


def _redirected(endpoint: Endpoint, status: int) -> Trouble:
    """Redirects are not followed: they mean a wrong URL or a login page. A repeated write would be redirected again."""
    detail = f"HTTP {status}, a redirect"
    if endpoint.write:
        return Refused("service_answer", detail, status=status)
    return lost(endpoint, "service_answer", detail)


def _refusal_code(endpoint: Endpoint, status: int, said: ErrorBody) -> str:
    """Returns the code of `problems.py` that explains a refusal best."""
    text = said.words.lower()
    if _about_content(endpoint, said):
        return "language_refused" if said.languages else MODERATION
    if said.error in _SERVICE_CODES:
        return said.error
    if status == 415 or (endpoint is Endpoint.CREATE_ASSET and status == 400 and _MEDIA.search(text)):
        return "media_type"
    if "brokenasseturlerror" in text:
        return "BrokenAssetUrlError"
    if status in {404, 410}:
        return _NOT_FOUND[endpoint]
    return "language_refused" if said.languages else "request_refused"
