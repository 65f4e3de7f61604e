"""Whether the service takes anything of this account that costs: credits that are used up refuse one file as all others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from synthdub_tui.synthesia.errors import AccountRefused


class Account:
    """Until a paid request was accepted they go one at a time, so a refusal that holds for all costs one request, however many
    jobs wait. From then on nothing is uploaded or submitted before `trust`. `on_refusal` is called with the first."""

    def __init__(self, on_refusal: Callable[[AccountRefused], None]) -> None:
        self.refusal: AccountRefused | None = None
        self._on_refusal = on_refusal
        self._proven = asyncio.Event()
        self._first = asyncio.Lock()

    def check(self) -> None:
        """Raises AccountRefused where nothing may be begun."""
        if self.refusal is not None:
            raise self.refusal

    def refuse(self, refusal: AccountRefused) -> None:
        """The service said no, whatever the file."""
        self._proven.clear()
        if self.refusal is None:
            self.refusal = refusal
            self._on_refusal(refusal)

    def accept(self) -> None:
        """A paid request was accepted."""
        self._proven.set()

    def trust(self) -> None:
        """The user says that it may be tried again."""
        self.refusal = None

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Within the context a paid request may be sent. Raises AccountRefused."""
        async with AsyncExitStack() as held:
            if not self._proven.is_set():
                await held.enter_async_context(self._first)
                if self._proven.is_set():
                    await held.aclose()  # others need not wait for this one
            self.check()
            try:
                yield
            except AccountRefused as refusal:
                self.refuse(refusal)  # before the next one has its turn
                raise
