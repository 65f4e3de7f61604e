"""What the user does to the batch: retry, cancel, add, pause, review. Answers at once, asks before it costs, then sends.

The base of the main screen; everything here ends in a request to the runner, and its failure in a message that says what
to do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

from msgspec.structs import replace
from textual import work
from textual.screen import Screen

from synthdub_tui import languages
from synthdub_tui.dashboard import clipboard
from synthdub_tui.dashboard.batch import FILE
from synthdub_tui.dashboard.detail import RUNGS, decision
from synthdub_tui.dashboard.grid import Grid
from synthdub_tui.dashboard.link import REPLY_TIMEOUT, LinkState
from synthdub_tui.dashboard.memory import Memory
from synthdub_tui.dashboard.options import Options
from synthdub_tui.dashboard.screens.words import many
from synthdub_tui.dashboard.session import Session
from synthdub_tui.dashboard.statusline import StatusLine
from synthdub_tui.jobs import changes
from synthdub_tui.jobs.model import OPEN, PAID, Dub, DubState
from synthdub_tui.problems import explain, printable
from synthdub_tui.runner.protocol import (
    Add,
    AddLanguages,
    Cancel,
    Cell,
    Pause,
    Reply,
    Request,
    Resume,
    Retry,
    Review,
)

UNDO: Final = 5.0
"""Seconds in which a cancel can be taken back, before anything is sent."""

CellKey = tuple[str, str]


class Sorted(NamedTuple):
    """Cells by what a retry of them means."""

    free: list[CellKey]
    paid: list[CellKey]
    ask: list[CellKey]  # a decision for this very dub


class Deeds(Screen[None]):
    """Actions on marks or cursor. The subclass lays out the screen and holds the grid."""

    grid: Grid

    def __init__(self, session: Session, memory: Memory, options: Options) -> None:
        super().__init__()
        self.session = session
        self.memory = memory
        self.options = options
        self._cancelling: list[CellKey] = []
        self._cancel_timer: asyncio.TimerHandle | None = None
        self._added_paths = False

    @property
    def status(self) -> StatusLine:
        """Where actions are answered."""
        return self.query_one(StatusLine)

    # -- targets -----------------------------------------------------------------------------------------------------

    def targets(self) -> list[CellKey]:
        """The marked cells; without marks the cell under the cursor, or on the file column all dubs of the job."""
        batch, cursor = self.session.batch, self.grid.cursor
        if batch.marks:
            return batch.marked_cells()
        if cursor is None:
            return []
        if cursor.language == FILE:
            return [(cursor.job, code) for code in batch.rows[cursor.job].job.dubs]
        return [cursor] if batch.dub(*cursor) is not None else []

    def _dubs(self, cells: Iterable[CellKey]) -> list[tuple[CellKey, Dub]]:
        found = ((cell, self.session.batch.dub(*cell)) for cell in cells)
        return [(cell, dub) for cell, dub in found if dub is not None]

    def _lines(self, cells: Iterable[CellKey], after: str = "") -> list[str]:
        """One line for each file, with its languages: exactly what an action will touch."""
        by_job: dict[str, list[str]] = {}
        for job, code in cells:
            by_job.setdefault(job, []).append(code)
        rows = self.session.batch.rows
        return [f"{printable(rows[job].job.name)}: {', '.join(codes)}{after}" for job, codes in by_job.items() if job in rows]

    def allowed(self) -> bool:
        """Whether anything may be changed now; says why not."""
        if self.options.read_only:
            self.status.say("This dashboard is read-only. Start synthdub without --read-only to act.", error=True)
        elif not self.session.attached:
            self.status.say("There is no runner to do it. S starts one.", error=True)
        else:
            return True
        return False

    # -- sending -----------------------------------------------------------------------------------------------------

    async def send(self, request: Request, patience: float | None = REPLY_TIMEOUT) -> Reply | None:
        """Send and wait; a failure becomes a message that says what to do, and None."""
        reply = await self.session.link.ask(request, patience)
        if not reply.code:
            return reply
        problem = explain(reply.code, reply.detail)
        self.status.say(f"{problem.title}. {problem.remedy}", error=True)
        words = f"{problem.cause} {problem.remedy}"
        if problem.detail:
            words = f"({printable(problem.detail)}) {words}"
        self.app.notify(words, title=problem.title, severity="error", timeout=12, markup=False)
        return None

    async def ask(self, title: str, lines: list[str], *, danger: bool, yes: str) -> bool:
        """Show exactly what will be touched, and ask once."""
        from synthdub_tui.dashboard.screens.confirm import ConfirmScreen  # noqa: PLC0415 - not for the first frame

        return await self.app.push_screen_wait(ConfirmScreen(title, lines, danger=danger, confirm_label=yes))

    # -- retry -------------------------------------------------------------------------------------------------------

    @work(exit_on_error=False, name="retry")
    async def action_retry(self) -> None:
        """Retry the targets: what is free at once, what costs after a question, what needs a decision one by one."""
        if not self.allowed():
            return
        dubs = self._dubs(self.targets())
        found = _sorted(dubs)
        if len(dubs) == 1 and dubs[0][1].state is DubState.DONE:
            await self._fetch_again(dubs[0][0])
        elif len(found.ask) == 1 and not found.free and not found.paid:
            await self._retry_decided(found.ask[0])
        elif not found.free and not found.paid:
            self.status.say(f"Nothing to retry at once.{_left_out(found)}" if found.ask else _nothing_to_retry(dubs))
        else:
            await self._retry(found)

    @work(exit_on_error=False, name="retry failed")
    async def action_retry_failed(self) -> None:
        """Retry every failed dub of the batch, but none that moderation refused and none whose outcome is unknown."""
        if not self.allowed():
            return
        batch = self.session.batch
        cells = [(job.id, code) for job in batch.jobs() for code in job.in_state(DubState.FAILED)]
        found = _sorted(self._dubs(cells))
        if not found.free and not found.paid:
            self.status.say(f"Nothing to retry in bulk.{_left_out(found)}")
            return
        await self._retry(found, always_ask=True)

    async def _retry(self, found: Sorted, *, always_ask: bool = False) -> None:
        if found.paid or always_ask:
            lines = [f"{_cost(found.paid)} credits again:", *self._rung_lines(found.paid)] if found.paid else []
            lines += [f"{_cost(found.free)} nothing:", *self._rung_lines(found.free)] if found.free else []
            title = f"Retry {many(len(found.paid) + len(found.free), 'dub')}?"
            if not await self.ask(title, [*lines, *_note(found)], danger=bool(found.paid), yes="Retry"):
                self.status.say("Nothing was retried.")
                return
        self.status.say(f"Retrying {many(len(found.paid) + len(found.free), 'dub')}…{_left_out(found)}")
        counts = 0
        for cells, paid in ((found.free, False), (found.paid, True)):
            if cells:
                reply = await self.send(Retry(cells=_cells(cells), paid=paid))
                if reply is None:
                    return
                counts += int(reply.result.get("retried", len(cells)))
        self.status.say(f"{many(counts, 'dub')} retried.{_left_out(found)}")

    async def _retry_decided(self, cell: CellKey) -> None:
        dub = self.session.batch.dub(*cell)
        assert dub is not None
        code = dub.failure.code if dub.failure is not None else "submission_unknown"
        problem = explain(code, dub.failure.detail if dub.failure is not None else "")
        rung = changes.rung(dub)
        lines = [*self._lines([cell]), problem.title + ".", problem.cause, problem.remedy]
        lines += [f"Retrying it {RUNGS[rung]}." if rung is not None else ""]
        if not await self.ask("Retry it all the same?", lines, danger=True, yes="Retry"):
            self.status.say("Nothing was retried.")
            return
        self.status.say("Retrying it…")
        if await self.send(Retry(cells=_cells([cell]), paid=True)) is not None:
            self.status.say("Retried.")

    async def _fetch_again(self, cell: CellKey) -> None:
        self.status.say("Looking whether its file is still there…")
        reply = await self.send(Retry(cells=_cells([cell])))
        if reply is not None:
            again = reply.result.get("retried", 0)
            self.status.say("Its file is gone: fetching it again, free." if again else "It is done, and its file is there.")

    def _rung_lines(self, cells: list[CellKey]) -> list[str]:
        groups: dict[str, list[CellKey]] = {}
        for cell, dub in self._dubs(cells):
            rung = changes.rung(dub)
            words = RUNGS[rung].partition(",")[0] if rung is not None else ""  # the heading says what it costs
            groups.setdefault(words, []).append(cell)
        return [line for words, group in groups.items() for line in (f"— {words}", *(f"  {x}" for x in self._lines(group)))]

    # -- cancel ------------------------------------------------------------------------------------------------------

    @work(exit_on_error=False, name="cancel")
    async def action_cancel(self) -> None:
        """Give the targets up, after a question and some seconds to take it back."""
        if not self.allowed():
            return
        self.send_cancel()
        stoppable = OPEN | {DubState.UNKNOWN}
        cells = [cell for cell, dub in self._dubs(self.targets()) if dub.state in stoppable]
        if not cells:
            self.status.say("Nothing here to cancel: only what is under way or undecided can be.")
            return
        lines = [*self._lines(cells), "What the service already works on may still be billed."]
        if not await self.ask(f"Cancel {many(len(cells), 'dub')}?", lines, danger=True, yes="Cancel them"):
            self.status.say("Nothing was cancelled.")
            return
        self._cancelling = cells
        self._cancel_timer = asyncio.get_running_loop().call_later(UNDO, self.send_cancel)
        self.status.say(f"{many(len(cells), 'dub')} will be cancelled in {UNDO:.0f} s. U takes it back.", keep=UNDO)

    def action_undo(self) -> None:
        """Take the last cancel back, if it was not sent yet."""
        if not self._cancelling:
            self.status.say("There is nothing to take back.")
            return
        count = len(self._cancelling)
        self._forget_cancel()
        self.status.say(f"Taken back: {many(count, 'dub')} go on.")

    def send_cancel(self) -> None:
        """Send a cancel that waits to be taken back; also done when something else follows it."""
        cells = self._cancelling
        if cells:
            self._forget_cancel()
            self._cancel(cells)

    @work(exit_on_error=False, name="send cancel")
    async def _cancel(self, cells: list[CellKey]) -> None:
        self.status.say(f"Cancelling {many(len(cells), 'dub')}…")
        reply = await self.send(Cancel(cells=_cells(cells)))
        if reply is not None:
            self.status.say(f"{many(int(reply.result.get('cancelled', len(cells))), 'dub')} cancelled.")

    def _forget_cancel(self) -> None:
        self._cancelling = []
        if self._cancel_timer is not None:
            self._cancel_timer.cancel()
            self._cancel_timer = None

    # -- add ---------------------------------------------------------------------------------------------------------

    @work(exit_on_error=False, name="add files")
    async def action_add_files(self) -> None:
        """Choose files and folders, then languages where none are set, and add them."""
        if not self.allowed():
            return
        from synthdub_tui.dashboard.screens.add_files import AddFilesScreen  # noqa: PLC0415

        chosen = await self.app.push_screen_wait(AddFilesScreen(self._start_folder()))
        if not chosen:
            return
        targets = list(self.options.batch.targets) or await self._languages(set(), "Dub into")
        if not targets:
            self.status.say("Nothing was added: no languages were chosen.")
            return
        lines = [*(printable(path, 4096) for path in chosen), "Into: " + ", ".join(map(_named, targets))]
        lines.append("Every dub spends credits.")
        if await self.ask("Add these and dub them?", lines, danger=False, yes="Add"):
            await self._add(tuple(chosen), tuple(targets))

    async def _add(self, paths: tuple[str, ...], targets: tuple[str, ...]) -> None:
        self.status.say(f"Adding {many(len(paths), 'path')}…", keep=3600)
        reply = await self.send(Add(paths=paths, batch=replace(self.options.batch, targets=targets)), patience=None)
        if reply is not None:
            said = ", ".join(f"{value} {name.replace('_', ' ')}" for name, value in reply.result.items() if value)
            self.status.say(f"Added: {printable(said) or 'nothing new'}.", error=False)

    @work(exit_on_error=False, name="add languages")
    async def action_add_languages(self) -> None:
        """Choose languages and add them to the targets' files."""
        if not self.allowed():
            return
        rows = self.session.batch.rows
        cursor = self.grid.cursor
        wanted = [job for job, _ in self.targets()] or ([cursor.job] if cursor is not None else [])
        jobs = [job for job in dict.fromkeys(wanted) if job in rows]
        if not jobs:
            self.status.say("There is no file to add languages to. a adds files.")
            return
        have = set.intersection(*(set(rows[job].job.dubs) for job in jobs))
        chosen = await self._languages(have, f"Add languages to {many(len(jobs), 'file')}")
        if not chosen:
            return
        new = [(job, code) for job in jobs if job in rows for code in chosen if code not in rows[job].job.dubs]
        lines = [*self._lines(new), f"{many(len(new), 'dub')}, each spends credits."]
        if not await self.ask(f"Add {', '.join(chosen)}?", lines, danger=False, yes="Add"):
            self.status.say("Nothing was added.")
            return
        self.status.say(f"Adding {many(len(new), 'dub')}…")
        if await self.send(AddLanguages(jobs=tuple(jobs), languages=tuple(chosen))) is not None:
            self.status.say(f"{many(len(new), 'dub')} added.")

    async def _languages(self, have: set[str], title: str) -> list[str]:
        from synthdub_tui.dashboard.screens.add_languages import AddLanguagesScreen  # noqa: PLC0415

        recent = [*self.memory.now.languages, *self.session.batch.languages]
        chosen = await self.app.push_screen_wait(AddLanguagesScreen(have, recent, title=title))
        if chosen:
            self.memory.now.languages = list(dict.fromkeys([*chosen, *self.memory.now.languages]))[:12]
        return chosen or []

    def _start_folder(self) -> Path:
        cursor = self.grid.cursor
        if cursor is not None:
            return Path(self.session.batch.rows[cursor.job].job.source.path).parent
        return Path.cwd()

    # -- the batch as a whole ----------------------------------------------------------------------------------------

    @work(exit_on_error=False, name="pause")
    async def action_pause(self) -> None:
        """Pause the batch, or let it go on."""
        if not self.allowed():
            return
        paused = self.session.meters is not None and self.session.meters.paused
        self.status.say("Going on…" if paused else "Pausing…")
        if await self.send(Resume() if paused else Pause()) is not None:
            self.status.say("Going on." if paused else "Paused: what is under way finishes, nothing new begins.")

    def action_start_runner(self) -> None:
        """Start the runner where it ended or died."""
        if self.session.link.state is LinkState.GONE:
            self.status.say("Starting the runner…")
            self.session.link.restart()
        else:
            self.status.say("The runner is there.")

    def attached(self) -> None:
        """A runner listens: what the command line named is added once."""
        if self._added_paths or not self.options.paths or self.options.read_only:
            return
        self._added_paths = True
        self._add_named()

    @work(exit_on_error=False, name="add named")
    async def _add_named(self) -> None:
        targets = self.options.batch.targets or tuple(await self._languages(set(), "Dub the named files into"))
        if targets:
            await self._add(self.options.paths, targets)
        else:
            self.status.say("Nothing was added: no languages were chosen.")

    @work(exit_on_error=False, name="review")
    async def review(self, cells: list[CellKey], mark: bool) -> None:
        """Set or take back review marks."""
        if self.allowed():
            await self.send(Review(cells=_cells(cells), mark=mark))

    def action_copy(self) -> None:
        """The output's path of a finished dub, else the project's id, else the source's path; shown as well."""
        cursor = self.grid.cursor
        if cursor is None:
            return
        job, dub = self.session.batch.rows[cursor.job].job, self.session.batch.dub(*cursor)
        if dub is not None and dub.output is not None and dub.state is DubState.DONE:
            text = clipboard.path_text(dub.output.path)
        elif dub is not None and dub.project:
            text = printable(dub.project)
        else:
            text = clipboard.path_text(job.source.path)
        clipboard.copy(self.app, text)
        self.status.say(f"Copied, if your terminal allows it: {printable(text, 4096)}")

    def on_worker_state_changed(self, event: Any) -> None:
        """An error of our own in an action is told, not swallowed."""
        if event.worker.error is not None and event.state.name == "ERROR":
            problem = explain("internal", f"{event.worker.name}: {event.worker.error!r}")
            self.status.say(problem.line(), error=True)
            self.app.log.error(problem.line())


def _cells(cells: Iterable[CellKey]) -> tuple[Cell, ...]:
    return tuple(Cell(job, code) for job, code in cells)


def _sorted(dubs: list[tuple[CellKey, Dub]]) -> Sorted:
    found = Sorted([], [], [])
    for cell, dub in dubs:
        rung = changes.rung(dub)
        if rung is None or dub.state is DubState.DONE:
            continue
        if decision(dub):
            found.ask.append(cell)
        else:
            (found.paid if rung in PAID else found.free).append(cell)
    return found


def _cost(cells: list[CellKey]) -> str:
    return f"{many(len(cells), 'dub')} {'costs' if len(cells) == 1 else 'cost'}"


def _note(found: Sorted) -> list[str]:
    return [_left_out(found).strip()] if found.ask else []


def _left_out(found: Sorted) -> str:
    if not found.ask:
        return ""
    return f" {many(len(found.ask), 'dub')} left out: refused by moderation or undecided, to be retried one by one."


def _nothing_to_retry(dubs: list[tuple[CellKey, Dub]]) -> str:
    if not dubs:
        return "There is nothing to retry here."
    if all(dub.state in OPEN for _, dub in dubs):
        return "Nothing to retry: it is under way."
    return "Nothing to retry: only failed, cancelled and undecided dubs can be."


def _named(code: str) -> str:
    return f"{languages.name(code)} ({code})"
