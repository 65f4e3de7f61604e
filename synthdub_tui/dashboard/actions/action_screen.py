"""The base of all actions of the main screen: their targets, whether they are allowed, the question, and the request.

Questions open at once, in the key's own handler, so that keys typed ahead reach the question and not the grid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from textual.screen import Screen

from synthdub_tui.dashboard.grid_model import FILE_COLUMN
from synthdub_tui.dashboard.options import DashboardOptions
from synthdub_tui.dashboard.session import Session
from synthdub_tui.dashboard.ui_state import UiStateStore
from synthdub_tui.dashboard.widgets.grid import Grid
from synthdub_tui.dashboard.widgets.status_bar import StatusBar
from synthdub_tui.ipc.client import REPLY_TIMEOUT_SECONDS
from synthdub_tui.ipc.protocol import DubRef, Reply, Request
from synthdub_tui.jobs.model import Dub
from synthdub_tui.problems import Problem, explain
from synthdub_tui.text import make_printable

CellKey = tuple[str, str]


class ActionScreen(Screen[None]):
    """Actions on the marks or the cursor. A subclass lays out the screen and creates the grid.

    Widgets are attributes, not queried: a reply may come while the app ends, when a query no longer finds them.
    """

    grid: Grid

    def __init__(self, session: Session, ui_state: UiStateStore, options: DashboardOptions) -> None:
        super().__init__()
        self.session = session
        self.ui_state = ui_state
        self.options = options
        self.keymap = session.keymap
        self.status_bar = StatusBar(self.keymap, read_only=options.read_only)  # shows the result of each action

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
        """Show exactly what will be touched, and ask once. A yes calls `then`; a no shows `no_message` in the status line."""
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

    def on_worker_state_changed(self, event: Any) -> None:
        """Report an unexpected exception in an action; otherwise only Textual's log would show it."""
        if event.worker.error is not None and event.state.name == "ERROR":
            problem = explain("internal", f"{event.worker.name}: {event.worker.error!r}")
            self.status_bar.show_message(problem.one_line(), error=True)
            self.app.log.error(problem.one_line())


def to_dub_refs(cells: Iterable[CellKey]) -> tuple[DubRef, ...]:
    """Convert cells to the type that requests contain."""
    return tuple(DubRef(job, code) for job, code in cells)
