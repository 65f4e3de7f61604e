"""Books about consent, kept beside the program: what the service told it of moderation, and what the user agreed to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from tests.runner.fake_service import Fact, SentPaidRequest
from tests.virtual_time import VirtualClock

HEARD: Final = 2.0
"""Seconds after an answer within which a request may leave that was begun before it."""

KEPT: Final = 4.0
"""Seconds after an answer by which what it says is on disk, where that takes anything."""


class Refusals:
    """Which contents moderation refused, in which language or as a whole, and to which of them the user agreed since.

    Nothing erases a refusal. What was agreed to may be sent once, and not after the next refusal of it.
    """

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._told: dict[Fact, float] = {}
        self._agreed: set[tuple[bytes, str]] = set()
        self._used: dict[int, set[tuple[bytes, str]]] = {}  # by request: what it may have to give back

    def told(self, facts: Iterable[Fact]) -> None:
        """An answer says so; of one try as often as it is asked for."""
        for fact in facts:
            if fact not in self._told:
                self._told[fact] = self._clock.now
                self._agreed = {each for each in self._agreed if each[0] != fact[0] or fact[1] not in ("", each[1])}

    def agree(self, title: str, language: str) -> None:
        """The user named this very dub, seeing that it was refused."""
        contents = {content for content, _, _ in self._told if content.split()[0].decode() == title}
        self._agreed |= {(content, language) for content in contents}

    def send(self, paid: SentPaidRequest) -> list[str]:
        """A request leaves: its languages that nobody agreed to."""
        keys = {(paid.content, language) for language in paid.languages}
        self._used[id(paid)] = keys & self._agreed
        refused = [language for language in paid.languages if self._is_refused(paid.content, language)]
        wrong = [language for language in refused if (paid.content, language) not in self._agreed]
        self._agreed -= keys
        return wrong

    def give_back(self, paid: SentPaidRequest) -> None:
        """It was certainly not taken, and may be sent again, but for what moderation has just refused."""
        used = self._used.pop(id(paid), set())
        if paid.refused_as == "moderation":
            used = set()
        elif paid.refused_as == "named moderation":
            used.discard((paid.content, paid.languages[0]))
        self._agreed |= used

    def process_died(self, unsaved_since: float) -> None:
        """What was told and is not on disk yet is lost, and found out once more."""
        since = min(unsaved_since, self._clock.now - KEPT)
        self._told = {fact: at for fact, at in self._told.items() if at < since}

    def _is_refused(self, content: bytes, language: str) -> bool:
        now = self._clock.now
        return any(
            known == content and about in ("", language) and at + HEARD < now for (known, about, _), at in self._told.items()
        )
