"""`synthdub retry`, `cancel`, `remove`, `relocate`, `adopt`, `pause`, `resume` and `stop`.

Each asks the runner, or changes the store directly if no runner works.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from synthdub_tui import languages as codes
from synthdub_tui import retry_text
from synthdub_tui.humanize import many
from synthdub_tui.ipc.blocking_client import Control
from synthdub_tui.ipc.protocol import Adopt, Cancel, Cell, Pause, Relocate, Remove, Resume, Retry, Shown, Stop
from synthdub_tui.jobs import adoption
from synthdub_tui.jobs.model import OPEN, Dub, DubState, Job
from synthdub_tui.jobs.retry_policy import RetryPolicy
from synthdub_tui.jobs.spelling import as_spelled, composed
from synthdub_tui.jobs.transitions import dub_states
from synthdub_tui.problems import Trouble, explain, printable
from synthdub_tui.runner import request_handlers
from synthdub_tui.runner.output_presence import gone
from synthdub_tui.settings.resolve import Settings
from synthdub_tui.sources import relocation
from synthdub_tui.sources.job_index import Known
from synthdub_tui.store.job_store import Store
from synthdub_tui.store.lock import Lock

END_SECONDS = 60.0
"""Seconds for which `stop` waits until the runner has released the state directory."""


def retry(settings: Settings, selected: list[str], *, yes: bool) -> int:
    """Retry dubs by the cheapest step that may help, and ask before any step that may cost credits.

    `yes` answers these questions, but never those about dubs that moderation refused. Returns the exit code.
    """
    now = time.time()
    jobs = _jobs(settings, now)
    meant = _select(jobs, selected)
    chosen = request_handlers.choose(jobs, *meant, gone)
    questions = [cell for cell in chosen.to_ask if not yes or _policy(jobs, cell).moderated]
    said_yes = bool(questions) and _asked(jobs, questions)
    agreed = [cell for cell in chosen.to_ask if said_yes or cell not in questions]
    refused = [cell for cell in chosen.to_ask if cell not in agreed]
    lost = [cell for cell in refused + chosen.left_out if dub_states.can_look_for(jobs[cell.job].dubs[cell.language])]
    at_once, paid, free = (request_handlers.as_shown(jobs, cells) for cells in (chosen.at_once, agreed, lost))
    with _connected(settings) as control:
        if control is not None:
            outcome = _retry_through(control, at_once, paid, free)
        else:
            outcome = _retry_directly(settings, at_once, paid, free, now)
    moderated = [cell for cell in refused if _policy(jobs, cell).moderated]
    held = len(refused) - len(moderated) + outcome.needs_paid
    waits = bool(outcome.retried) and control is None
    print(f"{many(outcome.retried, 'dub')} to be retried" + ("; `synthdub run` goes on with that" if waits else ""))
    if held:
        print(f"{many(held, 'dub')} left alone: a retry may spend credits; say --yes to retry all the same", file=sys.stderr)
    _tell_moderated(jobs, moderated)
    _tell_left_out(jobs, chosen.left_out)
    _tell_changed(jobs, outcome.changed)
    if said_yes:
        latest = _jobs(settings, time.time())
        failed = request_handlers.failed_cells(latest) if "failed" in selected else []
        _tell_not_shown(latest, chosen, _all(meant) + failed)
    left = held or chosen.left_out
    return 1 if outcome.changed or moderated or (left and not outcome.retried) else 0


Cells = tuple[Shown, ...]
Send = Callable[[Cells, bool], request_handlers.Retried]


def _retry_through(control: Control, at_once: Cells, agreed: Cells, lost: Cells) -> request_handlers.Retried:
    """Let the runner retry the dubs that are still as the user saw them."""

    def send(cells: Cells, paid: bool) -> request_handlers.Retried:
        reply = control.ask(Retry(id=1, cells=cells, paid=paid))
        return request_handlers.Retried(int(reply.result["retried"]), int(reply.result["needs_paid"]), reply.changed)

    return _retry_each(send, at_once, agreed, lost)


def _retry_directly(settings: Settings, at_once: Cells, agreed: Cells, lost: Cells, now: float) -> request_handlers.Retried:
    """Retry the dubs that are still as the user saw them, on the store, since no runner works."""
    if not at_once + agreed + lost:
        return request_handlers.Retried()
    with _Direct(settings, now) as direct:
        send: Send = lambda cells, paid: request_handlers.retry(direct.jobs, cells, paid, time.time(), direct.put, gone)  # noqa: E731
        return _retry_each(send, at_once, agreed, lost)


def _retry_each(send: Send, at_once: Cells, agreed: Cells, lost: Cells) -> request_handlers.Retried:
    """Send up to three retries. `agreed`: dubs for whose cost the user agreed when asked, or with `--yes`. `lost`: dubs that
    are not sent again, since the user did not agree or did not name them; they are only looked for, which is free."""
    free = send(at_once, False) if at_once else request_handlers.Retried()
    paid = send(agreed, True) if agreed else request_handlers.Retried()
    if lost:
        send(lost, False)
    return request_handlers.Retried(free.retried + paid.retried, free.needs_paid + paid.needs_paid, free.changed + paid.changed)


@contextlib.contextmanager
def _connected(settings: Settings) -> Iterator[Control | None]:
    """Connects to the runner and closes the connection at the end; None if no runner works."""
    control = Control.connect(settings.state_dir)
    if control is None:
        yield None
        return
    with contextlib.closing(control):
        yield control


def cancel(settings: Settings, selected: list[str]) -> int:
    """Cancel dubs in this batch; the service is not asked to stop them."""
    now = time.time()
    jobs = _jobs(settings, now)
    cells = [Shown(cell.job, cell.language) for cell in _all(_select(jobs, selected))]
    stoppable = list(_open(jobs, cells))
    with _connected(settings) as control:
        if control is not None:
            number = int(control.ask(Cancel(id=1, cells=tuple(cells))).result["cancelled"])
        else:
            with _Direct(settings, now) as direct:
                number, _ = request_handlers.cancel(direct.jobs, cells, time.time(), direct.give_up)
    print(f"{number} cancelled")
    _tell_billed(_jobs(settings, time.time()), stoppable)
    return 0


def _tell_billed(jobs: dict[str, Job], cells: Iterable[Shown]) -> None:
    """Print which of these dubs may be billed although they are cancelled."""
    for job, language in ((jobs[cell.job], cell.language) for cell in cells if cell.job in jobs):
        if language in job.dubs and (code := dub_states.billed_all_the_same(job, language)):
            print(f"  {printable(job.name)} {language}: {explain(code).line()}")


def remove(settings: Settings, selected: list[str], *, yes: bool) -> int:
    """Remove dubs that have ended from the batch; files stay. Asks before it forgets anything paid."""
    now = time.time()
    jobs = _jobs(settings, now)
    cells = request_handlers.as_shown(jobs, _all(_select(jobs, selected)))
    would = request_handlers.remove(jobs, cells, False, lambda job, languages: None, gone)
    forget = bool(would.paid) and (yes or _asked_to_forget(jobs, would.paid))
    with _connected(settings) as control:
        if control is not None:
            reply = control.ask(Remove(id=1, cells=cells, forget=forget))
            number, under_way, paid = (int(reply.result[word]) for word in ("removed", "under_way", "paid"))
            changed = reply.changed
        else:
            with _Direct(settings, now) as direct:
                removed = request_handlers.remove(direct.jobs, cells, forget, direct.take_out, gone)
            number, under_way, paid = removed.count, len(removed.under_way), len(removed.paid)
            changed = tuple(removed.changed)
    print(f"{many(number, 'dub')} removed; files stay")
    if under_way:
        print(f"{many(under_way, 'dub')} left: under way, or not known whether accepted. Cancel first.", file=sys.stderr)
    if paid:
        print(f"{many(paid, 'dub')} left: paid for, and not on disk; say --yes to forget", file=sys.stderr)
    _tell_changed(jobs, changed)
    return 1 if under_way or paid or changed else 0


def relocate(settings: Settings, old: str, new: str) -> int:
    """Note that a file or folder has moved, so that its videos keep their dubs.

    Returns the exit code: 1 if no video moved, or some were not found in the new place. Raises Trouble("path_missing") if
    `new` does not exist.
    """
    old, new = (as_spelled(os.path.abspath(os.path.expanduser(path))) for path in (old, new))
    if not os.path.exists(new):
        raise Trouble("path_missing", new)
    before = _jobs(settings, time.time())
    if os.path.isdir(new) and any(job.source.path == old for job in before.values()):
        new = os.path.join(new, os.path.basename(old))  # as `mv FILE FOLDER` does
    meant = {job.id: path for job in before.values() if (path := relocation.new_path(job.source.path, old, new)) is not None}
    with _connected(settings) as control:
        if control is not None:
            moved = int(control.ask(Relocate(id=1, old=old, new=new)).result["moved"])
        else:
            with _Direct(settings, time.time()) as direct:
                moved = _relocate(direct, old, new)
    left = _left(_jobs(settings, time.time()), meant)
    for trouble in left:
        print(trouble, file=sys.stderr)
    print(f"{many(moved, 'video')} moved" + (f", {len(left)} left in the old place" if left else ""))
    return 1 if left or not moved else 0


def _relocate(direct: _Direct, old: str, new: str) -> int:
    """Returns how many videos moved."""
    moved = 0
    for job, path in relocation.moves(Known(direct.jobs), old, new):
        with contextlib.suppress(Trouble):  # `_left` finds and reports these
            source = relocation.source_at(job, path)
            folder = relocation.moved_folder(job.outputs, old, new)
            outputs = relocation.outputs_at(job, source, folder)
            direct.move(dub_states.relocated(job, source, folder, outputs, time.time()))
            moved += 1
    return moved


def _left(jobs: dict[str, Job], meant: dict[str, str]) -> list[Trouble]:
    """Returns a Trouble for each video that is not in its intended new place. `meant`: job id → new path."""
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


def adopt(settings: Settings, dub: str, named: str) -> int:
    """Follow a dub in an existing project. `named`: the project's id, or a Studio URL that contains it.

    Only reads from the service; nothing is paid. If this is impossible, raises Trouble and changes nothing.
    """
    ids = adoption.project_ids(named)
    if len(ids) != 1:
        raise Trouble("adopt_no_id", ", ".join(ids) or printable(named))
    now = time.time()
    jobs = _jobs(settings, now)
    cell = _one_dub(jobs, dub)
    with _connected(settings) as control:
        if control is not None:
            control.ask(Adopt(id=1, cell=cell, project=ids[0]))
        else:
            _adopt(settings, cell, ids[0], now)
    done = f"{_name(jobs, cell)} is followed in project {ids[0]}; nothing was paid"
    print(done if control is not None else f"{done}. `synthdub run` downloads it")
    return 0


def _adopt(settings: Settings, cell: Cell, project: str, now: float) -> None:
    from synthdub_tui.runner import adopt_project  # noqa: PLC0415 - other commands do not need it
    from synthdub_tui.store.receipts import receipts_of  # noqa: PLC0415

    adopt_project.check(_jobs(settings, now), cell)
    seen = adopt_project.look_from_outside(settings.api_url, settings.api_key, project)
    receipts = receipts_of(settings)
    with _Direct(settings, now) as direct:
        job = adopt_project.adopted(direct.jobs, cell, project, seen, time.time())
        direct.put(job)
        adopt_project.claim(job, cell.language, direct.store.identity(), settings.state_dir, time.time())
        receipts.open(direct.store.folder)
    adopt_project.note(receipts, job, cell.language, settings.state_dir, time.time())


def _one_dub(jobs: dict[str, Job], word: str) -> Cell:
    """Returns the one dub that a word selects.

    Raises Trouble("no_such_job" | "name_ambiguous"), or Trouble("not_one_dub") with the candidates as detail.
    """
    cells = _dubs(jobs, word)
    if len(cells) == 1:
        return cells[0]
    meant = cells or [Cell(job.id, language) for job in _files(jobs, word) for language in job.dubs]
    if not meant:
        raise Trouble("no_such_job", printable(word))
    raise Trouble("not_one_dub", ", ".join(f"{cell.job}:{cell.language}" for cell in meant))


def pause(settings: Settings, *, paused: bool) -> int:
    """Pause the batch, so that nothing new starts, or resume it."""
    with _connected(settings) as control:
        if control is not None:
            control.ask(Pause(id=1) if paused else Resume(id=1))
        else:
            with _Direct(settings, time.time()) as direct:
                direct.store.write_document("batch", direct.store.read_document("batch") | {"paused": paused})
    goes_on = "Resumed." if control is not None else "Resumed; `synthdub run` goes on."
    print("Paused: what is under way finishes, nothing new begins." if paused else goes_on)
    return 0


def stop(settings: Settings) -> int:
    """Let the runner save and end. Returns 0, also if there was none."""
    if end_runner(settings):
        print("Stopped; the work resumes at the next start.")
    else:
        print(f"No runner works on {printable(settings.state_dir, 4096)}")
    return 0


def end_runner(settings: Settings) -> bool:
    """Let the runner save and end, and wait for its end. Returns whether there was a runner.

    Raises Trouble("state_busy") if it takes longer than `END_SECONDS`.
    """
    with _connected(settings) as control:
        if control is None:
            return False
        control.ask(Stop(id=1))
        control.wait_for_end()
    _wait_for_lock(settings)
    return True


class _Direct:
    """The store while no runner works. Holds the lock, so that no runner can start meanwhile.

    `now`: the time for which the jobs were shown to the user, so that an unchanged file yields the same jobs as then.
    """

    def __init__(self, settings: Settings, now: float) -> None:
        self.store = Store(settings.state_dir)
        self.jobs: dict[str, Job] = {}
        self._lock = Lock(self.store.path("lock"))
        self._now = now

    def put(self, job: Job) -> None:
        self.store.save(job)
        self.jobs[job.id] = job

    def move(self, job: Job) -> None:
        """Save a job, and release its claims on outputs that it no longer needs."""
        from synthdub_tui.runner.cross_batch_claims import give_back  # noqa: PLC0415 - other commands start faster without

        before = self.jobs[job.id]
        self.put(job)
        give_back(before, job, self.store.identity(), self.store.folder, time.time())

    def give_up(self, job: Job) -> None:
        from synthdub_tui.runner.activities.download import clean_up  # noqa: PLC0415 - other commands do not need it

        before = self.jobs[job.id]
        self.move(job)
        clean_up(before, job)

    def take_out(self, job: Job, languages: Sequence[str]) -> None:
        from synthdub_tui.runner.activities.download import remove_leftovers  # noqa: PLC0415 - other commands do not need it

        remove_leftovers(job, languages)
        left = dub_states.removed(job, languages)
        if left is not None:
            self.put(left)
        else:
            self.store.delete(job.id)
            del self.jobs[job.id]

    def __enter__(self) -> _Direct:
        try:
            os.makedirs(self.store.folder, mode=0o700, exist_ok=True)
            self._lock.acquire()  # before `open`, which deletes temporary files that a runner may be writing
        except OSError as error:
            raise Trouble("state_unwritable", f"{error.strerror}: {self.store.folder}") from error
        try:
            self.store.open()
            self.jobs = {job.id: dub_states.resumed(job, self._now) for job in self.store.load().jobs}
        except Trouble:
            self._lock.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def _jobs(settings: Settings, now: float) -> dict[str, Job]:
    """Returns the jobs by id; without a runner, as the next one will find them."""
    with _connected(settings) as control:
        works = control is not None
    store = Store(settings.state_dir)
    store.check_schema()
    jobs = store.load(set_aside=False).jobs
    return {job.id: job if works else dub_states.resumed(job, now) for job in jobs}


def _wait_for_lock(settings: Settings) -> None:
    """Wait for the runner to release the state directory, which it does shortly after it closes its socket."""
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


def _select(jobs: dict[str, Job], selected: Iterable[str]) -> tuple[list[Cell], list[Cell]]:
    """Returns the dubs that SELECT words select: those named one by one, and those selected in bulk.

    Raises Trouble("no_such_job"), or Trouble("name_ambiguous") if several folders contain a file of that name.
    """
    named: list[Cell] = []
    bulk: list[Cell] = []
    for word in selected:
        if word == "failed":
            bulk += request_handlers.failed_cells(jobs)
        elif files := _files(jobs, word):
            cells = [Cell(job.id, language) for job in files for language in job.dubs]
            undecided = [cell for cell in cells if _undecided(jobs[cell.job].dubs[cell.language])]
            named += undecided
            bulk += [cell for cell in cells if cell not in undecided]
        elif cells := _dubs(jobs, word):
            named += cells
        else:
            raise Trouble("no_such_job", printable(word))
    return named, bulk


def _undecided(dub: Dub) -> bool:
    """Whether the dub waits only for the user's decision. Naming its file then counts as naming the dub."""
    return dub.state is DubState.UNKNOWN or dub.hold is not None


def _all(selected: tuple[list[Cell], list[Cell]]) -> list[Cell]:
    """Returns all selected dubs, named or in bulk, each once."""
    named, bulk = selected
    return list(dict.fromkeys(named + bulk))


def _dubs(jobs: dict[str, Job], word: str) -> list[Cell]:
    name, colon, language = word.rpartition(":")
    files = _files(jobs, name) if colon else []
    return [Cell(job.id, own) for job in files for own in job.dubs if codes.same(own, language)]


def _files(jobs: dict[str, Job], name: str) -> list[Job]:
    """Returns the jobs of a file, given its path, its name or the job's id. Raises Trouble("name_ambiguous")."""
    paths = {as_spelled(name), as_spelled(os.path.abspath(name))} if os.sep in name else {as_spelled(name)}
    exact = [job for job in jobs.values() if job.source.path in paths or job.id == name]
    alike = [job for job in jobs.values() if composed(job.name) == composed(name)]
    found = exact or [job for job in alike if job.name == name] or alike
    places = sorted({job.source.path for job in found})
    if len(places) > 1:
        for place in places:
            print(printable(place, 4096), file=sys.stderr)
        raise Trouble("name_ambiguous", printable(name))
    return found


def _policy(jobs: dict[str, Job], cell: Cell) -> RetryPolicy:
    return request_handlers.policy_of(jobs[cell.job], cell.language, gone)


def _tell_moderated(jobs: dict[str, Job], cells: list[Cell]) -> None:
    if cells:
        print(
            f"{many(len(cells), 'dub')} left alone: refused by moderation, and repeated refusals can get the account banned. "
            "--yes does not answer for that; at a terminal, `synthdub retry FILE:LANG` asks:",
            file=sys.stderr,
        )
    for cell in cells:
        print(f"  {_name(jobs, cell)}", file=sys.stderr)


def _tell_left_out(jobs: dict[str, Job], cells: list[Cell]) -> None:
    if cells:
        print(f"{many(len(cells), 'dub')} left out; FILE:LANG retries one all the same:", file=sys.stderr)
    for cell in cells:
        print(f"  {_name(jobs, cell)}: {explain(_policy(jobs, cell).why).title}", file=sys.stderr)


def _tell_changed(jobs: dict[str, Job], cells: Iterable[Cell]) -> None:
    changed = list(cells)
    if changed:
        print(f"{many(len(changed), 'dub')} left alone: changed meanwhile. Look again, then decide:", file=sys.stderr)
    for cell in changed:
        print(f"  {_name(jobs, cell)}", file=sys.stderr)


def _tell_not_shown(jobs: dict[str, Job], shown: request_handlers.Chosen, selected: Iterable[Cell]) -> None:
    """Name the selected dubs that can be retried now, but could not when the question was asked. `jobs`: as they are now."""
    known = {*shown.at_once, *shown.to_ask, *shown.left_out}
    later = [cell for cell in selected if cell not in known and cell.job in jobs and cell.language in jobs[cell.job].dubs]
    chosen = request_handlers.choose(jobs, (), later, gone)
    cells = chosen.at_once + chosen.to_ask + chosen.left_out
    if cells:
        print(f"{many(len(cells), 'dub')} left alone: not shown in the question. Look again, then decide:", file=sys.stderr)
    for cell in cells:
        print(f"  {_name(jobs, cell)}: {retry_text.sentence(_policy(jobs, cell))}", file=sys.stderr)


def _name(jobs: dict[str, Job], cell: Cell) -> str:
    return f"{printable(jobs[cell.job].source.path, 4096)} {cell.language}"


def _open(jobs: dict[str, Job], cells: Iterable[Shown]) -> Iterable[Shown]:
    states = OPEN | {DubState.UNKNOWN}
    return (cell for cell in cells if jobs[cell.job].dubs[cell.language].state in states)


def _asked_to_forget(jobs: dict[str, Job], cells: list[Cell], read: Callable[[str], str] = input) -> bool:
    """List the dubs that would be forgotten and ask once; without a terminal the answer is no."""
    if not sys.stdin.isatty():
        return False
    print("These were paid for, and are not on disk. Once they are removed, having them again may spend credits again:")
    for cell in cells:
        dub = jobs[cell.job].dubs[cell.language]
        known = f"project {printable(dub.project)}" if dub.project else "its request may have been accepted"
        print(f"  {printable(jobs[cell.job].name)} {cell.language}: {dub.state.value}, {known}")
    return _says_yes(f"Forget {many(len(cells), 'dub')}?", read)


def _asked(jobs: dict[str, Job], cells: list[Cell], read: Callable[[str], str] = input) -> bool:
    """List the dubs that may cost credits and ask once; without a terminal the answer is no."""
    if not sys.stdin.isatty():
        return False
    print("Retrying these may spend credits again:")
    for cell in cells:
        print(f"  {_name(jobs, cell)}: {retry_text.sentence(_policy(jobs, cell))}")
        hold = jobs[cell.job].dubs[cell.language].hold
        if hold is not None and (words := retry_text.held(hold)):
            print(f"    {words}")
    return _says_yes(f"Retry {many(len(cells), 'dub')}?", read)


def _says_yes(question: str, read: Callable[[str], str]) -> bool:
    """Ask the question. The end of the input (ctrl+d) counts as no."""
    try:
        return read(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        print()
        return False
