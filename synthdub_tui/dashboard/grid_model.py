"""The view model of the grid, without Textual: rows, columns, totals, filter, order and marks of a batch.

The cost of an update depends on the size of the change, not of the batch. The order of rows changes only when the user asks
for it: a row keeps its rank, and new rows come last. A row that stops matching the filter stays while the cursor is on it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import Final

from synthdub_tui.ipc.protocol import Transfer
from synthdub_tui.jobs.eta import CompletionPace, PastDurations
from synthdub_tui.jobs.filters import Filter
from synthdub_tui.jobs.model import OPEN_STATES, Dub, DubState, Job
from synthdub_tui.jobs.selection import Marks
from synthdub_tui.jobs.sorting import SORT_KEYS

FILE_COLUMN: Final = ""
"""The file column, wherever a language is expected, as in `protocol.Transfer`."""

_STATES: Final = tuple(DubState)
_STATE_INDEX: Final = {state: place for place, state in enumerate(_STATES)}
_rank = attrgetter("rank")


class DubTotals:
    """Dubs by state, kept up to date one change at a time."""

    __slots__ = ("_counts", "dubs", "held")

    def __init__(self) -> None:
        self._counts = [0] * len(_STATES)
        self.dubs = 0
        self.held = 0

    def add(self, dub: Dub, by: int = 1) -> None:
        """Count a dub; with `by=-1`, remove it from the counts."""
        self._counts[_STATE_INDEX[dub.state]] += by
        self.dubs += by
        self.held += by if dub.hold is not None else 0

    def __getitem__(self, state: DubState) -> int:
        return self._counts[_STATE_INDEX[state]]

    @property
    def open(self) -> int:
        """Dubs that continue without the user."""
        return sum(self[state] for state in OPEN_STATES) - self.held

    @property
    def trouble(self) -> int:
        """Dubs that need the user."""
        return self[DubState.FAILED] + self[DubState.UNKNOWN]


class GridRow:
    """A job in the grid. `rank` is its place in the order of all rows; `job` its latest version."""

    __slots__ = ("job", "matched", "rank")

    def __init__(self, job: Job, rank: int) -> None:
        self.job = job
        self.rank = rank
        self.matched = False


class DisplayNames:
    """The shown names of files: the file's name, with as much of the path as is needed to tell equal names apart."""

    __slots__ = ("_first", "_folders")

    def __init__(self) -> None:
        self._first: dict[str, str] = {}  # path of the first file of each name
        self._folders: dict[str, dict[str, int]] = {}  # names of several files → "folder/name" → number of files

    def add(self, job: Job) -> bool:
        """Add a file. Returns whether its name is not unique, so that the names of other files may change."""
        name, path = job.name, job.source.path
        first = self._first.setdefault(name, path)
        if first == path:
            return False
        folders = self._folders.setdefault(name, {}) or {_name_with_folder(first): 1}
        folders[_name_with_folder(path)] = folders.get(_name_with_folder(path), 0) + 1
        self._folders[name] = folders
        return True

    def for_job(self, job: Job) -> str:
        """The shown name of a file; untrusted text."""
        name, path = job.name, job.source.path
        folders = self._folders.get(name)
        if folders is None:
            return name
        return path if folders.get(_name_with_folder(path), 0) > 1 else _name_with_folder(path)


def _name_with_folder(path: str) -> str:
    return "/".join(path.split("/")[-2:])


class PendingRedraw:
    """What must be drawn again. `layout`: rows or columns may have come, gone or moved. `everything`: all that is visible."""

    __slots__ = ("cells", "everything", "languages", "layout")

    def __init__(self) -> None:
        self.cells: set[tuple[str, str]] = set()
        self.languages: set[str] = set()
        self.layout = False
        self.everything = False

    def __bool__(self) -> bool:
        return bool(self.layout or self.everything or self.cells or self.languages)


class GridModel:
    """All jobs that the dashboard knows, and which of them are shown."""

    def __init__(self) -> None:
        self.rows: dict[str, GridRow] = {}
        self.visible_rows: list[GridRow] = []
        self.languages: list[str] = []
        self.columns: list[str] = []
        self.totals: dict[str, DubTotals] = {}
        self.overall = DubTotals()
        self.transfers: dict[tuple[str, str], Transfer] = {}
        self.marks = Marks()
        self.pace = CompletionPace()
        self.durations = PastDurations()
        self.filter = Filter()
        self.order = "added"
        self.display_names = DisplayNames()
        self.is_loaded = False
        self.finished_revision = 0  # increases when a finished dub is added, removed or changed
        self.widest_name_cells = 0
        self._column: dict[str, int] = {}
        self._empty: set[str] = set()  # languages whose last dub was removed
        self._preferred: tuple[str, ...] = ()
        self._job_test = self.filter.job_test()
        self._dub_test = self.filter.dub_test()
        self._pinned: str | None = None
        self._next_rank = 0
        self._missing_from_snapshot: set[str] | None = None
        self._pending_redraw = PendingRedraw()

    # -- messages of the runner --------------------------------------------------------------------------------------

    def begin_snapshot(self) -> None:
        """Begin a snapshot; `end_snapshot` removes the jobs that it does not contain."""
        self._missing_from_snapshot = set(self.rows)
        self._replace_transfers(())

    def end_snapshot(self) -> None:
        """End the snapshot: remove the jobs that it did not contain."""
        self.remove_jobs(self._missing_from_snapshot or ())
        self._missing_from_snapshot = None
        self.is_loaded = True
        if self.order != "added":
            self.sort(self.order)

    def update_jobs(self, jobs: Iterable[Job]) -> None:
        """Add new jobs, and new versions of known ones."""
        for job in jobs:
            if self._missing_from_snapshot is not None:
                self._missing_from_snapshot.discard(job.id)
            row = self.rows.get(job.id)
            if row is None:
                self._insert(job)
            else:
                self._update_row(row, job)

    def remove_jobs(self, jobs: Iterable[str]) -> None:
        """Remove jobs that are no longer part of the batch. Unknown ids are ignored."""
        known = [job for job in jobs if job in self.rows]
        for job in known:
            self._remove(job)
        if known:
            self._rebuild_display_names()

    def update_transfers(self, transfers: Iterable[Transfer]) -> None:
        """Replace the running transfers; a transfer that is not named has ended."""
        self._replace_transfers(transfers)

    def take_pending_redraw(self) -> PendingRedraw:
        """The changes since the last call."""
        dirty, self._pending_redraw = self._pending_redraw, PendingRedraw()
        return dirty

    @property
    def needs_redraw(self) -> bool:
        """Whether anything changed since the last call of `take_pending_redraw`."""
        return bool(self._pending_redraw)

    # -- filter and order --------------------------------------------------------------------------------------------

    def set_filter(self, wanted: Filter) -> None:
        """Show only jobs, dubs and columns that match the filter."""
        self.filter = wanted
        self._job_test, self._dub_test = wanted.job_test(), wanted.dub_test()
        self._pinned = None
        for row in self.rows.values():
            row.matched = self._matches(row.job)
        self.visible_rows = sorted((row for row in self.rows.values() if row.matched), key=_rank)
        self._update_columns()
        self._pending_redraw.layout = self._pending_redraw.everything = True

    def set_preferred_languages(self, languages: Iterable[str]) -> None:
        """Show these languages first, in this order; others follow in the order in which they were added."""
        self._preferred = tuple(languages)
        self._update_columns()

    def ordered_languages(self) -> list[str]:
        """All languages that have a dub, in the order of their columns."""
        places = {code: place for place, code in enumerate(self._preferred)}
        used = [code for code in self.languages if code not in self._empty]
        return sorted(used, key=lambda code: places.get(code, len(places)))

    def sort(self, order: str) -> None:
        """Put the rows in this order now; later changes do not move them."""
        key = SORT_KEYS[order]
        self.order = order
        ordered = sorted(self.rows.values(), key=lambda row: key(row.job))
        for rank, row in enumerate(ordered):
            row.rank = rank
        self._next_rank = len(ordered)
        self.visible_rows.sort(key=_rank)
        self._pending_redraw.layout = True

    def pin(self, job: str | None) -> None:
        """Keep this row, even if it stops matching, because the cursor is on it. Hide the last one if it no longer matches."""
        before, self._pinned = self._pinned, job
        row = self.rows.get(before) if before is not None and before != job else None
        if row is not None and not row.matched:
            self._hide_row(row)

    # -- lookup ------------------------------------------------------------------------------------------------------

    def row_index(self, job: str) -> int | None:
        """Index of a job among the shown rows; None if it is not shown."""
        row = self.rows.get(job)
        return None if row is None else self._visible_index(row)

    def dub(self, job: str, language: str) -> Dub | None:
        """A cell's dub, if it has one."""
        row = self.rows.get(job)
        return None if row is None else row.job.dubs.get(language)

    def dub_matches_filter(self, dub: Dub, language: str) -> bool:
        """Whether the cell itself matches the filter. Other cells of a shown row are faint, and marking the row skips them."""
        return self._dub_test is None or self._dub_test(language, dub)

    def matching_cells(self, job: str) -> list[tuple[str, str]]:
        """The cells of a row in shown columns that match the filter."""
        dubs = self.rows[job].job.dubs
        return [(job, code) for code in self.columns if code in dubs and self.dub_matches_filter(dubs[code], code)]

    def jobs(self) -> Iterator[Job]:
        """All jobs, in the order in which they were added."""
        return (row.job for row in self.rows.values())

    # -- marks -------------------------------------------------------------------------------------------------------

    def is_marked(self, job: str, language: str) -> bool:
        """Whether a cell is marked. The file column is, if all cells of the row that are shown and match are marked."""
        if language == FILE_COLUMN:
            bits = self._mark_bits(self.matching_cells(job)) if self.marks.columns_of(job) else 0
            return bool(bits) and self.marks.columns_of(job) & bits == bits
        return self.marks.is_marked(job, self._column[language])

    def toggle_mark(self, job: str, language: str) -> None:
        """Mark or unmark a cell; on the file column, all cells of the row that are shown and match."""
        cells = self.matching_cells(job) if language == FILE_COLUMN else [(job, language)]
        cells = [cell for cell in cells if cell[1] in self.rows[job].job.dubs]
        if cells:
            self.marks.toggle(job, self._mark_bits(cells))
            self._pending_redraw.cells.update([*cells, (job, FILE_COLUMN)])

    def toggle_column_marks(self, language: str) -> None:
        """Mark the shown cells of a column that match the filter, or unmark them if all of them are marked."""
        bit = 1 << self._column[language]
        rows = [
            row for row in self.visible_rows if (dub := row.job.dubs.get(language)) and self.dub_matches_filter(dub, language)
        ]
        everything = all(self.marks.columns_of(row.job.id) & bit for row in rows)
        for row in rows:
            old = self.marks.columns_of(row.job.id)
            self.marks.set_columns(row.job.id, old & ~bit if everything else old | bit)
        self._pending_redraw.everything = True

    def mark_all_visible(self) -> None:
        """Mark every shown cell that matches the filter."""
        plain = self._dub_test is None and len(self.columns) == len(self.languages)
        for row in self.visible_rows:
            job = row.job
            bits = self._mark_bits([(job.id, code) for code in job.dubs] if plain else self.matching_cells(job.id))
            self.marks.set_columns(job.id, self.marks.columns_of(job.id) | bits)
        self._pending_redraw.everything = True

    def clear_marks(self) -> None:
        """Remove all marks."""
        self.marks.clear()
        self._pending_redraw.everything = True

    def marked_cells(self) -> list[tuple[str, str]]:
        """The marked cells that exist, row by row."""
        found = [(job, self.languages[column]) for job, column in self.marks.cells()]
        return [(job, code) for job, code in found if self.dub(job, code) is not None]

    def _mark_bits(self, cells: Iterable[tuple[str, str]]) -> int:
        column = self._column
        bits = 0
        for _, code in cells:
            bits |= 1 << column[code]
        return bits

    # -- changes -----------------------------------------------------------------------------------------------------

    def _insert(self, job: Job) -> None:
        row = GridRow(job, self._next_rank)
        self._next_rank += 1
        self.rows[job.id] = row
        if self.display_names.add(job):
            self._pending_redraw.everything = True
        name = self.display_names.for_job(job)
        self.widest_name_cells = max(self.widest_name_cells, len(name) if name.isascii() else 2 * len(name))
        for language, dub in job.dubs.items():
            self._add_to_totals(language, dub, 1)
        row.matched = self._matches(job)
        if row.matched:
            self.visible_rows.append(row)
            self._pending_redraw.layout = True

    def _update_row(self, row: GridRow, job: Job) -> None:
        old, row.job = row.job, job
        for language, dub in job.dubs.items():
            before = old.dubs.get(language)
            if before == dub:
                continue
            self._update_totals(language, before, dub)
            self.finished_revision += before is not None and before.state is dub.state is DubState.DONE
            self._pending_redraw.cells.add((job.id, language))
        for language in old.dubs.keys() - job.dubs.keys():
            self._subtract_from_totals(language, old.dubs[language])
            self.marks.set_columns(job.id, self.marks.columns_of(job.id) & ~(1 << self._column[language]))
            self._pending_redraw.cells.add((job.id, language))
        if old.stage is not job.stage:
            self._pending_redraw.cells.add((job.id, FILE_COLUMN))
        self._update_match(row)

    def _remove(self, job: str) -> None:
        row = self.rows.pop(job)
        for language, dub in row.job.dubs.items():
            self._subtract_from_totals(language, dub)
        self.marks.set_columns(job, 0)
        self._hide_row(row)

    def _rebuild_display_names(self) -> None:
        """Compute all names again: a file needs no folder in its name once others of the same name are gone."""
        self.display_names = DisplayNames()
        for row in self.rows.values():
            self.display_names.add(row.job)
        self._pending_redraw.everything = True

    def _update_totals(self, language: str, before: Dub | None, dub: Dub) -> None:
        if before is not None and before.state is dub.state and (before.hold is None) == (dub.hold is None):
            return
        if before is not None:
            self._add_to_totals(language, before, -1)
        self._add_to_totals(language, dub, 1)
        if before is not None and dub.state is DubState.DONE:
            self.pace.record_finished(dub.since)

    def _add_to_totals(self, language: str, dub: Dub, by: int) -> None:
        totals = self.totals.get(language)
        if totals is None:
            totals = self._add_column(language)
        totals.add(dub, by)
        self.overall.add(dub, by)
        if language in self._empty and totals.dubs:
            self._empty.discard(language)
            self._update_columns()
        self.finished_revision += dub.state is DubState.DONE
        if by > 0 and dub.state is DubState.DONE:
            self.durations.add_if_done(dub)
        self._pending_redraw.languages.add(language)

    def _subtract_from_totals(self, language: str, dub: Dub) -> None:
        """Remove a dub from the counts, and the column of a language with its last dub."""
        self._add_to_totals(language, dub, -1)
        if not self.totals[language].dubs:
            self._empty.add(language)
            self._update_columns()

    def _add_column(self, language: str) -> DubTotals:
        self._column[language] = len(self.languages)
        self.languages.append(language)
        self.totals[language] = DubTotals()
        self._update_columns()
        return self.totals[language]

    def _update_columns(self) -> None:
        self.columns = self.filter.languages(self.ordered_languages())
        self._pending_redraw.layout = self._pending_redraw.everything = True

    def _replace_transfers(self, transfers: Iterable[Transfer]) -> None:
        new = {(transfer.job, transfer.language): transfer for transfer in transfers}
        self._pending_redraw.cells.update(self.transfers.keys() ^ new.keys())
        self._pending_redraw.cells.update(
            key for key, moved in new.items() if _percent(self.transfers.get(key)) != _percent(moved)
        )
        self.transfers = new

    # -- rows shown --------------------------------------------------------------------------------------------------

    def _matches(self, job: Job) -> bool:
        if self._job_test is not None and not self._job_test(job):
            return False
        test = self._dub_test
        if test is None:
            return True
        for language, dub in job.dubs.items():  # noqa: SIM110 - a generator for each of 10,000 jobs takes longer
            if test(language, dub):
                return True
        return False

    def _update_match(self, row: GridRow) -> None:
        if not self.filter.terms:
            return
        matched = self._matches(row.job)
        if matched and not row.matched:
            row.matched = True
            self._show_row(row)
        elif row.matched and not matched:
            row.matched = False
            if row.job.id != self._pinned:
                self._hide_row(row)

    def _visible_index(self, row: GridRow) -> int | None:
        place = bisect_left(self.visible_rows, row.rank, key=_rank)
        return place if place < len(self.visible_rows) and self.visible_rows[place] is row else None

    def _show_row(self, row: GridRow) -> None:
        if self._visible_index(row) is None:
            self.visible_rows.insert(bisect_left(self.visible_rows, row.rank, key=_rank), row)
            self._pending_redraw.layout = True

    def _hide_row(self, row: GridRow) -> None:
        place = self._visible_index(row)
        if place is not None:
            del self.visible_rows[place]
            self._pending_redraw.layout = True


def _percent(transfer: Transfer | None) -> int | None:
    return None if transfer is None else transfer_percent(transfer)


def transfer_percent(transfer: Transfer) -> int:
    """Whole percent that were transferred, rounded down; -1 if the size is unknown."""
    if transfer.total <= 0:
        return -1
    return min(100, transfer.done * 100 // transfer.total)
