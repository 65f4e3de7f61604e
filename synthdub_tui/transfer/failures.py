"""Failed connections and their reasons, in words that contain no secret."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator

from synthdub_tui.errors import SynthdubError


class AttemptFailedError(SynthdubError):
    """An attempt failed; another one may succeed. `words` are shown to the user; `retry_after_seconds`: seconds that the server
    asks for."""

    def __init__(self, words: str, pause: float = 0.0) -> None:
        super().__init__(words)
        self.retry_after_seconds = pause


def describe_cause(error: BaseException) -> str:
    """The system's words for the cause of `error`, else the name of its class.

    The error's own words are not used: HTTP libraries may quote URLs, and signed URLs are secret.
    """
    for beneath in _chain(error):
        if isinstance(beneath, ssl.SSLError) and beneath.reason:
            return beneath.reason.replace("_", " ").lower()
        if isinstance(beneath, OSError) and beneath.errno is not None and beneath.errno > 0:
            return os.strerror(beneath.errno)
    return type(error).__name__


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes; botocore keeps them in `kwargs`, urllib3 in `reason` or `args`."""
    seen: list[BaseException] = []
    ahead: list[object] = [error]
    while ahead:
        each = ahead.pop(0)
        if not isinstance(each, BaseException) or any(each is known for known in seen):
            continue
        seen.append(each)
        yield each
        named = getattr(each, "kwargs", None)
        held = named.get("error") if isinstance(named, dict) else None
        ahead += [each.__cause__, held, getattr(each, "reason", None), *each.args]
