"""Every key of the grid: its id (for the keymap in the configuration), its action and its description.

Bindings, help and command palette are all made from this table.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Final, NamedTuple

from textual.binding import Binding
from textual.keys import KEY_TO_UNICODE_NAME, REPLACED_KEYS, Keys, _character_to_key

from synthdub_tui.text import printable


class Key(NamedTuple):
    """One action of the grid. `keys` are Textual's names; the help prints `shown`."""

    id: str
    keys: str
    action: str
    words: str
    shown: str = ""


GROUPS: Final[dict[str, tuple[Key, ...]]] = {
    "Move": (
        Key("up", "up,k", "move(-1, 0)", "one row up", "↑ k"),
        Key("down", "down,j", "move(1, 0)", "one row down", "↓ j"),
        Key("left", "left,h", "move(0, -1)", "one language to the left", "← h"),
        Key("right", "right", "move(0, 1)", "one language to the right", "→"),
        Key("page_up", "pageup", "page(-1)", "a page up", "PgUp"),
        Key("page_down", "pagedown", "page(1)", "a page down", "PgDn"),
        Key("row_start", "home", "column(0)", "to the file column", "Home"),
        Key("row_end", "end", "column(-1)", "to the last language", "End"),
        Key("first", "g", "edge(0)", "to the first row", "g"),
        Key("last", "G", "edge(-1)", "to the last row", "G"),
        Key("details", "enter", "details", "details of the cell", "enter"),
    ),
    "Mark": (
        Key("mark", "space", "mark", "mark or unmark; on the file column the whole row", "space"),
        Key("mark_column", "V", "mark_column", "mark the column", "V"),
        Key("mark_shown", "*", "mark_shown", "mark all shown", "*"),
        Key("unmark", "u", "unmark", "unmark everything", "u"),
    ),
    "Act on the marks, or on the cursor": (
        Key("retry", "r", "retry", "retry", "r"),
        Key("retry_failed", "R", "retry_failed", "retry all failed, except what would fail again as it is", "R"),
        Key("cancel", "x", "cancel", "cancel", "x"),
        Key("undo", "U", "undo", "take a cancel back, within some seconds", "U"),
        Key("add_files", "a", "add_files", "add files", "a"),
        Key("add_languages", "L", "add_languages", "add languages", "L"),
        Key("pause", "p", "pause", "pause or resume the batch", "p"),
        Key("copy", "y", "copy", "copy the path or the id", "y"),
        Key("start_runner", "S", "start_runner", "start the runner again, where there is none", "S"),
    ),
    "Find": (
        Key("filter", "/", "filter", "filter, for instance state:failed lang:fr name:intro", "/"),
        Key("failed_only", "f", "failed_only", "failed and undecided only, and back", "f"),
        Key("clear", "escape", "clear", "close, clear marks, clear the filter", "esc"),
        Key("sort", "s", "sort", "sort by the next of added, name, state, progress, size", "s"),
    ),
    "Around": (
        Key("outputs", "o", "app.outputs", "finished files", "o"),
        Key("log", "l", "app.log", "log", "l"),
        Key("help", "?", "app.help", "this help", "?"),
        Key("mouse", "M", "app.mouse", "release the mouse to select text, and take it again", "M"),
        Key("redraw", "ctrl+l", "app.redraw", "draw everything anew, where something else wrote on the screen", "ctrl+l"),
        Key("suspend", "ctrl+z", "app.suspend", "suspend the dashboard; the work goes on", "ctrl+z"),
        Key("quit", "q", "app.leave", "quit", "q"),
    ),
}

KEYS: Final = tuple(key for group in GROUPS.values() for key in group)

BINDINGS: Final = [Binding(key.keys, key.action, key.words, show=False, id=key.id, priority=True) for key in KEYS]
"""Bindings with priority, so that the app handles them at once: a key typed ahead reaches the screen that the key before it
opened. `MainScreen.check_action` leaves the keys to another widget that has the focus."""

ON_ALL_SCREENS: Final = [binding for binding in BINDINGS if binding.id == "redraw"]
"""Bindings of the app itself, which handles keys before its screens and the widget that has the focus."""

ACTIONS: Final = frozenset(key.action.partition("(")[0].removeprefix("app.") for key in KEYS)

READING: Final = frozenset({"move", "page", "edge", "column"})
"""Actions whose keys scroll the details while these have the focus."""


class Keymap:
    """The keys as configured: actions with other keys, and keys that these actions took from others."""

    def __init__(self, configured: Mapping[str, str]) -> None:
        self.configured = {id: keys for id, keys in configured.items() if id in _IDS}
        self._unknown = sorted(set(configured) - set(_IDS))
        self._taken = {name: id for id, keys in self.configured.items() for name in _names(keys)}

    def shown(self, id: str) -> str:
        """The keys of an action, as they are printed; empty if other actions took them all."""
        if id in self.configured:
            return " ".join(self.configured[id].split(","))
        key = _IDS[id]
        return " ".join(
            shown for name, shown in zip(key.keys.split(","), key.shown.split(), strict=True) if _name(name) not in self._taken
        )

    def problems(self) -> list[str]:
        """Mistakes in the configured keys that would be ignored silently, or leave an action without a key."""
        from difflib import get_close_matches  # noqa: PLC0415 - for mistakes only

        said = []
        for id in self._unknown:
            near = get_close_matches(id, _IDS, n=1, cutoff=0)[0]
            said.append(f"there is no action {printable(id)!r}; did you mean {near!r}? {self.shown('help')} shows all.")
        for id, keys in self.configured.items():
            said += [f"there is no key {printable(name)!r}, given to {id}." for name in keys.split(",") if not _is_key(name)]
            others = sorted({self._taken[name] for name in _names(keys)} - {id})
            said += [f"{id} and {other} have the same key: give one of them another." for other in others]
        lost = [key.id for key in KEYS if not self.shown(key.id)]
        said += [f"{id} has no key any more: {self._taken[_name(_IDS[id].keys.split(',')[0])]} took it." for id in lost]
        return [f"[dashboard] keys: {words}" for words in said]

    def help_groups(self) -> list[tuple[str, list[tuple[str, str]]]]:
        """Headings, each with pairs of keys and description."""
        groups = [(title, [(self.shown(key.id), key.words) for key in group]) for title, group in GROUPS.items()]
        everywhere = [("ctrl+p", "command palette: every action by name"), ("tab", "to the details and back")]
        return [*groups, ("Everywhere", everywhere)]


_IDS: Final = {key.id: key for key in KEYS}

_NAMED: Final = frozenset({key.value for key in Keys} | {*KEY_TO_UNICODE_NAME, *REPLACED_KEYS})

DEFAULT: Final = Keymap({})


def _names(keys: str) -> list[str]:
    return [_name(key) for key in keys.split(",")]


def _name(key: str) -> str:
    """A key as Textual names it: `?` is `question_mark`."""
    return _character_to_key(key) if len(key) == 1 else key


def _is_key(name: str) -> bool:
    base = name.strip().removeprefix("ctrl+").removeprefix("alt+").removeprefix("shift+")
    if len(base) == 1 or base in _NAMED:
        return True
    try:
        return bool(unicodedata.lookup(base.replace("_", " ")))
    except KeyError:
        return False
