"""Pens: the colours, attributes and link of a character, as one character each, and the sequences between pens."""

from __future__ import annotations

from typing import Final, NamedTuple

from rich.color import ColorSystem
from rich.style import Style
from textual.strip import Strip

UNKNOWN_STYLE: Final = "\0"
"""The pen of a terminal in an unknown state, and of cells that were never written."""

_END_CODES: Final = {"1": "22", "2": "22", "3": "23", "4": "24", "5": "25", "7": "27", "8": "28", "9": "29"}
"""Attribute → code that ends it (ECMA-48, SGR). Only a reset ends the rarer ones, since terminals differ about them."""

_MAX_CACHED: Final = 4096
"""Most cached styles, and most cached sequences: a day with many themes and links must not fill the memory."""


class _SgrStyle(NamedTuple):
    attributes: tuple[str, ...]
    color: str
    background: str
    link: str


class SgrTable:
    """Maps styles to pens, for the colours that a terminal has."""

    def __init__(self, colors: ColorSystem) -> None:
        self._colors = colors
        self._sgr_styles: list[_SgrStyle | None] = [None]  # by number; the first is UNKNOWN
        self._id_by_sgr_style: dict[_SgrStyle, str] = {}
        self._styles: dict[int, tuple[Style | None, str]] = {}  # by identity: equality of styles is slow
        self._transitions: dict[str, str] = {}

    def style_id(self, style: Style | None) -> str:
        """The pen of a style: one character."""
        known = self._styles.get(id(style))
        if known is None:
            if len(self._styles) > _MAX_CACHED:
                self._styles.clear()
            known = self._styles[id(style)] = style, self._assign_id(_parse_style(style, self._colors))
        return known[1]

    def transition(self, before: str, after: str) -> str:
        """The shortest sequence from one pen to another."""
        if before == after:
            return ""
        way = self._transitions.get(before + after)
        if way is None:
            if len(self._transitions) > _MAX_CACHED:
                self._transitions.clear()
            way = self._transitions[before + after] = self._shortest_sequence(
                self._sgr_styles[ord(before)], self._sgr_styles[ord(after)]
            )
        return way

    def end_link(self, style_id: str) -> str:
        """The sequence that ends the link of a pen, since no link may stay open; empty if the pen has none."""
        known = self._sgr_styles[ord(style_id)]
        return _END_LINK if known is not None and known.link else ""

    def _assign_id(self, sgr_style: _SgrStyle) -> str:
        if sgr_style not in self._id_by_sgr_style:
            self._id_by_sgr_style[sgr_style] = chr(len(self._sgr_styles))
            self._sgr_styles.append(sgr_style)
        return self._id_by_sgr_style[sgr_style]

    @staticmethod
    def _shortest_sequence(before: _SgrStyle | None, after: _SgrStyle | None) -> str:
        assert after is not None, "nothing is written with an unknown pen"
        after_reset = _sgr_sequence(["0", *_codes_after_reset(after)]) if _codes_after_reset(after) else "\x1b[m"
        if before is None:
            return after.link + after_reset
        link = "" if before.link == after.link else after.link or _END_LINK
        if before[:3] == after[:3]:
            return link
        steps = _codes_without_reset(before, after)
        return link + (after_reset if steps is None else min(_sgr_sequence(steps), after_reset, key=len))


_END_LINK: Final = "\x1b]8;;\x1b\\"


def _sgr_sequence(codes: list[str]) -> str:
    return f"\x1b[{';'.join(codes)}m"


def _codes_after_reset(pen: _SgrStyle) -> list[str]:
    """Codes that set a pen after a reset."""
    return [*pen.attributes, *([pen.color] if pen.color != "39" else []), *([pen.background] if pen.background != "49" else [])]


def _codes_without_reset(before: _SgrStyle, after: _SgrStyle) -> list[str] | None:
    """Codes that change one pen to another without a reset; None if that is impossible."""
    ended = [code for code in before.attributes if code not in after.attributes]
    if any(code not in _END_CODES for code in ended):
        return None
    off = list(dict.fromkeys(_END_CODES[code] for code in ended))
    lost = ("1", "2") if "22" in off else ()  # it ends both bold and dim
    kept = [code for code in before.attributes if code not in lost]
    steps = off + [code for code in after.attributes if code not in kept]
    if before.color != after.color:
        steps.append(after.color)
    if before.background != after.background:
        steps.append(after.background)
    return steps


def _parse_style(style: Style | None, colors: ColorSystem) -> _SgrStyle:
    """The pen of a style, as Textual would send it."""
    if style is None:
        return _SgrStyle((), "39", "49", "")
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
    return _SgrStyle(tuple(attributes), color, background, link)
