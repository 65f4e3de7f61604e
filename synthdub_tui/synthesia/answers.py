"""What an answer means for the request that it answers: accepted, refused, or nobody knows.

A paid request counts as refused only where the API itself says so: a refusal's status together with an error in the API's own
form, whole. Whatever stands in between (a proxy, a gateway, a firewall's page) may answer after the service has accepted, so
that all else leaves the outcome unknown, and only the user sends it again. One exception: a 429 with the documented headers of
a rate limit needs no body, since whoever counts calls turns them away instead of passing them on.

Requests that cost nothing are read with more tolerance: repeating one of them harms nobody.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from synthdub_tui.jobs.moderation import MODERATION, is_moderation
from synthdub_tui.problems import Trouble

from .errors import AccountRefused, KeyRejected, NotSent, Refused, Unavailable, Unclear
from .quota import Endpoint
from .retry_after import DEFAULT_WAIT, asked_wait
from .schema import ErrorBody

_PAID: Final = frozenset({Endpoint.CREATE_DUBBING, Endpoint.ADD_LOCALES})

_REFUSALS: Final = frozenset({400, 401, 402, 403, 404, 415, 422, 429})
"""With these the API says no before it does anything (API reference, and the guide for 401)."""

_ABOUT_CONTENT: Final = frozenset({400, 403, 422})
"""With these a refusal may be for content, which is believed in any form: it is not sent again by itself either way."""

_LIMIT_HEADERS: Final = ("retry-after", "ratelimit-limit", "ratelimit-reset")

_UNTAKEN: Final = frozenset({408, 425})
"""The server did not take the request on (RFC 9110, 15.5.9; RFC 8470, 5.2): enough to repeat what costs nothing."""

_MEDIA: Final = re.compile(r"media type|content.?type")
_ACCOUNT: Final = re.compile(r"credit|balance|payment|billing|subscription|quota|\bplan\b")
"""Words of a 403 that is about what the account has or may, not about the key."""

_SERVICE_CODES: Final = frozenset(
    {"video_duration_limit_reached", "invalid_target_language", "processing_error", "BrokenAssetUrlError"}
)
"""Words in `error` that are codes in their own right, with an explanation and rules of their own."""

_NOT_FOUND: Final[dict[Endpoint, str]] = {
    Endpoint.CREATE_ASSET: "service_answer",  # nothing is named that could be missing: the address is wrong
    Endpoint.GET_ASSET: "asset_not_found",
    Endpoint.CREATE_DUBBING: "asset_not_found",
    Endpoint.GET_DUBBING: "project_not_found",
    Endpoint.ADD_LOCALES: "project_not_found",
}


@dataclass(frozen=True)
class Answer:
    """An answer whose status arrived. `broken` is (code, detail) where the body did not arrive in a usable way."""

    status: int
    headers: Mapping[str, str]  # without regard to case
    body: bytes = b""
    broken: tuple[str, str] | None = None

    @property
    def html(self) -> bool:
        """Whether a proxy or a web server speaks, not the API."""
        return "html" in self.headers.get("content-type", "").lower() or self.body.lstrip()[:1] == b"<"

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


def judged(endpoint: Endpoint, answer: Answer, said: ErrorBody) -> Trouble:
    """The error that an answer other than 2xx means for a call, see `errors.py`."""
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
    """Whether an answer means that no further call is to be sent with this key, whatever became of its own request."""
    if answer.status == 401:
        return True
    other_reason = _about_content(endpoint, said) or _about_account(endpoint, answer, said)
    return answer.status == 403 and not answer.html and not other_reason


def untaken(endpoint: Endpoint, code: str, detail: str = "", *, retry_after: float | None = None) -> Trouble:
    """The error of a call that certainly had no effect."""
    kind = NotSent if endpoint.write else Unavailable
    return kind(code, detail, retry_after=retry_after)


def lost(endpoint: Endpoint, code: str, detail: str, *, retry_after: float | None = None) -> Trouble:
    """The error of a call whose effect is not known. Only paid ones ask the user; `code` says why for the others."""
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
    """Whether a refusal is about credits or the plan, and so would meet the next file as well."""
    if not endpoint.write:
        return False
    forbidden = answer.status == 403 and not answer.html and not _about_content(endpoint, said)
    return answer.status == 402 or (forbidden and _ACCOUNT.search(said.words.lower()) is not None)


def _redirected(endpoint: Endpoint, status: int) -> Trouble:
    """Redirects are not followed: a wrong address, or a page to log in to. Repeating a write would meet it again."""
    detail = f"HTTP {status}, a redirect"
    if endpoint.write:
        return Refused("service_answer", detail, status=status)
    return lost(endpoint, "service_answer", detail)


def _refusal_code(endpoint: Endpoint, status: int, said: ErrorBody) -> str:
    """The code of `problems.py` that explains a refusal best."""
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
