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
from synthdub_tui.jobs.eta import Durations, Pace
from synthdub_tui.jobs.filters import Filter
from synthdub_tui.jobs.model import OPEN, Dub, DubState, Job
from synthdub_tui.jobs.selection import Marks
from synthdub_tui.jobs.sorting import ORDERS

FILE: Final = ""
"""The file column, wherever a language is expected, as in `protocol.Transfer`."""

_STATES: Final = tuple(DubState)
_STATE_INDEX: Final = {state: place for place, state in enumerate(_STATES)}
_rank = attrgetter("rank")


class Totals:
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
        return sum(self[state] for state in OPEN) - self.held

    @property
    def trouble(self) -> int:
        """Dubs that need the user."""
        return self[DubState.FAILED] + self[DubState.UNKNOWN]


class Row:
    """A job in the grid. `rank` is its place in the order of all rows; `job` its latest version."""

    __slots__ = ("job", "matched", "rank")

    def __init__(self, job: Job, rank: int) -> None:
        self.job = job
        self.rank = rank
        self.matched = False


class Names:
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
        folders = self._folders.setdefault(name, {}) or {_in_folder(first): 1}
        folders[_in_folder(path)] = folders.get(_in_folder(path), 0) + 1
        self._folders[name] = folders
        return True

    def of(self, job: Job) -> str:
        """The shown name of a file; untrusted text."""
        name, path = job.name, job.source.path
        folders = self._folders.get(name)
        if folders is None:
            return name
        return path if folders.get(_in_folder(path), 0) > 1 else _in_folder(path)


def _in_folder(path: str) -> str:
    return "/".join(path.split("/")[-2:])


class Dirty:
    """What must be drawn again. `layout`: rows or columns may have come, gone or moved. `everything`: all that is visible."""

    __slots__ = ("cells", "everything", "languages", "layout")

    def __init__(self) -> None:
        self.cells: set[tuple[str, str]] = set()
        self.languages: set[str] = set()
        self.layout = False
        self.everything = False

    def __bool__(self) -> bool:
        return bool(self.layout or self.everything or self.cells or self.languages)


class Batch:
    """All jobs that the dashboard knows, and which of them are shown."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.shown: list[Row] = []
        self.languages: list[str] = []
        self.columns: list[str] = []
        self.totals: dict[str, Totals] = {}
        self.overall = Totals()
        self.transfers: dict[tuple[str, str], Transfer] = {}
        self.marks = Marks()
        self.pace = Pace()
        self.durations = Durations()
        self.filter = Filter()
        self.order = "added"
        self.names = Names()
        self.loaded = False
        self.finished = 0  # increases when a finished dub is added, removed or changed
        self.widest = 0
        self._column: dict[str, int] = {}
        self._empty: set[str] = set()  # languages whose last dub was removed
        self._preferred: tuple[str, ...] = ()
        self._job_test = self.filter.job_test()
        self._dub_test = self.filter.dub_test()
        self._pinned: str | None = None
        self._next_rank = 0
        self._unseen: set[str] | None = None
        self._dirty = Dirty()

    # -- messages of the runner --------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Begin a snapshot; `end` removes the jobs that it does not contain."""
        self._unseen = set(self.rows)
        self._replace_transfers(())

    def end(self) -> None:
        """End the snapshot: remove the jobs that it did not contain."""
        self.remove(self._unseen or ())
        self._unseen = None
        self.loaded = True
        if self.order != "added":
            self.sort(self.order)

    def put(self, jobs: Iterable[Job]) -> None:
        """Add new jobs, and new versions of known ones."""
        for job in jobs:
            if self._unseen is not None:
                self._unseen.discard(job.id)
            row = self.rows.get(job.id)
            if row is None:
                self._insert(job)
            else:
                self._change(row, job)

    def remove(self, jobs: Iterable[str]) -> None:
        """Remove jobs that are no longer part of the batch. Unknown ids are ignored."""
        known = [job for job in jobs if job in self.rows]
        for job in known:
            self._remove(job)
        if known:
            self._rename()

    def move(self, transfers: Iterable[Transfer]) -> None:
        """Replace the running transfers; a transfer that is not named has ended."""
        self._replace_transfers(transfers)

    def taken(self) -> Dirty:
        """The changes since the last call."""
        dirty, self._dirty = self._dirty, Dirty()
        return dirty

    @property
    def dirty(self) -> bool:
        """Whether anything changed since the last call of `taken`."""
        return bool(self._dirty)

    # -- filter and order --------------------------------------------------------------------------------------------

    def set_filter(self, wanted: Filter) -> None:
        """Show only jobs, dubs and columns that match the filter."""
        self.filter = wanted
        self._job_test, self._dub_test = wanted.job_test(), wanted.dub_test()
        self._pinned = None
        for row in self.rows.values():
            row.matched = self._matches(row.job)
        self.shown = sorted((row for row in self.rows.values() if row.matched), key=_rank)
        self._recolumn()
        self._dirty.layout = self._dirty.everything = True

    def prefer(self, languages: Iterable[str]) -> None:
        """Show these languages first, in this order; others follow in the order in which they were added."""
        self._preferred = tuple(languages)
        self._recolumn()

    def ordered_languages(self) -> list[str]:
        """All languages that have a dub, in the order of their columns."""
        places = {code: place for place, code in enumerate(self._preferred)}
        used = [code for code in self.languages if code not in self._empty]
        return sorted(used, key=lambda code: places.get(code, len(places)))

    def sort(self, order: str) -> None:
        """Put the rows in this order now; later changes do not move them."""
        key = ORDERS[order]
        self.order = order
        ordered = sorted(self.rows.values(), key=lambda row: key(row.job))
        for rank, row in enumerate(ordered):
            row.rank = rank
        self._next_rank = len(ordered)
        self.shown.sort(key=_rank)
        self._dirty.layout = True

    def pin(self, job: str | None) -> None:
        """Keep this row, even if it stops matching, because the cursor is on it. Hide the last one if it no longer matches."""
        before, self._pinned = self._pinned, job
        row = self.rows.get(before) if before is not None and before != job else None
        if row is not None and not row.matched:
            self._hide(row)

    # -- lookup ------------------------------------------------------------------------------------------------------

    def index(self, job: str) -> int | None:
        """Index of a job among the shown rows; None if it is not shown."""
        row = self.rows.get(job)
        return None if row is None else self._place(row)

    def dub(self, job: str, language: str) -> Dub | None:
        """A cell's dub, if it has one."""
        row = self.rows.get(job)
        return None if row is None else row.job.dubs.get(language)

    def applies(self, dub: Dub, language: str) -> bool:
        """Whether the cell itself matches the filter. Other cells of a shown row are faint, and marking the row skips them."""
        return self._dub_test is None or self._dub_test(language, dub)

    def cells_of(self, job: str) -> list[tuple[str, str]]:
        """The cells of a row in shown columns that match the filter."""
        dubs = self.rows[job].job.dubs
        return [(job, code) for code in self.columns if code in dubs and self.applies(dubs[code], code)]

    def jobs(self) -> Iterator[Job]:
        """All jobs, in the order in which they were added."""
        return (row.job for row in self.rows.values())

    # -- marks -------------------------------------------------------------------------------------------------------

    def marked(self, job: str, language: str) -> bool:
        """Whether a cell is marked. The file column is, if all cells of the row that are shown and match are marked."""
        if language == FILE:
            bits = self._bits(self.cells_of(job)) if self.marks.of(job) else 0
            return bool(bits) and self.marks.of(job) & bits == bits
        return self.marks.has(job, self._column[language])

    def toggle(self, job: str, language: str) -> None:
        """Mark or unmark a cell; on the file column, all cells of the row that are shown and match."""
        cells = self.cells_of(job) if language == FILE else [(job, language)]
        cells = [cell for cell in cells if cell[1] in self.rows[job].job.dubs]
        if cells:
            self.marks.toggle(job, self._bits(cells))
            self._dirty.cells.update([*cells, (job, FILE)])

    def toggle_column(self, language: str) -> None:
        """Mark the shown cells of a column that match the filter, or unmark them if all of them are marked."""
        bit = 1 << self._column[language]
        rows = [row for row in self.shown if (dub := row.job.dubs.get(language)) and self.applies(dub, language)]
        everything = all(self.marks.of(row.job.id) & bit for row in rows)
        for row in rows:
            old = self.marks.of(row.job.id)
            self.marks.set(row.job.id, old & ~bit if everything else old | bit)
        self._dirty.everything = True

    def mark_shown(self) -> None:
        """Mark every shown cell that matches the filter."""
        plain = self._dub_test is None and len(self.columns) == len(self.languages)
        for row in self.shown:
            job = row.job
            bits = self._bits([(job.id, code) for code in job.dubs] if plain else self.cells_of(job.id))
            self.marks.set(job.id, self.marks.of(job.id) | bits)
        self._dirty.everything = True

    def unmark(self) -> None:
        """Remove all marks."""
        self.marks.clear()
        self._dirty.everything = True

    def marked_cells(self) -> list[tuple[str, str]]:
        """The marked cells that exist, row by row."""
        found = [(job, self.languages[column]) for job, column in self.marks.cells()]
        return [(job, code) for job, code in found if self.dub(job, code) is not None]

    def _bits(self, cells: Iterable[tuple[str, str]]) -> int:
        column = self._column
        bits = 0
        for _, code in cells:
            bits |= 1 << column[code]
        return bits

    # -- changes -----------------------------------------------------------------------------------------------------

    def _insert(self, job: Job) -> None:
        row = Row(job, self._next_rank)
        self._next_rank += 1
        self.rows[job.id] = row
        if self.names.add(job):
            self._dirty.everything = True
        name = self.names.of(job)
        self.widest = max(self.widest, len(name) if name.isascii() else 2 * len(name))
        for language, dub in job.dubs.items():
            self._count(language, dub, 1)
        row.matched = self._matches(job)
        if row.matched:
            self.shown.append(row)
            self._dirty.layout = True

    def _change(self, row: Row, job: Job) -> None:
        old, row.job = row.job, job
        for language, dub in job.dubs.items():
            before = old.dubs.get(language)
            if before == dub:
                continue
            self._recount(language, before, dub)
            self.finished += before is not None and before.state is dub.state is DubState.DONE
            self._dirty.cells.add((job.id, language))
        for language in old.dubs.keys() - job.dubs.keys():
            self._uncount(language, old.dubs[language])
            self.marks.set(job.id, self.marks.of(job.id) & ~(1 << self._column[language]))
            self._dirty.cells.add((job.id, language))
        if old.stage is not job.stage:
            self._dirty.cells.add((job.id, FILE))
        self._rematch(row)

    def _remove(self, job: str) -> None:
        row = self.rows.pop(job)
        for language, dub in row.job.dubs.items():
            self._uncount(language, dub)
        self.marks.set(job, 0)
        self._hide(row)

    def _rename(self) -> None:
        """Compute all names again: a file needs no folder in its name once others of the same name are gone."""
        self.names = Names()
        for row in self.rows.values():
            self.names.add(row.job)
        self._dirty.everything = True

    def _recount(self, language: str, before: Dub | None, dub: Dub) -> None:
        if before is not None and before.state is dub.state and (before.hold is None) == (dub.hold is None):
            return
        if before is not None:
            self._count(language, before, -1)
        self._count(language, dub, 1)
        if before is not None and dub.state is DubState.DONE:
            self.pace.finished(dub.since)

    def _count(self, language: str, dub: Dub, by: int) -> None:
        totals = self.totals.get(language)
        if totals is None:
            totals = self._add_column(language)
        totals.add(dub, by)
        self.overall.add(dub, by)
        if language in self._empty and totals.dubs:
            self._empty.discard(language)
            self._recolumn()
        self.finished += dub.state is DubState.DONE
        if by > 0 and dub.state is DubState.DONE:
            self.durations.learn(dub)
        self._dirty.languages.add(language)

    def _uncount(self, language: str, dub: Dub) -> None:
        """Remove a dub from the counts, and the column of a language with its last dub."""
        self._count(language, dub, -1)
        if not self.totals[language].dubs:
            self._empty.add(language)
            self._recolumn()

    def _add_column(self, language: str) -> Totals:
        self._column[language] = len(self.languages)
        self.languages.append(language)
        self.totals[language] = Totals()
        self._recolumn()
        return self.totals[language]

    def _recolumn(self) -> None:
        self.columns = self.filter.languages(self.ordered_languages())
        self._dirty.layout = self._dirty.everything = True

    def _replace_transfers(self, transfers: Iterable[Transfer]) -> None:
        new = {(transfer.job, transfer.language): transfer for transfer in transfers}
        self._dirty.cells.update(self.transfers.keys() ^ new.keys())
        self._dirty.cells.update(key for key, moved in new.items() if _percent(self.transfers.get(key)) != _percent(moved))
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

    def _rematch(self, row: Row) -> None:
        if not self.filter.terms:
            return
        matched = self._matches(row.job)
        if matched and not row.matched:
            row.matched = True
            self._show(row)
        elif row.matched and not matched:
            row.matched = False
            if row.job.id != self._pinned:
                self._hide(row)

    def _place(self, row: Row) -> int | None:
        place = bisect_left(self.shown, row.rank, key=_rank)
        return place if place < len(self.shown) and self.shown[place] is row else None

    def _show(self, row: Row) -> None:
        if self._place(row) is None:
            self.shown.insert(bisect_left(self.shown, row.rank, key=_rank), row)
            self._dirty.layout = True

    def _hide(self, row: Row) -> None:
        place = self._place(row)
        if place is not None:
            del self.shown[place]
            self._dirty.layout = True


def _percent(transfer: Transfer | None) -> int | None:
    return None if transfer is None else percent(transfer)


def percent(transfer: Transfer) -> int:
    """Whole percent that were transferred, rounded down; -1 if the size is unknown."""
    if transfer.total <= 0:
        return -1
    return min(100, transfer.done * 100 // transfer.total)
