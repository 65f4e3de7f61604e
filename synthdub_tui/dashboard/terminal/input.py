"""From the terminal's bytes to keys: distinguishes the escape key from the start of an escape sequence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from textual._ansi_sequences import ANSI_SEQUENCES_KEYS

_PASTE_OR_LONE_ESCAPE: Final = re.compile("\x1b\\[20[01]~|\x1b(?=[^\x1b\\[\\]\\\\^_NOPX]|\x1b(?![\\[O]))")
"""The beginning and end of a paste, and an escape that begins no terminal sequence."""

_ALT_SEQUENCES: Final = ANSI_SEQUENCES_KEYS.keys() - {"\x1b\x1b"}
"""Sequences that mean something to an input line: alt with backspace or f deletes or moves by words."""


class EscapeSplitter:
    """Finds the escape key before another key, if a slow link brings both in one burst. A terminal sends the same for that key
    with alt, which means nothing here. Textual reads alt, and often drops the escape: an enter after it would say yes."""

    def __init__(self) -> None:
        self._pasting = False

    def split(self, data: str, *, keep_alt_sequences: bool = False) -> Iterator[tuple[str, bool]]:
        """Split input into pieces, and whether each is the escape key. None is empty, which a parser reads as the end.

        `keep_alt_sequences`: do not look for escape keys.
        """
        begin = 0
        for mark in _PASTE_OR_LONE_ESCAPE.finditer("" if keep_alt_sequences else data):
            if len(mark[0]) > 1:
                self._pasting = mark[0] == "\x1b[200~"
            elif not self._pasting and data[mark.start() : mark.end() + 1] not in _ALT_SEQUENCES:
                if mark.start() > begin:
                    yield data[begin : mark.start()], False
                yield mark[0], True
                begin = mark.end()
        if data[begin:]:
            yield data[begin:], False
