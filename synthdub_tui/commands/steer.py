"""`synthdub retry`, `cancel`, `remove`, `relocate`, `pause`, `resume`, `stop`: through the runner, or else on the store."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence

from synthdub_tui import languages as codes
from synthdub_tui.jobs import changes
from synthdub_tui.jobs.model import OPEN, PAID, DubState, Job
from synthdub_tui.jobs.spelling import as_spelled, composed
from synthdub_tui.problems import Trouble, explain, printable
from synthdub_tui.runner import actions
from synthdub_tui.runner.control import Control
from synthdub_tui.runner.protocol import Cancel, Cell, Pause, Relocate, Remove, Resume, Retry, Stop
from synthdub_tui.settings import Settings
from synthdub_tui.sources import relocation
from synthdub_tui.sources.known import Known
from synthdub_tui.store.lock import Lock
from synthdub_tui.store.store import Store

END_SECONDS = 60.0
"""How long a runner may take to finish its requests and end."""


def retry(settings: Settings, selected: list[str], *, yes: bool) -> int:
    """Retry dubs by the cheapest rung that may help; asks before anything that may cost."""
    jobs = _jobs(settings)
    cells = _select(jobs, selected)
    alone = _left_out(jobs, selected, cells)
    costly = [cell for cell in _single(jobs, cells) if actions.needs_consent(jobs[cell.job], cell.language)]
    paid = bool(costly) and (yes or _asked(jobs, costly))
    control = Control.connect(settings.state_dir)
    if control is not None:
        result = control.ask(Retry(id=1, cells=tuple(cells), paid=paid)).result
        retried, held = int(result["retried"]), int(result["needs_paid"])
    else:
        now = time.time()
        with _Direct(settings) as direct:
            retried, held = actions.retry(direct.jobs, cells, paid, now, direct.put, _no_file)
    print(f"{retried} to be retried" + ("" if control or not retried else "; `synthdub run` takes them up"))
    if held:
        print(f"{held} left alone: retrying them may spend credits; say --yes to retry them", file=sys.stderr)
    _tell_left_out(jobs, alone)
    return 0 if retried or not (held or alone) else 1


def cancel(settings: Settings, selected: list[str]) -> int:
    """Give dubs up on this side."""
    jobs = _jobs(settings)
    cells = _select(jobs, selected)
    stoppable = list(_open(jobs, _single(jobs, cells)))
    control = Control.connect(settings.state_dir)
    if control is not None:
        number = int(control.ask(Cancel(id=1, cells=tuple(cells))).result["cancelled"])
    else:
        with _Direct(settings) as direct:
            number = actions.cancel(direct.jobs, cells, time.time(), direct.give_up)
    print(f"{number} cancelled")
    _tell_billed(_jobs(settings), stoppable)
    return 0


def _tell_billed(jobs: dict[str, Job], cells: Iterable[Cell]) -> None:
    """Where the cancel came too late, for exactly these dubs."""
    for job, language in ((jobs[cell.job], cell.language) for cell in cells if cell.job in jobs):
        if language in job.dubs and (code := changes.billed_all_the_same(job, language)):
            print(f"  {printable(job.name)} {language}: {explain(code).line()}")


def remove(settings: Settings, selected: list[str], *, yes: bool) -> int:
    """Take dubs that have ended out of the batch; files stay. Asks before something paid is forgotten."""
    jobs = _jobs(settings)
    cells = _select(jobs, selected)
    would = actions.remove(jobs, cells, False, lambda job, languages: None, _no_file)
    forget = bool(would.paid) and (yes or _asked_to_forget(jobs, would.paid))
    control = Control.connect(settings.state_dir)
    if control is not None:
        result = control.ask(Remove(id=1, cells=tuple(cells), forget=forget)).result
        number, under_way, paid = int(result["removed"]), int(result["under_way"]), int(result["paid"])
    else:
        with _Direct(settings) as direct:
            removed = actions.remove(direct.jobs, cells, forget, direct.take_out, _no_file)
            number, under_way, paid = removed.count, len(removed.under_way), len(removed.paid)
    print(f"{number} removed; their files stay")
    if under_way:
        print(f"{under_way} left: under way, or not known whether accepted. Cancel them first.", file=sys.stderr)
    if paid:
        print(f"{paid} left: they were paid for, and are not on disk; say --yes to forget them", file=sys.stderr)
    return 1 if under_way or paid else 0


def relocate(settings: Settings, old: str, new: str) -> int:
    """A file or folder is at another place: its videos keep what was made of them. 1 if some were not found there.

    Raises Trouble("path_missing") where NEW is not there.
    """
    old, new = (as_spelled(os.path.abspath(os.path.expanduser(path))) for path in (old, new))
    if not os.path.exists(new):
        raise Trouble("path_missing", new)
    before = _jobs(settings)
    if os.path.isdir(new) and any(job.source.path == old for job in before.values()):
        new = os.path.join(new, os.path.basename(old))  # as `mv FILE FOLDER` does
    meant = {job.id: path for job in before.values() if (path := relocation.new_path(job.source.path, old, new)) is not None}
    control = Control.connect(settings.state_dir)
    if control is not None:
        moved = int(control.ask(Relocate(id=1, old=old, new=new)).result["moved"])
    else:
        with _Direct(settings) as direct:
            moved = _relocate(direct, old, new)
    left = _left(_jobs(settings), meant)
    for trouble in left:
        print(trouble, file=sys.stderr)
    print(f"{moved} videos moved, {len(left)} left where they were" if left else f"{moved} videos moved")
    return 1 if left or not moved else 0


def _relocate(direct: _Direct, old: str, new: str) -> int:
    """How many videos moved."""
    moved = 0
    for job, path in relocation.moves(Known(direct.jobs), old, new):
        with contextlib.suppress(Trouble):  # told below
            source = relocation.source_at(job, path)
            folder = relocation.moved_folder(job.outputs, old, new)
            outputs = relocation.outputs_at(job, source, folder)
            direct.put(changes.relocated(job, source, folder, outputs, time.time()))
            moved += 1
    return moved


def _left(jobs: dict[str, Job], meant: dict[str, str]) -> list[Trouble]:
    """Why videos are not known at the places where they were meant to be."""
    troubles = []
    known = Known(jobs)
    for job_id, path in meant.items():
        try:
            relocation.source_at(jobs[job_id], path)
            if any(other.options == jobs[job_id].options and other.id != job_id for other in known.all_at(path)):
                raise Trouble("place_taken", path)
        except Trouble as trouble:
            troubles.append(trouble)
    return troubles


def pause(settings: Settings, *, paused: bool) -> int:
    """Begin nothing new, or go on."""
    control = Control.connect(settings.state_dir)
    if control is not None:
        control.ask(Pause(id=1) if paused else Resume(id=1))
    else:
        with _Direct(settings) as direct:
            direct.store.write_document("batch", direct.store.read_document("batch") | {"paused": paused})
    goes_on = "Resumed." if control is not None else "Resumed; `synthdub run` goes on."
    print("Paused: what is under way finishes, nothing new begins." if paused else goes_on)
    return 0


def stop(settings: Settings) -> int:
    """The runner saves and ends."""
    if end_runner(settings):
        print("Stopped; the work resumes at the next start.")
    else:
        print(f"No runner works on {printable(settings.state_dir, 4096)}")
    return 0


def end_runner(settings: Settings) -> bool:
    """Let the runner save and end, and wait until it has. Returns whether there was one."""
    control = Control.connect(settings.state_dir)
    if control is None:
        return False
    control.ask(Stop(id=1))
    control.wait_for_end()
    _wait_for_lock(settings)
    return True


class _Direct:
    """The store while no runner works on it; holds the lock, so that none starts meanwhile."""

    def __init__(self, settings: Settings) -> None:
        self.store = Store(settings.state_dir)
        self.jobs: dict[str, Job] = {}
        self._lock = Lock(self.store.path("lock"))

    def put(self, job: Job) -> None:
        self.store.save(job)
        self.jobs[job.id] = job

    def give_up(self, job: Job) -> None:
        from synthdub_tui.runner.fetch import clean_up  # noqa: PLC0415 - other commands start faster without

        before = self.jobs[job.id]
        self.put(job)
        clean_up(before, job)

    def take_out(self, job: Job, languages: Sequence[str]) -> None:
        from synthdub_tui.runner.fetch import remove_parts  # noqa: PLC0415 - other commands start faster without

        for language in languages:
            if job.dubs[language].part is not None:
                remove_parts(job, language)
        left = changes.removed(job, languages)
        if left is not None:
            self.put(left)
        else:
            self.store.delete(job.id)
            del self.jobs[job.id]

    def __enter__(self) -> _Direct:
        try:
            os.makedirs(self.store.folder, mode=0o700, exist_ok=True)
            self._lock.acquire()  # first: opening sweeps what a runner may be writing just now
        except OSError as error:
            raise Trouble("state_unwritable", f"{error.strerror}: {self.store.folder}") from error
        try:
            self.store.open()
            now = time.time()
            self.jobs = {job.id: changes.resumed(job, now) for job in self.store.load().jobs}
        except Trouble:
            self._lock.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def _jobs(settings: Settings) -> dict[str, Job]:
    return {job.id: job for job in Store(settings.state_dir).load(set_aside=False).jobs}


def _wait_for_lock(settings: Settings) -> None:
    """The runner closes its socket a moment before it lets the state directory go."""
    lock = Lock(os.path.join(settings.state_dir, "lock"))
    deadline = time.monotonic() + END_SECONDS
    while True:
        try:
            lock.acquire()
        except Trouble:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            lock.release()
            return


def _select(jobs: dict[str, Job], selected: Iterable[str]) -> list[Cell]:
    """The cells that SELECT words mean. Raises Trouble("no_such_job")."""
    cells: list[Cell] = []
    for word in selected:
        found = actions.failed_cells(jobs) if word == "failed" else _named(jobs, word)
        if not found and word != "failed":
            raise Trouble("no_such_job", printable(word))
        cells += found
    return list(dict.fromkeys(cells))


def _left_out(jobs: dict[str, Job], selected: Iterable[str], cells: list[Cell]) -> list[Cell]:
    """Dubs that are meant, too, but retried only where the user names each of them."""
    left_out = dict.fromkeys(actions.left_out(jobs) if "failed" in selected else ())
    for cell in _single(jobs, cells):
        if actions.fails_again(jobs[cell.job], jobs[cell.job].dubs[cell.language]):
            left_out[cell] = None
    named = frozenset(cells)
    return [cell for cell in left_out if cell not in named]


def _tell_left_out(jobs: dict[str, Job], cells: list[Cell]) -> None:
    if cells:
        print(f"{len(cells)} left out, since they fail again as they are; FILE:LANG retries one all the same:", file=sys.stderr)
    for cell in cells:
        job = jobs[cell.job]
        failure = job.dubs[cell.language].failure
        why = explain(failure.code, failure.detail).title if failure else ""
        print(f"  {printable(job.name)} {cell.language}: {why}", file=sys.stderr)


def _named(jobs: dict[str, Job], word: str) -> list[Cell]:
    whole = [Cell(job.id) for job in _files(jobs, word)]
    if whole:
        return whole
    name, colon, language = word.rpartition(":")
    if not colon:
        return []
    return [Cell(job.id, own) for job in _files(jobs, name) for own in job.dubs if codes.same(own, language)]


def _files(jobs: dict[str, Job], name: str) -> list[Job]:
    """Jobs of a file named by its path, its bare name, or the job's id."""
    path = as_spelled(name)
    exact = [job for job in jobs.values() if job.source.path == path or job.id == name]
    alike = [job for job in jobs.values() if composed(job.name) == composed(name)]
    return exact or [job for job in alike if job.name == name] or alike


def _single(jobs: dict[str, Job], cells: Iterable[Cell]) -> list[Cell]:
    return [
        Cell(cell.job, language) for cell in cells for language in jobs[cell.job].dubs if cell.language in ("", language)
    ]  # fmt: skip


def _open(jobs: dict[str, Job], cells: Iterable[Cell]) -> Iterable[Cell]:
    states = OPEN | {DubState.UNKNOWN}
    return (cell for cell in cells if jobs[cell.job].dubs[cell.language].state in states)


def _no_file(path: str) -> bool:
    """Not even a dangling link is there."""
    return not os.path.lexists(path)


def _asked_to_forget(jobs: dict[str, Job], cells: list[Cell], read: Callable[[str], str] = input) -> bool:
    """Show exactly what would be forgotten, and ask once; without a terminal the answer is no."""
    if not sys.stdin.isatty():
        return False
    print("These were paid for, and are not on disk. Once they are removed, having them again may spend credits again:")
    for cell in cells:
        dub = jobs[cell.job].dubs[cell.language]
        known = f"project {printable(dub.project)}" if dub.project else "its request may have been accepted"
        print(f"  {printable(jobs[cell.job].name)} {cell.language}: {dub.state.value}, {known}")
    return read(f"Forget these {len(cells)}? [y/N] ").strip().lower() in ("y", "yes")


def _asked(jobs: dict[str, Job], cells: list[Cell], read: Callable[[str], str] = input) -> bool:
    """Show exactly what may cost, and ask once; without a terminal the answer is no."""
    if not sys.stdin.isatty():
        return False
    print("Retrying these may spend credits again:")
    for cell in cells:
        dub = jobs[cell.job].dubs[cell.language]
        rung = changes.rung(dub)
        why = {"add": "put to the same project again", "project": "a new project", "upload": "a new upload and project"}
        warning = "  (its first request may have been accepted: this may pay twice)" if dub.state is DubState.UNKNOWN else ""
        how = why.get(rung.value, "refused by moderation before") if rung in PAID and rung else "refused by moderation before"
        print(f"  {printable(jobs[cell.job].name)} {cell.language}: {how}{warning}")
    return read(f"Retry these {len(cells)}? [y/N] ").strip().lower() in ("y", "yes")
