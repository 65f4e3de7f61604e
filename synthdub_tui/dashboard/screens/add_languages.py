"""Chooses languages to add, from all that the service dubs into, by code or name."""

from __future__ import annotations

from collections.abc import Sequence, Set
from difflib import get_close_matches
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input

from synthdub_tui import languages
from synthdub_tui.dashboard.screens.base import Page
from synthdub_tui.dashboard.text_layout import Line, fit
from synthdub_tui.dashboard.widgets.key_hints import KeyHints
from synthdub_tui.dashboard.widgets.plain_text import PlainText
from synthdub_tui.dashboard.widgets.row_list import RowList
from synthdub_tui.dashboard.widgets.search_box import SearchBox
from synthdub_tui.humanize import format_count
from synthdub_tui.text import make_printable


class AddLanguagesScreen(Page[list[str]]):
    """Typing searches, space marks, enter confirms. Without marks, enter adds the language under the cursor."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "Up", show=False),
        Binding("down", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("space", "mark", "Mark", show=False),
        Binding("enter", "confirm", "Add", show=False),
    ]

    def __init__(self, existing: Set[str], recent: Sequence[str], *, title: str = "Add languages") -> None:
        super().__init__()
        self._title = title
        self._existing = existing
        known = [code for code in dict.fromkeys(recent) if code in languages.OUTPUT_CODES]
        self._recent = frozenset(known)
        rest = sorted((code for code in languages.OUTPUT_CODES if code not in self._recent), key=languages.language_name)
        self._all = [*known, *rest]
        self._shown = self._all
        self._last_search = ""
        self._marked: dict[str, None] = {}

    def compose(self) -> ComposeResult:
        yield PlainText(self._title, id="title")
        yield SearchBox(placeholder="type a code or a name", id="search", keys_for_screen=("space", "up", "down"))
        yield RowList(self._row, id="languages")
        yield PlainText(id="says", classes="status")
        yield KeyHints()

    def on_mount(self) -> None:
        self._list.can_focus = False  # letters always search
        self.query_one("#search").focus()
        self._list.show(len(self._shown))
        self._update_texts()

    @property
    def _list(self) -> RowList:
        return self.query_one(RowList)

    def action_move(self, rows: int) -> None:
        """Move in the list while the search has the focus."""
        self._search()
        self._list.action_move(rows)

    def action_page(self, pages: int) -> None:
        self._list.action_page(pages)

    def action_back(self) -> None:
        box = self.query_one("#search", SearchBox)
        if box.value:
            box.value = ""
        elif self._marked:
            self._marked.clear()
            self._list.refresh()
            self._update_texts()
        else:
            self.dismiss(None)

    @on(RowList.RowActivated)
    def action_mark(self) -> None:
        self._search()
        if not self._shown:
            return
        code = self._shown[self._list.cursor]
        if code in self._existing:
            self._update_texts(f"{code} is there already.")
            return
        if code in self._marked:
            del self._marked[code]
        else:
            self._marked[code] = None
        self._list.refresh()
        self._list.action_move(1)
        self._update_texts()

    @on(Input.Submitted)
    def action_confirm(self) -> None:
        self._search()
        chosen = list(self._marked)
        if not chosen and self._shown:
            code = self._shown[self._list.cursor]
            if code in self._existing:
                self._update_texts(f"{code} is there already. Choose another, or esc.")
                return
            chosen = [code]
        if chosen:
            self.dismiss(chosen)

    @on(Input.Changed)
    def _search(self) -> None:
        """Show what matches the box. Also called before a key acts on the list: `Input.Changed` arrives after the key."""
        value = self.query_one("#search", SearchBox).value
        if value == self._last_search:
            return
        self._last_search = value
        wanted = "".join(value.replace("_", "-").split()).casefold()
        matches = [code for code in self._all if wanted in code.lower() or wanted in _name_without_spaces(code)]
        matches.sort(key=lambda code: _rank(code, wanted))
        near = [] if matches else _nearest(wanted)
        self._shown = matches or near
        self._list.show(len(self._shown), 0)
        typed = make_printable(value, 30)
        if near:
            self._update_texts(f"Nothing is called “{typed}”; nearest:")
        elif not matches:
            self._update_texts(f"Nothing is like “{typed}”.")
        else:
            self._update_texts()

    def _row(self, index: int, width: int) -> Line:
        code = self._shown[index]
        box = "[+]" if code in self._existing else "[x]" if code in self._marked else "[ ]"
        note = "already there" if code in self._existing else "recent" if code in self._recent else ""
        name = fit(languages.language_name(code), max(8, width - 14 - len(note)))
        role = "faint" if code in self._existing else "strong" if code in self._marked else ""
        return ((f"{box} {fit(code, 8)} {name} {note}", role),)

    def _update_texts(self, text: str = "") -> None:
        marked = f"{format_count(len(self._marked), 'language')} marked: {', '.join(self._marked)}" if self._marked else ""
        self.query_one("#says", PlainText).show(text or marked or f"{format_count(len(self._shown), 'language')}")
        add = f"add {len(self._marked)}" if self._marked else "add"
        back = "unmark" if self._marked else "back"
        self.query_one(KeyHints).show([("enter", add), ("space", "mark"), ("esc", back), ("↑↓", "move")])


def _nearest(wanted: str) -> list[str]:
    """The codes that a mistyped code or name may mean."""
    bases: dict[str, list[str]] = {}
    for code in languages.OUTPUT_CODES:
        bases.setdefault(languages.language_name(code.partition("-")[0]).casefold(), []).append(code)
    named = [code for base in get_close_matches(wanted, bases, n=3, cutoff=0.6) for code in bases[base]]
    return list(dict.fromkeys([*named, *languages.nearest_codes(wanted)]))


def _rank(code: str, wanted: str) -> int:
    """Exact codes first, then codes and names that begin with the text; the sort keeps the order of the rest."""
    if not wanted:
        return 0
    if code.lower() == wanted:
        return 0
    return 1 if code.lower().startswith(wanted) or _name_without_spaces(code).startswith(wanted) else 2


def _name_without_spaces(code: str) -> str:
    """The name without spaces: the space key marks, so `saudiarabia` must match."""
    return languages.language_name(code).casefold().replace(" ", "")
