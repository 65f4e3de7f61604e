"""Errors of calls to the service.

Reads raise `InvalidApiKeyError`, `RequestRejectedError` or `ServiceUnavailableError`; writes raise `InvalidApiKeyError`,
`AccountError`, `RequestRejectedError`, `NotSentError` or `UnknownOutcomeError`. The class says what is known about the request,
and so whether it may be repeated. The code says why, see `problems.py`. No detail contains a secret: the client passes all text
of answers through `schema.clean_message`.
"""

from __future__ import annotations

from synthdub_tui.errors import ProblemError


class InvalidApiKeyError(ProblemError):
    """No key is set, or the service rejects it (401 or 403). Nothing was accepted; no further call is sent with this key."""


class AccountError(ProblemError):
    """The service refused a write because of credits or the plan, not because of the video. Nothing was accepted."""


class RequestRejectedError(ProblemError):
    """The service refused the request, or the request was found invalid before it was sent. Nothing was accepted.

    `status` is 0 if nothing was sent. `languages` contains (language, error) of `dubbedErrors`; the language is empty if the
    service did not name one.
    """

    def __init__(self, code: str, detail: str = "", *, status: int = 0, languages: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(code, detail)
        self.status = status
        self.languages = languages


class NotSentError(ProblemError):
    """A write that certainly had no effect. It may be repeated, after `retry_after` seconds if the service gave a time."""

    def __init__(self, code: str, detail: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(code, detail)
        self.retry_after = retry_after


class UnknownOutcomeError(ProblemError):
    """A write that may have arrived. If it is paid, only the user may decide to send it again."""


class ServiceUnavailableError(ProblemError):
    """A read that failed. It may be repeated, after `retry_after` seconds if the service gave a time."""

    def __init__(self, code: str, detail: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(code, detail)
        self.retry_after = retry_after


class BadResponseError(ProblemError):
    """An answer without a part that synthdub needs."""

    def __init__(self, detail: str) -> None:
        super().__init__("service_answer", detail)

    def __reduce__(self) -> tuple[type[BadResponseError], tuple[str]]:
        return type(self), (self.detail,)
