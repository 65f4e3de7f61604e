"""Chooses the entry of a project's list that counts for a language. A dub's state and its download share the choice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from synthdub_tui.jobs.model import SeenState


class Entry(Protocol):
    """One language of a project, as the service lists it."""

    @property
    def language(self) -> str: ...
    @property
    def video(self) -> str: ...
    @property
    def state(self) -> str: ...


E = TypeVar("E", bound=Entry)


def entries_of(listed: Iterable[E], language: str, asked: Iterable[str]) -> list[E]:
    """The entries of a language, compared without case and with `_` read as `-`.

    If it is not listed under its code, entries of the bare language count, such as `fr` for `fr-FR`, unless another language in
    `asked` begins with the same one.
    """
    listed, wanted = list(listed), _folded(language)
    if found := [entry for entry in listed if _folded(entry.language) == wanted]:
        return found
    bare = wanted.partition("-")[0]
    if sum(_folded(code).partition("-")[0] == bare for code in asked) > 1:
        return []
    return [entry for entry in listed if _folded(entry.language) == bare]


def own_spelling(named: str, asked: Sequence[str]) -> str:
    """The language of `asked` that an answer calls `named`; `named` itself if it is none of them."""
    exact = [code for code in asked if _folded(code) == _folded(named)]
    begins = [code for code in asked if _folded(code).partition("-")[0] == _folded(named)]
    return exact[0] if exact else begins[0] if len(begins) == 1 else named


def alive(entries: Iterable[E], video: str) -> E | None:
    """The entry that is complete or running: first the one with the id `video`, then a complete one; None if all failed.

    A project may still list an old failure next to the new try, in any order.
    """
    living = [entry for entry in entries if entry.state != SeenState.ERROR]
    return min(living, key=lambda entry: (not video or entry.video != video, entry.state != SeenState.COMPLETE), default=None)


def _folded(language: str) -> str:
    return language.replace("_", "-").lower()
