"""What all actions of the main screen share: their targets, whether they are allowed, the question, and the request.

Questions open at once, in the key's own handler, so that keys that are typed ahead meet them and not the grid.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from textual.app import App
from textual.screen import Screen
from textual.worker import Worker

from synthdub_tui.dashboard.grid_model import FILE_COLUMN
from synthdub_tui.dashboard.options import DashboardOptions
from synthdub_tui.dashboard.session import Session
from synthdub_tui.dashboard.ui_state import UiStateStore
from synthdub_tui.dashboard.widgets.grid import Grid
from synthdub_tui.dashboard.widgets.status_bar import StatusBar
from synthdub_tui.humanize import format_count
from synthdub_tui.ipc.client import REPLY_TIMEOUT_SECONDS
from synthdub_tui.ipc.protocol import DubRef, Reply, Request, ShownDub
from synthdub_tui.jobs.model import Dub, Job
from synthdub_tui.jobs.retry_policy import dub_fingerprint
from synthdub_tui.problems import Problem, explain
from synthdub_tui.text import make_printable

CellKey = tuple[str, str]


class ActionContext:
    """What all actions work with: the session, the cells that they are about, the status line, questions and requests.

    Widgets are attributes, not queried: a reply may come while the app ends, when a query no longer finds them.
    """

    def __init__(
        self,
        screen: Screen[None],
        grid: Grid,
        status_bar: StatusBar,
        session: Session,
        ui_state: UiStateStore,
        options: DashboardOptions,
    ) -> None:
        self.screen = screen
        self.grid = grid
        self.status_bar = status_bar  # shows the result of each action
        self.session = session
        self.ui_state = ui_state
        self.options = options
        self.keymap = session.keymap

    @property
    def app(self) -> App[Any]:
        return self.screen.app

    def start(self, work: Coroutine[Any, Any, None], name: str) -> Worker[None]:
        """Do the rest of an action beside the screen. The screen reports an unexpected exception, with this name."""
        return self.screen.run_worker(work, name=name, exit_on_error=False)

    # -- targets -----------------------------------------------------------------------------------------------------

    def target_cells(self) -> list[CellKey]:
        """The marked cells; without marks the cell under the cursor, or on the file column all dubs of the job."""
        batch, cursor = self.session.batch, self.grid.cursor
        if batch.marks:
            return batch.marked_cells()
        if cursor is None:
            return []
        if cursor.language == FILE_COLUMN:
            return [(cursor.job, code) for code in batch.rows[cursor.job].job.dubs]
        return [cursor] if batch.dub(*cursor) is not None else []

    def dubs_in(self, cells: Iterable[CellKey]) -> list[tuple[CellKey, Dub]]:
        """The cells with their dubs; cells without a dub are skipped."""
        found = ((cell, self.session.batch.dub(*cell)) for cell in cells)
        return [(cell, dub) for cell, dub in found if dub is not None]

    def describe_cells(self, cells: Iterable[CellKey]) -> list[str]:
        """One line for each file, with its languages: exactly what an action will touch."""
        by_job: dict[str, list[str]] = {}
        for job, code in cells:
            by_job.setdefault(job, []).append(code)
        rows, names = self.session.batch.rows, self.session.batch.display_names
        known = [(names.for_job(rows[job].job), codes) for job, codes in by_job.items() if job in rows]
        return [f"{make_printable(name, 4096)}: {', '.join(codes)}" for name, codes in known]

    def to_shown_dubs(
        self, cells: list[CellKey], state_mark: Callable[[Job, str], str] = dub_fingerprint
    ) -> tuple[ShownDub, ...]:
        """The cells, each with the mark of its present state; cells without a dub are skipped."""
        rows = self.session.batch.rows
        return tuple(
            ShownDub(job, code, state_mark(rows[job].job, code)) for job, code in (cell for cell, _ in self.dubs_in(cells))
        )

    def check_may_act(self) -> bool:
        """Whether anything may be changed now. If not, the status line says why."""
        if self.options.read_only:
            self.status_bar.show_message("This dashboard is read-only. Start synthdub without --read-only to act.", error=True)
        elif not self.session.is_attached:
            self.status_bar.show_message(
                f"There is no runner to do it. {self.keymap.key_label('start_runner')} starts one.", error=True
            )
        else:
            return True
        return False

    # -- asking and sending ------------------------------------------------------------------------------------------

    def ask_to_confirm(
        self, title: str, lines: list[str], on_yes: Callable[[], object], *, danger: bool, yes: str, no_message: str
    ) -> None:
        """Show exactly what will be touched, and ask once. A yes calls `on_yes`; a no shows `no_message` in the status line."""
        from synthdub_tui.dashboard.screens.confirm import ConfirmScreen  # noqa: PLC0415 - not for the first frame

        def answered(answer: bool | None) -> None:
            if answer:
                on_yes()
            else:
                self.status_bar.show_message(no_message)

        self.app.push_screen(ConfirmScreen(title, lines, danger=danger, confirm_label=yes), answered)

    async def send(self, request: Request, timeout: float | None = REPLY_TIMEOUT_SECONDS) -> Reply | None:  # noqa: ASYNC109
        """Send and wait at most `timeout` seconds (None: no limit). Shows a failure with its remedy, and returns None."""
        reply = await self.session.link.ask(request, timeout)
        return None if self.report_if_failed(reply) else reply

    def report_if_failed(self, reply: Reply) -> bool:
        """Whether a request failed. If so, shows the problem and its remedy."""
        if reply.code:
            problem = explain(reply.code, reply.detail)
            self.status_bar.show_message(f"{problem.title}. {problem.remedy}", error=True)
            self.notify_problem(problem)
        return bool(reply.code)

    def notify_problem(self, problem: Problem) -> None:
        """Show what went wrong, why, and what to do, in a notification above the status line."""
        words = f"{problem.cause} {problem.remedy}"
        if problem.detail:
            words = f"({make_printable(problem.detail)}) {words}"
        self.app.notify(words, title=problem.title, severity="error", timeout=12, markup=False)


def to_dub_refs(cells: Iterable[CellKey]) -> tuple[DubRef, ...]:
    """Convert cells to the type that requests contain."""
    return tuple(DubRef(job, code) for job, code in cells)


def changed_text(number: int) -> str:
    """A sentence about dubs that were skipped because they changed since the question; empty for 0."""
    return f" {format_count(number, 'dub')} left alone: changed since you were asked." if number else ""
