"""Which entry of a project's list counts for a language: one choice, for what becomes of a dub and for its download alike."""

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

    Where it is not listed under its code, entries under the language alone are its: `fr` for `fr-FR`, unless another language
    that was `asked` for begins with it too.
    """
    listed, wanted = list(listed), _folded(language)
    if found := [entry for entry in listed if _folded(entry.language) == wanted]:
        return found
    bare = wanted.partition("-")[0]
    if sum(_folded(code).partition("-")[0] == bare for code in asked) > 1:
        return []
    return [entry for entry in listed if _folded(entry.language) == bare]


def own_spelling(named: str, asked: Sequence[str]) -> str:
    """Which of the languages that were asked for an answer means; as it is named where it is none of them."""
    exact = [code for code in asked if _folded(code) == _folded(named)]
    begins = [code for code in asked if _folded(code).partition("-")[0] == _folded(named)]
    return exact[0] if exact else begins[0] if len(begins) == 1 else named


def alive(entries: Iterable[E], video: str) -> E | None:
    """The entry that is complete or going on, rather the one with the id `video`, then a complete one; None where all failed.

    A project may go on listing an old failure beside the new try, in any order.
    """
    living = [entry for entry in entries if entry.state != SeenState.ERROR]
    return min(living, key=lambda entry: (not video or entry.video != video, entry.state != SeenState.COMPLETE), default=None)


def _folded(language: str) -> str:
    return language.replace("_", "-").lower()
