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
from synthdub_tui.dashboard.widgets.key_hints import Hints
from synthdub_tui.dashboard.widgets.plain_text import Words
from synthdub_tui.dashboard.widgets.row_list import RowList
from synthdub_tui.dashboard.widgets.search_box import SearchBox
from synthdub_tui.humanize import many
from synthdub_tui.text import printable


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

    def __init__(self, have: Set[str], recent: Sequence[str], *, title: str = "Add languages") -> None:
        super().__init__()
        self._title = title
        self._have = have
        known = [code for code in dict.fromkeys(recent) if code in languages.OUTPUT]
        self._recent = frozenset(known)
        rest = sorted((code for code in languages.OUTPUT if code not in self._recent), key=languages.name)
        self._all = [*known, *rest]
        self._shown = self._all
        self._searched = ""
        self._marked: dict[str, None] = {}

    def compose(self) -> ComposeResult:
        yield Words(self._title, id="title")
        yield SearchBox(placeholder="type a code or a name", id="search", passes=("space", "up", "down"))
        yield RowList(self._row, id="languages")
        yield Words(id="says", classes="status")
        yield Hints()

    def on_mount(self) -> None:
        self._list.can_focus = False  # letters always search
        self.query_one("#search").focus()
        self._list.show(len(self._shown))
        self._tell()

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
            self._tell()
        else:
            self.dismiss(None)

    @on(RowList.Clicked)
    def action_mark(self) -> None:
        self._search()
        if not self._shown:
            return
        code = self._shown[self._list.cursor]
        if code in self._have:
            self._tell(f"{code} is there already.")
            return
        if code in self._marked:
            del self._marked[code]
        else:
            self._marked[code] = None
        self._list.refresh()
        self._list.action_move(1)
        self._tell()

    @on(Input.Submitted)
    def action_confirm(self) -> None:
        self._search()
        chosen = list(self._marked)
        if not chosen and self._shown:
            code = self._shown[self._list.cursor]
            if code in self._have:
                self._tell(f"{code} is there already. Choose another, or esc.")
                return
            chosen = [code]
        if chosen:
            self.dismiss(chosen)

    @on(Input.Changed)
    def _search(self) -> None:
        """Show what matches the box. Also called before a key acts on the list: `Input.Changed` arrives after the key."""
        value = self.query_one("#search", SearchBox).value
        if value == self._searched:
            return
        self._searched = value
        wanted = "".join(value.replace("_", "-").split()).casefold()
        matches = [code for code in self._all if wanted in code.lower() or wanted in _squeezed(code)]
        matches.sort(key=lambda code: _rank(code, wanted))
        near = [] if matches else _nearest(wanted)
        self._shown = matches or near
        self._list.show(len(self._shown), 0)
        typed = printable(value, 30)
        if near:
            self._tell(f"Nothing is called “{typed}”; nearest:")
        elif not matches:
            self._tell(f"Nothing is like “{typed}”.")
        else:
            self._tell()

    def _row(self, index: int, width: int) -> Line:
        code = self._shown[index]
        box = "[+]" if code in self._have else "[x]" if code in self._marked else "[ ]"
        note = "already there" if code in self._have else "recent" if code in self._recent else ""
        name = fit(languages.name(code), max(8, width - 14 - len(note)))
        role = "faint" if code in self._have else "strong" if code in self._marked else ""
        return ((f"{box} {fit(code, 8)} {name} {note}", role),)

    def _tell(self, text: str = "") -> None:
        marked = f"{many(len(self._marked), 'language')} marked: {', '.join(self._marked)}" if self._marked else ""
        self.query_one("#says", Words).show(text or marked or f"{many(len(self._shown), 'language')}")
        add = f"add {len(self._marked)}" if self._marked else "add"
        back = "unmark" if self._marked else "back"
        self.query_one(Hints).show([("enter", add), ("space", "mark"), ("esc", back), ("↑↓", "move")])


def _nearest(wanted: str) -> list[str]:
    """The codes that a mistyped code or name may mean."""
    bases: dict[str, list[str]] = {}
    for code in languages.OUTPUT:
        bases.setdefault(languages.name(code.partition("-")[0]).casefold(), []).append(code)
    named = [code for base in get_close_matches(wanted, bases, n=3, cutoff=0.6) for code in bases[base]]
    return list(dict.fromkeys([*named, *languages.nearest(wanted)]))


def _rank(code: str, wanted: str) -> int:
    """Exact codes first, then codes and names that begin with the text; the sort keeps the order of the rest."""
    if not wanted:
        return 0
    if code.lower() == wanted:
        return 0
    return 1 if code.lower().startswith(wanted) or _squeezed(code).startswith(wanted) else 2


def _squeezed(code: str) -> str:
    """The name without spaces: the space key marks, so `saudiarabia` must match."""
    return languages.name(code).casefold().replace(" ", "")
