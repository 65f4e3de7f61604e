"""The grid's model: counts, rows and marks stay right under any changes, and a change costs what it changes."""

from __future__ import annotations

import time

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace

from synthdub_tui.dashboard.grid_model import FILE_COLUMN, GridModel
from synthdub_tui.ipc.protocol import Transfer
from synthdub_tui.jobs.filters import parse_filter
from synthdub_tui.jobs.model import OPEN_STATES, DubState
from synthdub_tui.jobs.sorting import SORT_KEYS
from tests.dashboard.fake_runner import TWENTY_LANGUAGES, make_dub, make_job

states = st.sampled_from(list(DubState))
codes = st.lists(st.sampled_from(TWENTY_LANGUAGES[:5]), unique=True, max_size=4)
filters = st.sampled_from(["", "state:failed", "lang:fr", "state:trouble lang:es,fr", "name:1", "-state:open", "stage:queued"])


class GridModelMachine(RuleBasedStateMachine):
    """Puts, removes, filters, sorts and marks in any order, against what is told anew from the jobs."""

    @initialize()
    def open(self) -> None:
        self.batch = GridModel()
        self.pinned: str | None = None

    @rule(number=st.integers(0, 9), languages=codes, state=states)
    def put(self, number: int, languages: list[str], state: DubState) -> None:
        self.batch.update_jobs([make_job(number, languages, state)])

    @rule(number=st.integers(0, 9), language=st.sampled_from(TWENTY_LANGUAGES[:5]), state=states)
    def change(self, number: int, language: str, state: DubState) -> None:
        row = self.batch.rows.get(make_job(number, []).id)
        if row is not None:
            self.batch.update_jobs([replace(row.job, dubs=row.job.dubs | {language: make_dub(state, time.time())})])

    @rule(keep=st.sets(st.integers(0, 9)))
    def snapshot(self, keep: set[int]) -> None:
        self.batch.begin_snapshot()
        self.batch.update_jobs(make_job(number, TWENTY_LANGUAGES[:2]) for number in sorted(keep))
        self.batch.end_snapshot()

    @rule(numbers=st.sets(st.integers(0, 9)))
    def remove(self, numbers: set[int]) -> None:
        self.batch.remove_jobs([make_job(number, []).id for number in sorted(numbers)])

    @rule(number=st.integers(0, 9), language=st.sampled_from(TWENTY_LANGUAGES[:5]))
    def lose_a_language(self, number: int, language: str) -> None:
        row = self.batch.rows.get(make_job(number, []).id)
        if row is not None:
            dubs = {code: dub for code, dub in row.job.dubs.items() if code != language}
            self.batch.update_jobs([replace(row.job, dubs=dubs)])

    @rule(text=filters)
    def filter(self, text: str) -> None:
        self.batch.set_filter(parse_filter(text))
        self.pinned = None

    @rule(order=st.sampled_from(list(SORT_KEYS)))
    def sort(self, order: str) -> None:
        self.batch.sort(order)
        keys = [SORT_KEYS[order](row.job) for row in self.batch.visible_rows]
        assert keys == sorted(keys)

    @rule(languages=codes)
    def prefer(self, languages: list[str]) -> None:
        self.batch.set_preferred_languages(languages)
        used = [code for code in self.batch.languages if self.batch.totals[code].dubs]
        first = [code for code in languages if code in used]
        rest = [code for code in used if code not in languages]
        assert self.batch.ordered_languages() == first + rest

    @rule(place=st.integers(0, 9))
    def pin(self, place: int) -> None:
        if self.batch.visible_rows:
            self.pinned = self.batch.visible_rows[place % len(self.batch.visible_rows)].job.id
            self.batch.pin(self.pinned)

    @rule(place=st.integers(0, 9), language=st.sampled_from([FILE_COLUMN, *TWENTY_LANGUAGES[:5]]))
    def mark(self, place: int, language: str) -> None:
        if self.batch.visible_rows and language in (FILE_COLUMN, *self.batch.languages):
            self.batch.toggle_mark(self.batch.visible_rows[place % len(self.batch.visible_rows)].job.id, language)

    @rule(which=st.sampled_from(["shown", "none", "column"]))
    def mark_many(self, which: str) -> None:
        if which == "shown":
            self.batch.mark_all_visible()
            applying = [cell for row in self.batch.visible_rows for cell in self.batch.matching_cells(row.job.id)]
            assert all(self.batch.is_marked(*cell) for cell in applying)
        elif which == "none":
            self.batch.clear_marks()
            assert not self.batch.marked_cells()
        elif self.batch.columns:
            self.batch.toggle_column_marks(self.batch.columns[0])

    @invariant()
    def counts_are_right(self) -> None:
        dubs = [(code, dub) for job in self.batch.jobs() for code, dub in job.dubs.items()]
        for state in DubState:
            assert self.batch.overall[state] == sum(1 for _, dub in dubs if dub.state is state)
        assert self.batch.overall.dubs == len(dubs)
        assert self.batch.overall.open == sum(1 for _, dub in dubs if dub.state in OPEN_STATES)
        for code, totals in self.batch.totals.items():
            assert totals.dubs == sum(1 for other, _ in dubs if other == code)

    @invariant()
    def rows_are_right(self) -> None:
        batch, wanted = self.batch, self.batch.filter
        plain = all(term.key in ("name", "path", "stage") for term in wanted.terms)
        matching = set()
        for job in batch.jobs():
            test = wanted.job_test()
            found = any(wanted.matches(job, code) for code in job.dubs) or (plain and (test is None or test(job)))
            if found:
                matching.add(job.id)
        shown = [row.job.id for row in batch.visible_rows]
        assert len(shown) == len(set(shown))
        assert matching <= set(shown) <= matching | {self.pinned}
        ranks = [row.rank for row in batch.visible_rows]
        assert ranks == sorted(ranks)
        assert all(batch.row_index(job) == place for place, job in enumerate(shown))
        assert batch.columns == wanted.languages(batch.ordered_languages())

    @invariant()
    def marks_are_counted(self) -> None:
        assert self.batch.marks.count >= len(self.batch.marked_cells())


TestAnyChanges = GridModelMachine.TestCase
TestAnyChanges.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def filled_grid(count: int, languages: int = 20) -> GridModel:
    batch = GridModel()
    batch.begin_snapshot()
    batch.update_jobs(make_job(number, TWENTY_LANGUAGES[:languages], DubState.DUBBING) for number in range(count))
    batch.end_snapshot()
    batch.take_pending_redraw()
    return batch


def test_a_change_names_the_cell_and_the_column() -> None:
    batch = filled_grid(3, 3)
    job = next(batch.jobs())
    batch.update_jobs([replace(job, dubs=job.dubs | {"es-ES": make_dub(DubState.READY, time.time())})])
    dirty = batch.take_pending_redraw()
    assert dirty.cells == {(job.id, "es-ES")}
    assert dirty.languages == {"es-ES"}
    assert not dirty.layout and not dirty.everything
    assert not batch.needs_redraw


def test_the_same_again_is_no_change() -> None:
    batch = filled_grid(3, 3)
    batch.update_jobs([next(batch.jobs())])
    assert not batch.needs_redraw


def test_transfers_are_dirty_where_their_percent_changes_and_when_they_end() -> None:
    batch = filled_grid(2, 2)
    batch.update_transfers([Transfer("a", "fr", 100, 1000, 1.0), Transfer("a", FILE_COLUMN, 5, 0, 1.0)])
    assert batch.take_pending_redraw().cells == {("a", "fr"), ("a", FILE_COLUMN)}
    batch.update_transfers([Transfer("a", "fr", 101, 1000, 2.0), Transfer("a", FILE_COLUMN, 50, 0, 1.0)])
    assert not batch.take_pending_redraw().cells
    batch.update_transfers([Transfer("a", "fr", 110, 1000, 2.0)])
    assert batch.take_pending_redraw().cells == {("a", "fr"), ("a", FILE_COLUMN)}
    batch.update_transfers([])
    assert batch.take_pending_redraw().cells == {("a", "fr")}


def test_a_row_under_the_cursor_stays_until_the_cursor_leaves() -> None:
    batch = filled_grid(3, 2)
    batch.set_filter(parse_filter("state:dubbing"))
    job = batch.visible_rows[1].job
    batch.pin(job.id)
    batch.update_jobs([make_job(1, TWENTY_LANGUAGES[:2], DubState.DONE)])
    assert [row.job.id for row in batch.visible_rows][1] == job.id
    batch.pin(batch.visible_rows[0].job.id)
    assert len(batch.visible_rows) == 2


def test_marks_with_a_filter_take_what_it_shows() -> None:
    batch = filled_grid(4, 3)
    batch.update_jobs([make_job(1, TWENTY_LANGUAGES[:3], DubState.FAILED)])
    batch.set_filter(parse_filter("state:failed lang:fr,es"))
    batch.mark_all_visible()
    job = make_job(1, []).id
    assert set(batch.marked_cells()) == {(job, "fr-FR"), (job, "es-ES")}


def test_ten_thousand_files_cost_as_much_as_ten() -> None:
    small, large = filled_grid(10), filled_grid(3000)
    times = []
    for batch in (small, large):
        jobs = list(batch.jobs())[:10]
        changed = [replace(job, dubs=dict.fromkeys(job.dubs, make_dub(DubState.READY, 1.0))) for job in jobs]
        best = 9.0
        for _ in range(5):
            begun = time.thread_time()
            for _ in range(5):
                batch.update_jobs(changed)
                batch.update_jobs(jobs)
                batch.take_pending_redraw()
            best = min(best, time.thread_time() - begun)
        times.append(best)
    assert times[1] < 4 * times[0]
