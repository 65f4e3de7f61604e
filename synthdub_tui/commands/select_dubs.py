"""What the SELECT words of a command mean: FILE, FILE:LANG, `failed`; and how the dubs are named in its output."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from synthdub_tui import languages as codes
from synthdub_tui.errors import ProblemError
from synthdub_tui.files import compose_accents, spell_as_on_disk
from synthdub_tui.humanize import format_count
from synthdub_tui.ipc.protocol import DubRef
from synthdub_tui.jobs.model import Dub, DubState, Job
from synthdub_tui.runner import request_handlers
from synthdub_tui.text import make_printable


def select_one_dub(jobs: dict[str, Job], word: str) -> DubRef:
    """Returns the one dub that a word selects.

    Raises ProblemError("no_such_job" | "name_ambiguous"), or ProblemError("not_one_dub") with the candidates as detail.
    """
    cells = _dubs(jobs, word)
    if len(cells) == 1:
        return cells[0]
    meant = cells or [DubRef(job.id, language) for job in _files(jobs, word) for language in job.dubs]
    if not meant:
        raise ProblemError("no_such_job", make_printable(word))
    raise ProblemError("not_one_dub", ", ".join(f"{cell.job}:{cell.language}" for cell in meant))


def select_dubs(jobs: dict[str, Job], selected: Iterable[str]) -> tuple[list[DubRef], list[DubRef]]:
    """Returns the dubs that SELECT words select: those named one by one, and those selected in bulk.

    Raises ProblemError("no_such_job"), or ProblemError("name_ambiguous") if several folders contain a file of that name.
    """
    named: list[DubRef] = []
    bulk: list[DubRef] = []
    for word in selected:
        if word == "failed":
            bulk += request_handlers.find_failed_dubs(jobs)
        elif files := _files(jobs, word):
            cells = [DubRef(job.id, language) for job in files for language in job.dubs]
            undecided = [cell for cell in cells if _undecided(jobs[cell.job].dubs[cell.language])]
            named += undecided
            bulk += [cell for cell in cells if cell not in undecided]
        elif cells := _dubs(jobs, word):
            named += cells
        else:
            raise ProblemError("no_such_job", make_printable(word))
    return named, bulk


def _undecided(dub: Dub) -> bool:
    """Whether the dub waits only for the user's decision. Naming its file then counts as naming the dub."""
    return dub.state is DubState.UNKNOWN or dub.hold is not None


def all_selected(selected: tuple[list[DubRef], list[DubRef]]) -> list[DubRef]:
    """Returns all selected dubs, named or in bulk, each once."""
    named, bulk = selected
    return list(dict.fromkeys(named + bulk))


def _dubs(jobs: dict[str, Job], word: str) -> list[DubRef]:
    name, colon, language = word.rpartition(":")
    files = _files(jobs, name) if colon else []
    return [DubRef(job.id, own) for job in files for own in job.dubs if codes.same_code(own, language)]


def _files(jobs: dict[str, Job], name: str) -> list[Job]:
    """Returns the jobs of a file, given its path, its name or the job's id. Raises ProblemError("name_ambiguous")."""
    paths = {spell_as_on_disk(name), spell_as_on_disk(os.path.abspath(name))} if os.sep in name else {spell_as_on_disk(name)}
    exact = [job for job in jobs.values() if job.source.path in paths or job.id == name]
    alike = [job for job in jobs.values() if compose_accents(job.name) == compose_accents(name)]
    found = exact or [job for job in alike if job.name == name] or alike
    places = sorted({job.source.path for job in found})
    if len(places) > 1:
        for place in places:
            print(make_printable(place, 4096), file=sys.stderr)
        raise ProblemError("name_ambiguous", make_printable(name))
    return found


def print_changed(jobs: dict[str, Job], cells: Iterable[DubRef]) -> None:
    changed = list(cells)
    if changed:
        print(f"{format_count(len(changed), 'dub')} left alone: changed meanwhile. Look again, then decide:", file=sys.stderr)
    for cell in changed:
        print(f"  {dub_name(jobs, cell)}", file=sys.stderr)


def dub_name(jobs: dict[str, Job], cell: DubRef) -> str:
    return f"{make_printable(jobs[cell.job].source.path, 4096)} {cell.language}"
