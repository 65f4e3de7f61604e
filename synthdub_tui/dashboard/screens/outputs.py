"""The finished files: find them, play them, copy them, read their captions, and mark them as reviewed."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import ClassVar, Final

from msgspec.structs import replace
from textual import on
from textual.app import ComposeResult, SuspendNotSupported
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import Input

from synthdub_tui.dashboard import images
from synthdub_tui.dashboard.output_file_check import Checker
from synthdub_tui.dashboard.output_rows import SORTS, Key, OutputRow, Query, QueryError, parse, select
from synthdub_tui.dashboard.screens.base import Page
from synthdub_tui.dashboard.screens.captions import CaptionsScreen
from synthdub_tui.dashboard.screens.clipboard_dialog import CopiedScreen
from synthdub_tui.dashboard.terminal import clipboard, player
from synthdub_tui.dashboard.text_layout import Line, duration, fit, fit_end, size, wrap
from synthdub_tui.dashboard.thread_task import Errand
from synthdub_tui.dashboard.widgets.key_hints import Hints
from synthdub_tui.dashboard.widgets.plain_text import Words
from synthdub_tui.dashboard.widgets.row_list import RowList
from synthdub_tui.dashboard.widgets.search_box import SearchBox
from synthdub_tui.dashboard.widgets.thumbnail_pane import Thumbnail
from synthdub_tui.humanize import ago, many
from synthdub_tui.text import printable

RELOAD: Final = 2.0
LOOK: Final = 5.0
BELIEVED: Final = 10.0
"""Seconds for which a review mark is shown that the runner has not confirmed yet."""

NARROW: Final = 60
"""Below this width in cells, a row shows only name, language and state; the rest is below the list."""

NOTE_ROWS: Final = 3

SHELL_LINE: Final = " \\\n"
"""Separates the lines of one command, so that it can be copied from the screen."""

STATES: Final = {
    "moved": (
        "moved",
        "The file is gone from here: it was moved or deleted since. A retry in the grid fetches it again, free.",
    ),
    "changed": ("changed", "The file differs from the one that was downloaded: somebody changed it since."),
    "unread": ("unread", "The file cannot be looked at: a folder above it is not readable."),
}

KEYS: Final = [
    ("enter", "play"),
    ("y", "path"),
    ("Y", "scp"),
    ("esc", "back"),
    ("?", "keys"),
    ("v", "reviewed"),
    ("c", "captions"),
    ("space", "mark"),
    ("/", "filter"),
    ("s", "sort"),
]


class OutputsScreen(Page[None]):
    """Calls `rows` every two seconds, and at once on `reload`. `on_review` receives review marks. `thumbnail` returns the path
    of an output's picture, or an empty one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "play", "play or open", show=False),
        Binding("y", "copy_path", "copy the path", show=False),
        Binding("Y", "copy_scp", "copy an scp command", show=False),
        Binding("c", "captions", "read the captions", show=False),
        Binding("v", "review", "mark as reviewed, or take it back", show=False),
        Binding("space", "mark", "mark", show=False),
        Binding("asterisk", "mark_all", "mark all shown", show=False),
        Binding("u", "unmark", "unmark everything", show=False),
        Binding("slash", "filter", "filter: words, lang:fr reviewed:no state:moved sort:size", show=False, priority=True),
        Binding("s", "sort", "sort by the next of newest, name, language, size, length, reviewed", show=False),
        Binding("o,q", "close", "back", show=False),
    ]

    def __init__(
        self,
        rows: Callable[[], list[OutputRow]],
        *,
        on_review: Callable[[list[OutputRow], bool], None],
        play_command: str = "",
        host: str = "",
        read_only: bool = False,
        thumbnail: Callable[[Key], Awaitable[str]] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__()
        self._source = rows
        self._on_review = on_review
        self._play_command = play_command
        self._host = host
        self._read_only = read_only
        self._find_thumbnail = thumbnail
        self._clock = clock
        self._given: list[OutputRow] = []  # as `rows` returned them
        self._rows: list[OutputRow] = []  # with review marks that are not confirmed yet
        self._shown: list[OutputRow] = []
        self._states: dict[Key, str] = {}
        self._marked: set[Key] = set()
        self._believed: dict[Key, tuple[bool, float]] = {}
        self._query = Query()
        self._sort = "newest"
        self._look_at_all = True
        self._said = ""  # stays below the list until the cursor leaves the row
        self._said_at = -1

    def compose(self) -> ComposeResult:
        yield Words(id="title")
        yield Words(id="header", classes="status")
        with Horizontal(id="beside"):
            yield RowList(self._row, id="outputs", resized=self._headings)
            yield Thumbnail()
        yield Words(id="note", classes="notes")
        yield SearchBox(placeholder="name lang:fr reviewed:no state:moved sort:size", id="filter", passes=("up", "down"))
        yield Hints(KEYS)

    def on_mount(self) -> None:
        self._box.add_class("hidden")
        self._list.focus()
        self._checker = Checker(self, self._checked)
        self.reload()
        self.set_interval(RELOAD, self.reload)
        self.set_interval(LOOK, self._time_passed)

    def on_unmount(self) -> None:
        self._checker.stop()

    def on_resize(self) -> None:
        self._note()
        self._look_at_picture()

    # -- the list ------------------------------------------------------------------------------------------------------

    @property
    def _list(self) -> RowList:
        return self.query_one("#outputs", RowList)

    @property
    def _box(self) -> SearchBox:
        return self.query_one("#filter", SearchBox)

    @property
    def _at_cursor(self) -> OutputRow | None:
        return self._shown[self._list.cursor] if self._shown else None

    def _time_passed(self) -> None:
        """Check the files again, and draw their ages. Timers must not be longer: asyncio keeps a stopped timer until it is due,
        and with it this screen and all of its rows."""
        self._look()
        self._list.refresh()

    def reload(self) -> None:
        """Ask for the rows again; cheap if nothing changed."""
        now = self._clock()
        late = [key for key, (_, until) in self._believed.items() if until < now]
        given = self._source()
        same = given is self._given or given == self._given
        if same and not late and self._rows:
            return
        for key in late:
            del self._believed[key]
        self._given = given
        self._rows = [self._with_belief(row) for row in given]
        self._arrange()
        self._look_at_all = True
        self._look()

    def _with_belief(self, row: OutputRow) -> OutputRow:
        belief = self._believed.get(row.key)
        if belief is None:
            return row
        if row.reviewed is belief[0]:
            del self._believed[row.key]
            return row
        return replace(row, reviewed=belief[0])

    def _arrange(self) -> None:
        """Filter and sort again; the cursor stays with its file."""
        at = self._at_cursor
        self._shown = select(self._rows, self._query, self._sort, self._states)
        cursor = next((index for index, row in enumerate(self._shown) if at is not None and row.key == at.key), None)
        self._list.show(len(self._shown), cursor)
        self._headings()
        self._note()
        if at != self._at_cursor:
            self._look_at_picture()

    def _headings(self) -> None:
        found = f"{len(self._shown):,} of {many(len(self._rows), 'file')}" if self._box.value else many(len(self._rows), "file")
        total = size(sum(row.size for row in self._shown))
        marked = f", {len(self._marked):,} marked" if self._marked else ""
        order = self._query.sort or self._sort
        back = "unmark" if self._marked else "back"
        self.query_one(Hints).show([(key, back if key == "esc" else word) for key, word in KEYS])
        self.query_one("#title", Words).show(f"Outputs: {found}, {total}{marked}, by {order}")
        self.query_one("#header", Words).show(
            "    " + self._columns("file", "lang", "size", "length", "finished", "", self._width)
        )

    @property
    def _width(self) -> int:
        """Cells of a row of the list, without its cursor sign."""
        return self._list.scrollable_content_region.width - 2

    def _columns(self, name: str, language: str, bytes_: str, length: str, old: str, state: str, width: int) -> str:
        if width < NARROW:
            return f"{fit(name, width - 19)} {fit(language, 7)} {fit(state, 8)}"
        rest = f"{fit(bytes_, 9, right=True)} {fit(length, 8, right=True)} {fit(old, 10, right=True)}"
        return f"{fit(name, width - 51)} {fit(language, 7)} {rest}  {fit(state, 9)}"

    def _row(self, index: int, width: int) -> Line:
        row = self._shown[index]
        state = self._states.get(row.key, "")
        word = STATES[state][0] if state else "reviewed" if row.reviewed else ""
        old = ago(self._clock() - row.finished)
        columns = self._columns(printable(row.name), row.language, size(row.size), duration(row.seconds), old, word, width)
        role = "bad" if state == "moved" else "warn" if state else "faint" if row.reviewed else ""
        return (("* " if row.key in self._marked else "  ", "strong"), (columns, role))

    @on(RowList.Moved)
    def _moved(self) -> None:
        if self._list.cursor != self._said_at:  # in a burst of keys, this message comes after them
            self._said = ""
        self._note()
        self._look_at_picture()

    def _look_at_picture(self) -> None:
        row, find = self._at_cursor, self._find_thumbnail
        if find is not None and images.possible(self.app):
            self.query_one(Thumbnail).look(partial(find, row.key) if row is not None else None)

    def _note(self) -> None:
        """Show the last message, else facts about the row under the cursor."""
        self.query_one("#note", Words).show(self._said or self._facts())

    def _facts(self) -> str:
        row = self._at_cursor
        if row is None:
            none = "No finished files yet. They appear here as soon as a language is downloaded."
            return "Nothing passes the filter." if self._rows else none
        state = self._states.get(row.key, "")
        path = fit_end(printable(row.path, 4096), max(10, self.size.width - 1))
        facts = [size(row.size), duration(row.seconds), ago(self._clock() - row.finished), "reviewed" if row.reviewed else ""]
        return path + "\n" + (STATES[state][1] if state else ", ".join(fact for fact in facts if fact))

    def _say(self, text: str) -> None:
        self._said, self._said_at = text, self._list.cursor
        self._note()

    # -- the files on disk ---------------------------------------------------------------------------------------------

    def _look(self) -> None:
        rows = self._rows if self._look_at_all else [self._shown[index] for index in self._list.in_view()]
        if rows and self._checker.look(rows):
            self._look_at_all = False

    def _checked(self, found: dict[Key, str]) -> None:
        changed = {key: state for key, state in found.items() if self._states.get(key, "") != state}
        if changed:
            self._states.update(changed)
            self._arrange()

    # -- finding -------------------------------------------------------------------------------------------------------

    def action_filter(self) -> None:
        self.open_box(self._box)

    @on(Input.Changed, "#filter")
    def _filter_changed(self, event: Input.Changed) -> None:
        try:
            self._query = parse(event.value)
        except QueryError as error:
            self._say(str(error))
            return
        self._said = ""
        self._arrange()

    @on(Input.Submitted, "#filter")
    def _filter_done(self) -> None:
        if not self._box.value:
            self._box.add_class("hidden")
        self._list.focus()

    def action_back(self) -> None:
        """Leave one thing at a time: the search that has the focus, the marks, the search, the page."""
        if self._marked and not self._box.has_focus:
            self.action_unmark()
        else:
            self.leave_box(self._box, self._list)

    def action_close(self) -> None:
        self.dismiss(None)

    def action_sort(self) -> None:
        names = list(SORTS)
        self._sort = names[(names.index(self._sort) + 1) % len(names)]
        self._arrange()

    # -- marks ---------------------------------------------------------------------------------------------------------

    def action_mark(self) -> None:
        row = self._at_cursor
        if row is not None:
            self._marked ^= {row.key}
            self._list.refresh()
            self._list.action_move(1)
            self._headings()

    def action_mark_all(self) -> None:
        self._marked |= {row.key for row in self._shown}
        self._list.refresh()
        self._headings()

    def action_unmark(self) -> None:
        self._marked.clear()
        self._list.refresh()
        self._headings()

    def _chosen(self) -> list[OutputRow]:
        """The marked files, else the one under the cursor."""
        marked = [row for row in self._rows if row.key in self._marked]
        at = self._at_cursor
        return marked or ([at] if at is not None else [])

    # -- acting --------------------------------------------------------------------------------------------------------

    def action_review(self) -> None:
        rows = self._chosen()
        if self._read_only:
            self._say("This dashboard only watches (--read-only).")
        elif rows:
            self._said = ""
            mark = not all(row.reviewed for row in rows)
            until = self._clock() + BELIEVED
            self._believed.update({row.key: (mark, until) for row in rows})
            self._on_review(rows, mark)
            self._rows = [self._with_belief(row) for row in self._rows]
            self._arrange()

    def action_copy_path(self) -> None:
        rows = self._chosen()
        if rows:
            self._copy("\n".join(clipboard.path_text(row.path) for row in rows), many(len(rows), "path"))

    def action_copy_scp(self) -> None:
        chosen = self._chosen()
        rows = [row for row in chosen if self._states.get(row.key) != "moved"]
        if rows:
            target = clipboard.ssh_target(self._host, os.environ)
            left_out = f", {many(len(chosen) - len(rows), 'moved file')} left out" if len(rows) < len(chosen) else ""
            paths = [row.path for row in rows]
            shown = clipboard.scp_command(paths, target, SHELL_LINE)
            self._copy(clipboard.scp_command(paths, target), f"scp command{left_out}", shown)
        elif chosen:
            self._say(STATES["moved"][1])

    def _copy(self, text: str, what: str, shown: str = "") -> None:
        """Copy a text, and show it. `shown`: the text for the screen, if it is long."""
        clipboard.copy(self.app, text)
        said = f"Sent to your clipboard ({what}). If it did not arrive:"
        lines = sum(len(wrap(((line, ""),), self.size.width)) for line in (said, *text.split("\n")))
        if lines <= NOTE_ROWS:
            self._say(f"{said}\n{text}")
        else:
            self.app.push_screen(CopiedScreen(shown or text, what))

    def action_captions(self) -> None:
        row = self._at_cursor
        if row is None:
            return
        if row.captions:
            self.app.push_screen(CaptionsScreen(row.captions))
        else:
            self._say("There are no captions of this file: they were not asked for, or the service had none.")

    @on(RowList.Clicked)
    def action_play(self) -> None:
        row = self._at_cursor
        if row is None:
            return
        if self._states.get(row.key) == "moved":
            self._say(STATES["moved"][1])
            return
        opening = player.plan(row.path, self._play_command, os.environ)
        if opening.way == "terminal":
            self._play_here(opening.argv)
        elif opening.way == "window":
            self._say(f"Opening with {opening.argv[0]}…")
            Errand(self, lambda errand: errand.tell(self._opened, opening.argv[0], player.start_beside(opening.argv)))
        else:
            self._say(opening.explain)

    def _play_here(self, argv: tuple[str, ...]) -> None:
        """Give the terminal to a program. This blocks the event loop on purpose: nothing may be drawn meanwhile."""
        try:
            with self.app.suspend():
                failure = player.run_in_terminal(argv)
        except SuspendNotSupported:
            failure = "This terminal cannot be given to another program."
        if failure:
            self._say(failure)

    def _opened(self, program: str, failure: str) -> None:
        self._say(failure or f"Opened with {program}.")
