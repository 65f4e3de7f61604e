"""How a call to the service can end other than well.

Reads end in `KeyRejected`, `Refused` or `Unavailable`; writes in `KeyRejected`, `AccountRefused`, `Refused`, `NotSent` or
`Unclear`. The classes say what is known about the request, which decides whether it may be repeated; the codes (see
`problems.py`) say why.
No detail holds a secret: the client passes every outside word through `schema.words`.
"""

from __future__ import annotations

from synthdub_tui.problems import Trouble


class KeyRejected(Trouble):
    """401 or 403: the service does not accept the key. Nothing was accepted, and no further call is sent with this key."""


class AccountRefused(Trouble):
    """The service said no to a write for what the account has or may, whatever the file: nothing was accepted."""


class Refused(Trouble):
    """The service said no (4xx), or the request was found wrong before it was sent: nothing was accepted.

    `status` is 0 where nothing was sent. `languages` holds (language, error) of `dubbedErrors`; the language is empty where
    the service did not name one.
    """

    def __init__(self, code: str, detail: str = "", *, status: int = 0, languages: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(code, detail)
        self.status = status
        self.languages = languages


class NotSent(Trouble):
    """A write that certainly was not taken on: it may be repeated, after `retry_after` seconds where the service said so."""

    def __init__(self, code: str, detail: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(code, detail)
        self.retry_after = retry_after


class Unclear(Trouble):
    """A write that may have arrived. Of a paid one only the user may decide whether it is sent again."""


class Unavailable(Trouble):
    """A read that failed and may be repeated, after `retry_after` seconds where the service said so."""

    def __init__(self, code: str, detail: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(code, detail)
        self.retry_after = retry_after
