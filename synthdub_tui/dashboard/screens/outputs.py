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
from synthdub_tui.dashboard.output_file_check import OutputFileChecker
from synthdub_tui.dashboard.output_rows import (
    SORT_KEYS,
    OutputFilter,
    OutputFilterError,
    OutputKey,
    OutputRow,
    filter_and_sort,
    parse_output_filter,
)
from synthdub_tui.dashboard.screens.base import Page
from synthdub_tui.dashboard.screens.captions import CaptionsScreen
from synthdub_tui.dashboard.screens.clipboard_dialog import ClipboardDialog
from synthdub_tui.dashboard.terminal import clipboard, player
from synthdub_tui.dashboard.text_layout import Line, fit, fit_end, format_playing_time, format_size, wrap
from synthdub_tui.dashboard.thread_task import ThreadTask
from synthdub_tui.dashboard.widgets.key_hints import KeyHints
from synthdub_tui.dashboard.widgets.plain_text import PlainText
from synthdub_tui.dashboard.widgets.row_list import RowList
from synthdub_tui.dashboard.widgets.search_box import SearchBox
from synthdub_tui.dashboard.widgets.thumbnail_pane import ThumbnailPane
from synthdub_tui.humanize import format_age, format_count
from synthdub_tui.text import make_printable

RELOAD_SECONDS: Final = 2.0
FILE_CHECK_SECONDS: Final = 5.0
UNCONFIRMED_REVIEW_SECONDS: Final = 10.0
"""Seconds for which a review mark is shown that the runner has not confirmed yet."""

NARROW_BELOW_CELLS: Final = 60
"""Below this width in cells, a row shows only name, language and state; the rest is below the list."""

MAX_NOTE_ROWS: Final = 3

SHELL_LINE_CONTINUATION: Final = " \\\n"
"""Separates the lines of one command, so that it can be copied from the screen."""

FILE_STATE_TEXTS: Final = {
    "moved": (
        "moved",
        "The file is gone from here: it was moved or deleted since. A retry in the grid fetches it again, free.",
    ),
    "changed": ("changed", "The file differs from the one that was downloaded: somebody changed it since."),
    "unread": ("unread", "The file cannot be looked at: a folder above it is not readable."),
}

KEY_HINT_PAIRS: Final = [
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
    """Calls `load_rows` every two seconds, and at once on `reload`. `on_review` receives review marks. `find_thumbnail` returns
    the path of an output's picture, or an empty one."""

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
        load_rows: Callable[[], list[OutputRow]],
        *,
        on_review: Callable[[list[OutputRow], bool], None],
        play_command: str = "",
        host: str = "",
        read_only: bool = False,
        find_thumbnail: Callable[[OutputKey], Awaitable[str]] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__()
        self._load_rows = load_rows
        self._on_review = on_review
        self._play_command = play_command
        self._host = host
        self._read_only = read_only
        self._find_thumbnail = find_thumbnail
        self._clock = clock
        self._loaded_rows: list[OutputRow] = []  # as `rows` returned them
        self._rows: list[OutputRow] = []  # with review marks that are not confirmed yet
        self._shown: list[OutputRow] = []
        self._states: dict[OutputKey, str] = {}
        self._marked: set[OutputKey] = set()
        self._unconfirmed_reviews: dict[OutputKey, tuple[bool, float]] = {}
        self._query = OutputFilter()
        self._sort = "newest"
        self._must_check_all = True
        self._message = ""  # stays below the list until the cursor leaves the row
        self._message_row = -1

    def compose(self) -> ComposeResult:
        yield PlainText(id="title")
        yield PlainText(id="header", classes="status")
        with Horizontal(id="beside"):
            yield RowList(self._row, id="outputs", on_width_change=self._headings)
            yield ThumbnailPane()
        yield PlainText(id="note", classes="notes")
        yield SearchBox(
            placeholder="name lang:fr reviewed:no state:moved sort:size", id="filter", keys_for_screen=("up", "down")
        )
        yield KeyHints(KEY_HINT_PAIRS)

    def on_mount(self) -> None:
        self._box.add_class("hidden")
        self._list.focus()
        self._checker = OutputFileChecker(self, self._handle_file_states)
        self.reload()
        self.set_interval(RELOAD_SECONDS, self.reload)
        self.set_interval(FILE_CHECK_SECONDS, self._update_states_and_ages)

    def on_unmount(self) -> None:
        self._checker.stop()

    def on_resize(self) -> None:
        self._update_note()
        self._update_thumbnail()

    # -- the list ------------------------------------------------------------------------------------------------------

    @property
    def _list(self) -> RowList:
        return self.query_one("#outputs", RowList)

    @property
    def _box(self) -> SearchBox:
        return self.query_one("#filter", SearchBox)

    @property
    def _row_at_cursor(self) -> OutputRow | None:
        return self._shown[self._list.cursor] if self._shown else None

    def _update_states_and_ages(self) -> None:
        """Check the files again, and draw their ages. Timers must not be longer: asyncio keeps a stopped timer until it is due,
        and with it this screen and all of its rows."""
        self._check_files()
        self._list.refresh()

    def reload(self) -> None:
        """Ask for the rows again; cheap if nothing changed."""
        now = self._clock()
        late = [key for key, (_, until) in self._unconfirmed_reviews.items() if until < now]
        given = self._load_rows()
        same = given is self._loaded_rows or given == self._loaded_rows
        if same and not late and self._rows:
            return
        for key in late:
            del self._unconfirmed_reviews[key]
        self._loaded_rows = given
        self._rows = [self._with_unconfirmed_review(row) for row in given]
        self._arrange()
        self._must_check_all = True
        self._check_files()

    def _with_unconfirmed_review(self, row: OutputRow) -> OutputRow:
        belief = self._unconfirmed_reviews.get(row.key)
        if belief is None:
            return row
        if row.reviewed is belief[0]:
            del self._unconfirmed_reviews[row.key]
            return row
        return replace(row, reviewed=belief[0])

    def _arrange(self) -> None:
        """Filter and sort again; the cursor stays with its file."""
        at = self._row_at_cursor
        self._shown = filter_and_sort(self._rows, self._query, self._sort, self._states)
        cursor = next((index for index, row in enumerate(self._shown) if at is not None and row.key == at.key), None)
        self._list.show(len(self._shown), cursor)
        self._headings()
        self._update_note()
        if at != self._row_at_cursor:
            self._update_thumbnail()

    def _headings(self) -> None:
        found = (
            f"{len(self._shown):,} of {format_count(len(self._rows), 'file')}"
            if self._box.value
            else format_count(len(self._rows), "file")
        )
        total = format_size(sum(row.size for row in self._shown))
        marked = f", {len(self._marked):,} marked" if self._marked else ""
        order = self._query.sort or self._sort
        back = "unmark" if self._marked else "back"
        self.query_one(KeyHints).show([(key, back if key == "esc" else word) for key, word in KEY_HINT_PAIRS])
        self.query_one("#title", PlainText).show(f"Outputs: {found}, {total}{marked}, by {order}")
        self.query_one("#header", PlainText).show(
            "    " + self._columns("file", "lang", "size", "length", "finished", "", self._width)
        )

    @property
    def _width(self) -> int:
        """Cells of a row of the list, without its cursor sign."""
        return self._list.scrollable_content_region.width - 2

    def _columns(self, name: str, language: str, bytes_: str, length: str, old: str, state: str, width: int) -> str:
        if width < NARROW_BELOW_CELLS:
            return f"{fit(name, width - 19)} {fit(language, 7)} {fit(state, 8)}"
        rest = f"{fit(bytes_, 9, right=True)} {fit(length, 8, right=True)} {fit(old, 10, right=True)}"
        return f"{fit(name, width - 51)} {fit(language, 7)} {rest}  {fit(state, 9)}"

    def _row(self, index: int, width: int) -> Line:
        row = self._shown[index]
        state = self._states.get(row.key, "")
        word = FILE_STATE_TEXTS[state][0] if state else "reviewed" if row.reviewed else ""
        old = format_age(self._clock() - row.finished_at)
        columns = self._columns(
            make_printable(row.name),
            row.language,
            format_size(row.size),
            format_playing_time(row.playing_seconds),
            old,
            word,
            width,
        )
        role = "bad" if state == "moved" else "warn" if state else "faint" if row.reviewed else ""
        return (("* " if row.key in self._marked else "  ", "strong"), (columns, role))

    @on(RowList.CurrentRowMoved)
    def _handle_cursor_move(self) -> None:
        if self._list.cursor != self._message_row:  # in a burst of keys, this message comes after them
            self._message = ""
        self._update_note()
        self._update_thumbnail()

    def _update_thumbnail(self) -> None:
        row, find = self._row_at_cursor, self._find_thumbnail
        if find is not None and images.terminal_shows_images(self.app):
            self.query_one(ThumbnailPane).look(partial(find, row.key) if row is not None else None)

    def _update_note(self) -> None:
        """Show the last message, else facts about the row under the cursor."""
        self.query_one("#note", PlainText).show(self._message or self._facts())

    def _facts(self) -> str:
        row = self._row_at_cursor
        if row is None:
            none = "No finished files yet. They appear here as soon as a language is downloaded."
            return "Nothing passes the filter." if self._rows else none
        state = self._states.get(row.key, "")
        path = fit_end(make_printable(row.path, 4096), max(10, self.size.width - 1))
        facts = [
            format_size(row.size),
            format_playing_time(row.playing_seconds),
            format_age(self._clock() - row.finished_at),
            "reviewed" if row.reviewed else "",
        ]
        return path + "\n" + (FILE_STATE_TEXTS[state][1] if state else ", ".join(fact for fact in facts if fact))

    def _show_message(self, text: str) -> None:
        self._message, self._message_row = text, self._list.cursor
        self._update_note()

    # -- the files on disk ---------------------------------------------------------------------------------------------

    def _check_files(self) -> None:
        rows = self._rows if self._must_check_all else [self._shown[index] for index in self._list.visible_range()]
        if rows and self._checker.look(rows):
            self._must_check_all = False

    def _handle_file_states(self, found: dict[OutputKey, str]) -> None:
        changed = {key: state for key, state in found.items() if self._states.get(key, "") != state}
        if changed:
            self._states.update(changed)
            self._arrange()

    # -- finding -------------------------------------------------------------------------------------------------------

    def action_filter(self) -> None:
        self.open_input(self._box)

    @on(Input.Changed, "#filter")
    def _handle_filter_change(self, event: Input.Changed) -> None:
        try:
            self._query = parse_output_filter(event.value)
        except OutputFilterError as error:
            self._show_message(str(error))
            return
        self._message = ""
        self._arrange()

    @on(Input.Submitted, "#filter")
    def _handle_filter_submit(self) -> None:
        if not self._box.value:
            self._box.add_class("hidden")
        self._list.focus()

    def action_back(self) -> None:
        """Leave one thing at a time: the search that has the focus, the marks, the search, the page."""
        if self._marked and not self._box.has_focus:
            self.action_unmark()
        else:
            self.close_input_or_page(self._box, self._list)

    def action_close(self) -> None:
        self.dismiss(None)

    def action_sort(self) -> None:
        names = list(SORT_KEYS)
        self._sort = names[(names.index(self._sort) + 1) % len(names)]
        self._arrange()

    # -- marks ---------------------------------------------------------------------------------------------------------

    def action_mark(self) -> None:
        row = self._row_at_cursor
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
        at = self._row_at_cursor
        return marked or ([at] if at is not None else [])

    # -- acting --------------------------------------------------------------------------------------------------------

    def action_review(self) -> None:
        rows = self._chosen()
        if self._read_only:
            self._show_message("This dashboard only watches (--read-only).")
        elif rows:
            self._message = ""
            mark = not all(row.reviewed for row in rows)
            until = self._clock() + UNCONFIRMED_REVIEW_SECONDS
            self._unconfirmed_reviews.update({row.key: (mark, until) for row in rows})
            self._on_review(rows, mark)
            self._rows = [self._with_unconfirmed_review(row) for row in self._rows]
            self._arrange()

    def action_copy_path(self) -> None:
        rows = self._chosen()
        if rows:
            self._copy("\n".join(clipboard.path_text(row.path) for row in rows), format_count(len(rows), "path"))

    def action_copy_scp(self) -> None:
        chosen = self._chosen()
        rows = [row for row in chosen if self._states.get(row.key) != "moved"]
        if rows:
            target = clipboard.ssh_target(self._host, os.environ)
            left_out = f", {format_count(len(chosen) - len(rows), 'moved file')} left out" if len(rows) < len(chosen) else ""
            paths = [row.path for row in rows]
            shown = clipboard.scp_command(paths, target, SHELL_LINE_CONTINUATION)
            self._copy(clipboard.scp_command(paths, target), f"scp command{left_out}", shown)
        elif chosen:
            self._show_message(FILE_STATE_TEXTS["moved"][1])

    def _copy(self, text: str, what: str, shown: str = "") -> None:
        """Copy a text, and show it. `shown`: the text for the screen, if it is long."""
        clipboard.copy_text(self.app, text)
        said = f"Sent to your clipboard ({what}). If it did not arrive:"
        lines = sum(len(wrap(((line, ""),), self.size.width)) for line in (said, *text.split("\n")))
        if lines <= MAX_NOTE_ROWS:
            self._show_message(f"{said}\n{text}")
        else:
            self.app.push_screen(ClipboardDialog(shown or text, what))

    def action_captions(self) -> None:
        row = self._row_at_cursor
        if row is None:
            return
        if row.captions:
            self.app.push_screen(CaptionsScreen(row.captions))
        else:
            self._show_message("There are no captions of this file: they were not asked for, or the service had none.")

    @on(RowList.RowActivated)
    def action_play(self) -> None:
        row = self._row_at_cursor
        if row is None:
            return
        if self._states.get(row.key) == "moved":
            self._show_message(FILE_STATE_TEXTS["moved"][1])
            return
        opening = player.plan_open(row.path, self._play_command, os.environ)
        if opening.mode == "terminal":
            self._play_in_terminal(opening.argv)
        elif opening.mode == "window":
            self._show_message(f"Opening with {opening.argv[0]}…")
            ThreadTask(
                self,
                lambda task: task.report(self._show_open_result, opening.argv[0], player.start_in_window(opening.argv)),
            )
        else:
            self._show_message(opening.reason)

    def _play_in_terminal(self, argv: tuple[str, ...]) -> None:
        """Give the terminal to a program. This blocks the event loop on purpose: nothing may be drawn meanwhile."""
        try:
            with self.app.suspend():
                failure = player.run_in_terminal(argv)
        except SuspendNotSupported:
            failure = "This terminal cannot be given to another program."
        if failure:
            self._show_message(failure)

    def _show_open_result(self, program: str, failure: str) -> None:
        self._show_message(failure or f"Opened with {program}.")
