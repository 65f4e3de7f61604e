"""Every key of the grid with its id (for the keymap in the configuration), its action and its words.

Bindings, help and command palette are all made from this one table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from textual.binding import Binding


class Key(NamedTuple):
    """One action of the grid. `keys` are Textual's names, `shown` what the help prints."""

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
        Key("retry_failed", "R", "retry_failed", "retry all failed, except refused by moderation", "R"),
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
        Key("suspend", "ctrl+z", "app.suspend", "suspend the dashboard; the work goes on", "ctrl+z"),
        Key("quit", "q", "app.leave", "quit", "q"),
    ),
}

KEYS: Final = tuple(key for group in GROUPS.values() for key in group)

BINDINGS: Final = [Binding(key.keys, key.action, key.words, show=False, id=key.id, priority=True) for key in KEYS]
"""With priority, so that the app handles them at once: a key that is typed ahead then meets what the one before it opened.
`MainScreen.check_action` gives them back to whatever else has the focus."""

ACTIONS: Final = frozenset(key.action.partition("(")[0].removeprefix("app.") for key in KEYS)

READING: Final = frozenset({"move", "page", "edge", "column"})
"""Actions whose keys belong to the details while these have the focus."""


def help_groups(keymap: Mapping[str, str]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Headings with keys and words, the keys as the user's keymap has them."""
    groups = [
        (title, [(keymap.get(key.id, key.shown).replace(",", " "), key.words) for key in group])
        for title, group in GROUPS.items()
    ]
    return [*groups, ("Everywhere", [("ctrl+p", "command palette: every action by name"), ("tab", "to the details and back")])]
