"""Stops paid requests once the service refuses the account: without credits it would refuse every other file as well."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from synthdub_tui.synthesia.errors import AccountError


class AccountGate:
    """Lets paid requests through one at a time until the service accepts one. A refusal of the account therefore costs a single
    request, even if many jobs wait.

    After a refusal nothing is uploaded or submitted until `forget_refusal`. `on_refusal` is called with the first refusal.
    """

    def __init__(self, on_refusal: Callable[[AccountError], None]) -> None:
        self.refusal: AccountError | None = None
        self._on_refusal = on_refusal
        self._proven = asyncio.Event()
        self._first = asyncio.Lock()

    def raise_if_refused(self) -> None:
        """Raises AccountError if no upload or paid request may start."""
        if self.refusal is not None:
            raise self.refusal

    def note_refusal(self, refusal: AccountError) -> None:
        """Note that the service refused the account, regardless of the file."""
        self._proven.clear()
        if self.refusal is None:
            self.refusal = refusal
            self._on_refusal(refusal)

    def note_acceptance(self) -> None:
        """Note that the service accepted a paid request."""
        self._proven.set()

    def forget_refusal(self) -> None:
        """Forget the refusal, since the user asked to try again."""
        self.refusal = None

    @asynccontextmanager
    async def permit(self) -> AsyncIterator[None]:
        """A paid request may be sent within the context. Raises AccountError."""
        async with AsyncExitStack() as held:
            if not self._proven.is_set():
                await held.enter_async_context(self._first)
                if self._proven.is_set():
                    await held.aclose()  # a request was accepted meanwhile: no need to go one at a time
            self.raise_if_refused()
            try:
                yield
            except AccountError as refusal:
                self.note_refusal(refusal)  # before the lock is released to the next request
                raise
