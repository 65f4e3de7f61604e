"""What the SELECT words of a command mean: FILE, FILE:LANG, `failed`; and how the dubs are named in its output."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from synthdub_tui import languages as codes
from synthdub_tui.errors import Trouble
from synthdub_tui.files import as_spelled, composed
from synthdub_tui.humanize import many
from synthdub_tui.ipc.protocol import Cell
from synthdub_tui.jobs.model import Dub, DubState, Job
from synthdub_tui.runner import request_handlers
from synthdub_tui.text import printable


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


def _tell_changed(jobs: dict[str, Job], cells: Iterable[Cell]) -> None:
    changed = list(cells)
    if changed:
        print(f"{many(len(changed), 'dub')} left alone: changed meanwhile. Look again, then decide:", file=sys.stderr)
    for cell in changed:
        print(f"  {_name(jobs, cell)}", file=sys.stderr)


def _name(jobs: dict[str, Job], cell: Cell) -> str:
    return f"{printable(jobs[cell.job].source.path, 4096)} {cell.language}"
