"""Every key of the grid: its id (for the keymap in the configuration), its action and its description.

Bindings, help and command palette are all made from this table.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Final, NamedTuple

from textual.binding import Binding
from textual.keys import KEY_TO_UNICODE_NAME, REPLACED_KEYS, Keys, _character_to_key

from synthdub_tui.text import make_printable


class KeyBinding(NamedTuple):
    """One action of the grid. `keys` are Textual's names; the help prints `shown`."""

    id: str
    keys: str
    action: str
    description: str
    label: str = ""


KEY_GROUPS: Final[dict[str, tuple[KeyBinding, ...]]] = {
    "Move": (
        KeyBinding("up", "up,k", "move(-1, 0)", "one row up", "↑ k"),
        KeyBinding("down", "down,j", "move(1, 0)", "one row down", "↓ j"),
        KeyBinding("left", "left,h", "move(0, -1)", "one language to the left", "← h"),
        KeyBinding("right", "right", "move(0, 1)", "one language to the right", "→"),
        KeyBinding("page_up", "pageup", "page(-1)", "a page up", "PgUp"),
        KeyBinding("page_down", "pagedown", "page(1)", "a page down", "PgDn"),
        KeyBinding("row_start", "home", "column(0)", "to the file column", "Home"),
        KeyBinding("row_end", "end", "column(-1)", "to the last language", "End"),
        KeyBinding("first", "g", "edge(0)", "to the first row", "g"),
        KeyBinding("last", "G", "edge(-1)", "to the last row", "G"),
        KeyBinding("details", "enter", "details", "details of the cell", "enter"),
    ),
    "Mark": (
        KeyBinding("mark", "space", "mark", "mark or unmark; on the file column the whole row", "space"),
        KeyBinding("mark_column", "V", "mark_column", "mark the column", "V"),
        KeyBinding("mark_shown", "*", "mark_shown", "mark all shown", "*"),
        KeyBinding("unmark", "u", "unmark", "unmark everything", "u"),
    ),
    "Act on the marks, or on the cursor": (
        KeyBinding("retry", "r", "retry", "retry", "r"),
        KeyBinding("retry_failed", "R", "retry_failed", "retry all failed, except what would fail again as it is", "R"),
        KeyBinding("cancel", "x", "cancel", "cancel", "x"),
        KeyBinding("undo", "U", "undo", "take a cancel back, within some seconds", "U"),
        KeyBinding("add_files", "a", "add_files", "add files", "a"),
        KeyBinding("add_languages", "L", "add_languages", "add languages", "L"),
        KeyBinding("pause", "p", "pause", "pause or resume the batch", "p"),
        KeyBinding("copy", "y", "copy", "copy the path or the id", "y"),
        KeyBinding("start_runner", "S", "start_runner", "start the runner again, where there is none", "S"),
    ),
    "Find": (
        KeyBinding("filter", "/", "filter", "filter, for instance state:failed lang:fr name:intro", "/"),
        KeyBinding("failed_only", "f", "failed_only", "failed and undecided only, and back", "f"),
        KeyBinding("clear", "escape", "clear", "close, clear marks, clear the filter", "esc"),
        KeyBinding("sort", "s", "sort", "sort by the next of added, name, state, progress, size", "s"),
    ),
    "Around": (
        KeyBinding("outputs", "o", "app.outputs", "finished files", "o"),
        KeyBinding("log", "l", "app.log", "log", "l"),
        KeyBinding("help", "?", "app.help", "this help", "?"),
        KeyBinding("mouse", "M", "app.mouse", "release the mouse to select text, and take it again", "M"),
        KeyBinding(
            "redraw", "ctrl+l", "app.redraw", "draw everything anew, where something else wrote on the screen", "ctrl+l"
        ),
        KeyBinding("suspend", "ctrl+z", "app.suspend", "suspend the dashboard; the work goes on", "ctrl+z"),
        KeyBinding("quit", "q", "app.leave", "quit", "q"),
    ),
}

ALL_KEYS: Final = tuple(key for group in KEY_GROUPS.values() for key in group)

BINDINGS: Final = [Binding(key.keys, key.action, key.description, show=False, id=key.id, priority=True) for key in ALL_KEYS]
"""Bindings with priority, so that the app handles them at once: a key typed ahead reaches the screen that the key before it
opened. `MainScreen.check_action` leaves the keys to another widget that has the focus."""

BINDINGS_ON_ALL_SCREENS: Final = [binding for binding in BINDINGS if binding.id == "redraw"]
"""Bindings of the app itself, which handles keys before its screens and the widget that has the focus."""

GRID_ACTIONS: Final = frozenset(key.action.partition("(")[0].removeprefix("app.") for key in ALL_KEYS)

DETAIL_SCROLL_ACTIONS: Final = frozenset({"move", "page", "edge", "column"})
"""Actions whose keys scroll the details while these have the focus."""


class Keymap:
    """The keys as configured: actions with other keys, and keys that these actions took from others."""

    def __init__(self, configured: Mapping[str, str]) -> None:
        self.configured = {id: keys for id, keys in configured.items() if id in _KEY_BY_ID}
        self._unknown = sorted(set(configured) - set(_KEY_BY_ID))
        self._id_by_key_name = {name: id for id, keys in self.configured.items() for name in _textual_key_names(keys)}

    def key_label(self, id: str) -> str:
        """The keys of an action, as they are printed; empty if other actions took them all."""
        if id in self.configured:
            return " ".join(self.configured[id].split(","))
        key = _KEY_BY_ID[id]
        return " ".join(
            shown
            for name, shown in zip(key.keys.split(","), key.label.split(), strict=True)
            if _textual_key_name(name) not in self._id_by_key_name
        )

    def problems(self) -> list[str]:
        """Mistakes in the configured keys that would be ignored silently, or leave an action without a key."""
        from difflib import get_close_matches  # noqa: PLC0415 - for mistakes only

        said = []
        for id in self._unknown:
            near = get_close_matches(id, _KEY_BY_ID, n=1, cutoff=0)[0]
            said.append(
                f"there is no action {make_printable(id)!r}; did you mean {near!r}? {self.key_label('help')} shows all."
            )
        for id, keys in self.configured.items():
            said += [
                f"there is no key {make_printable(name)!r}, given to {id}."
                for name in keys.split(",")
                if not _is_known_key(name)
            ]
            others = sorted({self._id_by_key_name[name] for name in _textual_key_names(keys)} - {id})
            said += [f"{id} and {other} have the same key: give one of them another." for other in others]
        lost = [key.id for key in ALL_KEYS if not self.key_label(key.id)]
        said += [
            f"{id} has no key any more: {self._id_by_key_name[_textual_key_name(_KEY_BY_ID[id].keys.split(',')[0])]} took it."
            for id in lost
        ]
        return [f"[dashboard] keys: {words}" for words in said]

    def help_groups(self) -> list[tuple[str, list[tuple[str, str]]]]:
        """Headings, each with pairs of keys and description."""
        groups = [(title, [(self.key_label(key.id), key.description) for key in group]) for title, group in KEY_GROUPS.items()]
        everywhere = [("ctrl+p", "command palette: every action by name"), ("tab", "to the details and back")]
        return [*groups, ("Everywhere", everywhere)]


_KEY_BY_ID: Final = {key.id: key for key in ALL_KEYS}

_KNOWN_KEY_NAMES: Final = frozenset({key.value for key in Keys} | {*KEY_TO_UNICODE_NAME, *REPLACED_KEYS})

DEFAULT_KEYMAP: Final = Keymap({})


def _textual_key_names(keys: str) -> list[str]:
    return [_textual_key_name(key) for key in keys.split(",")]


def _textual_key_name(key: str) -> str:
    """A key as Textual names it: `?` is `question_mark`."""
    return _character_to_key(key) if len(key) == 1 else key


def _is_known_key(name: str) -> bool:
    base = name.strip().removeprefix("ctrl+").removeprefix("alt+").removeprefix("shift+")
    if len(base) == 1 or base in _KNOWN_KEY_NAMES:
        return True
    try:
        return bool(unicodedata.lookup(base.replace("_", " ")))
    except KeyError:
        return False
