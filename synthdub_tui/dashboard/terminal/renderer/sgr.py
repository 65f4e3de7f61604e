"""Pens: the colours, attributes and link of a character, as one character each, and the sequences between pens."""

from __future__ import annotations

from typing import Final, NamedTuple

from rich.color import ColorSystem
from rich.style import Style
from textual.strip import Strip

UNKNOWN: Final = "\0"
"""The pen of a terminal in an unknown state, and of cells that were never written."""

_OFF: Final = {"1": "22", "2": "22", "3": "23", "4": "24", "5": "25", "7": "27", "8": "28", "9": "29"}
"""Attribute → code that ends it (ECMA-48, SGR). Only a reset ends the rarer ones, since terminals differ about them."""

_MOST: Final = 4096
"""Most cached styles, and most cached sequences: a day with many themes and links must not fill the memory."""


class _Pen(NamedTuple):
    attributes: tuple[str, ...]
    color: str
    background: str
    link: str


class Pens:
    """Maps styles to pens, for the colours that a terminal has."""

    def __init__(self, colors: ColorSystem) -> None:
        self._colors = colors
        self._pens: list[_Pen | None] = [None]  # by number; the first is UNKNOWN
        self._numbers: dict[_Pen, str] = {}
        self._styles: dict[int, tuple[Style | None, str]] = {}  # by identity: equality of styles is slow
        self._ways: dict[str, str] = {}

    def of(self, style: Style | None) -> str:
        """The pen of a style: one character."""
        known = self._styles.get(id(style))
        if known is None:
            if len(self._styles) > _MOST:
                self._styles.clear()
            known = self._styles[id(style)] = style, self._number(_parsed(style, self._colors))
        return known[1]

    def way(self, before: str, after: str) -> str:
        """The shortest sequence from one pen to another."""
        if before == after:
            return ""
        way = self._ways.get(before + after)
        if way is None:
            if len(self._ways) > _MOST:
                self._ways.clear()
            way = self._ways[before + after] = self._found(self._pens[ord(before)], self._pens[ord(after)])
        return way

    def unlinked(self, pen: str) -> str:
        """The sequence that ends the link of a pen, since no link may stay open; empty if the pen has none."""
        known = self._pens[ord(pen)]
        return _NO_LINK if known is not None and known.link else ""

    def _number(self, pen: _Pen) -> str:
        if pen not in self._numbers:
            self._numbers[pen] = chr(len(self._pens))
            self._pens.append(pen)
        return self._numbers[pen]

    @staticmethod
    def _found(before: _Pen | None, after: _Pen | None) -> str:
        assert after is not None, "nothing is written with an unknown pen"
        anew = _sgr(["0", *_codes(after)]) if _codes(after) else "\x1b[m"
        if before is None:
            return after.link + anew
        link = "" if before.link == after.link else after.link or _NO_LINK
        if before[:3] == after[:3]:
            return link
        steps = _steps(before, after)
        return link + (anew if steps is None else min(_sgr(steps), anew, key=len))


_NO_LINK: Final = "\x1b]8;;\x1b\\"


def _sgr(codes: list[str]) -> str:
    return f"\x1b[{';'.join(codes)}m"


def _codes(pen: _Pen) -> list[str]:
    """Codes that set a pen after a reset."""
    return [*pen.attributes, *([pen.color] if pen.color != "39" else []), *([pen.background] if pen.background != "49" else [])]


def _steps(before: _Pen, after: _Pen) -> list[str] | None:
    """Codes that change one pen to another without a reset; None if that is impossible."""
    ended = [code for code in before.attributes if code not in after.attributes]
    if any(code not in _OFF for code in ended):
        return None
    off = list(dict.fromkeys(_OFF[code] for code in ended))
    lost = ("1", "2") if "22" in off else ()  # it ends both bold and dim
    kept = [code for code in before.attributes if code not in lost]
    steps = off + [code for code in after.attributes if code not in kept]
    if before.color != after.color:
        steps.append(after.color)
    if before.background != after.background:
        steps.append(after.background)
    return steps


def _parsed(style: Style | None, colors: ColorSystem) -> _Pen:
    """The pen of a style, as Textual would send it."""
    if style is None:
        return _Pen((), "39", "49", "")
    codes = [code for code in Strip.render_ansi(style, colors).split(";") if code]
    attributes, color, background = [], "39", "49"
    while codes:
        code = codes.pop(0)
        number = int(code)
        if number in (38, 48):
            length = 4 if codes[0] == "2" else 2
            code = ";".join((code, *codes[:length]))
            del codes[:length]
        if 30 <= number <= 39 or 90 <= number <= 97:
            color = code
        elif 40 <= number <= 49 or 100 <= number <= 107:
            background = code
        else:
            attributes.append(code)
    link = f"\x1b]8;id={style.link_id};{style.link}\x1b\\" if style.link else ""
    return _Pen(tuple(attributes), color, background, link)
