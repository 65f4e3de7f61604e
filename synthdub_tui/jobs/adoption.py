"""Adopting a dub that the batch does not follow: which project the user means, and whether it has the language."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from synthdub_tui.jobs.language_entries import alive, entries_of
from synthdub_tui.jobs.model import Job, ProjectSeen, Seen, SeenState

_UUID: Final = re.compile(r"(?<![0-9a-f])[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?![0-9a-f])", re.ASCII)

_WORDS: Final = {SeenState.RUNNING: "going on", SeenState.COMPLETE: "complete", SeenState.ERROR: "failed"}


class Obstacle(NamedTuple):
    """Why a project cannot be adopted: a problem's code, and a detail that may contain the service's words."""

    code: str
    detail: str


def project_ids(text: str) -> list[str]:
    """The distinct project ids in the user's text: an id alone, or a URL of Synthesia Studio that contains one."""
    return list(dict.fromkeys(_UUID.findall(text.lower())))


def obstacle(job: Job, language: str, seen: ProjectSeen) -> Obstacle | None:
    """Why the job's dub cannot be followed in a project; None if the project has the language running or complete."""
    entries = entries_of(seen.languages, language, job.dubs)
    living = alive(entries, "")
    if living is not None and (living.state is SeenState.COMPLETE or seen.state is not SeenState.ERROR):
        return None
    if seen.state is SeenState.ERROR and (entries or not seen.languages):
        return Obstacle("adopt_failed", f"{language}: {seen.code}")
    if entries:
        return Obstacle("adopt_failed", f"{language}: {entries[-1].code}")
    return Obstacle("adopt_not_listed", f"{language}; it lists {_listed(seen.languages)}")


def _listed(languages: tuple[Seen, ...]) -> str:
    return ", ".join(f"{seen.language} {_WORDS[seen.state]}" for seen in languages) or "nothing yet"
