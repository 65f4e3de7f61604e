"""Patterns of paths, as --exclude accepts them. Pure."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence

_ANY_FOLDERS = "**"


class Glob:
    """A pattern of names, or of paths below a folder. Case-sensitive.

    `*`, `?` and `[…]` stand for characters of one name, `**` between slashes for any number of folders. A pattern without a
    slash matches names at any depth. One that ends with a slash matches folders only.
    """

    def __init__(self, text: str) -> None:
        """Raises ValueError, with the reason, for a pattern that can match nothing."""
        self.text = text
        self.folders_only = text.endswith("/")
        parts = [part for part in text.split("/") if part not in ("", ".")]
        if not parts:
            raise ValueError("it is empty")
        if ".." in parts:
            raise ValueError("it leads out of the folder")
        if "/" not in text.rstrip("/"):
            parts = [_ANY_FOLDERS, *parts]
        self._steps = [None if part == _ANY_FOLDERS else re.compile(fnmatch.translate(part)).match for part in parts]

    def matches(self, path: Sequence[str], *, folder: bool) -> bool:
        """Whether a path matches, given by its names below the named folder."""
        if self.folders_only and not folder:
            return False
        at = self._skipping({0})
        for name in path:
            at = self._skipping({after for step in at for after in self._after(step, name)})
        return len(self._steps) in at

    def _after(self, step: int, name: str) -> tuple[int, ...]:
        """The steps of the pattern that may follow when `step` meets a name."""
        if step == len(self._steps):
            return ()
        match = self._steps[step]
        if match is None:
            return (step,)
        return (step + 1,) if match(name) else ()

    def _skipping(self, at: set[int]) -> set[int]:
        """The steps, and those after them if `**` stands for no folder."""
        for step in range(len(self._steps)):
            if step in at and self._steps[step] is None:
                at.add(step + 1)
        return at
