"""Chooses the entry of a project's list that counts for a language. A dub's state and its download share the choice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from synthdub_tui.jobs.model import ObservedStatus


class LanguageEntry(Protocol):
    """One language of a project, as the service lists it."""

    @property
    def language(self) -> str: ...
    @property
    def video(self) -> str: ...
    @property
    def state(self) -> str: ...


E = TypeVar("E", bound=LanguageEntry)


def entries_of(listed: Iterable[E], language: str, requested: Iterable[str]) -> list[E]:
    """The entries of a language, compared without case and with `_` read as `-`.

    If it is not listed under its code, entries of the bare language count, such as `fr` for `fr-FR`, unless another language in
    `requested` begins with the same one.
    """
    listed, wanted = list(listed), _normalize(language)
    if found := [entry for entry in listed if _normalize(entry.language) == wanted]:
        return found
    bare = wanted.partition("-")[0]
    if sum(_normalize(code).partition("-")[0] == bare for code in requested) > 1:
        return []
    return [entry for entry in listed if _normalize(entry.language) == bare]


def requested_spelling(named: str, requested: Sequence[str]) -> str:
    """The language of `requested` that an answer calls `named`; `named` itself if it is none of them."""
    exact = [code for code in requested if _normalize(code) == _normalize(named)]
    begins = [code for code in requested if _normalize(code).partition("-")[0] == _normalize(named)]
    return exact[0] if exact else begins[0] if len(begins) == 1 else named


def usable_entry(entries: Iterable[E], video: str) -> E | None:
    """The entry that is complete or running: first the one with the id `video`, then a complete one; None if all failed.

    A project may still list an old failure next to the new try, in any order.
    """
    living = [entry for entry in entries if entry.state != ObservedStatus.ERROR]
    return min(
        living, key=lambda entry: (not video or entry.video != video, entry.state != ObservedStatus.COMPLETE), default=None
    )


def _normalize(language: str) -> str:
    return language.replace("_", "-").lower()
