"""Adopting a dub that the batch does not follow: which project the user means, and whether it has the language."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from synthdub_tui.jobs.language_entries import entries_of, usable_entry
from synthdub_tui.jobs.model import Job, ObservedLanguage, ObservedProject, ObservedStatus

_UUID: Final = re.compile(r"(?<![0-9a-f])[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?![0-9a-f])", re.ASCII)

_STATE_WORDS: Final = {ObservedStatus.RUNNING: "going on", ObservedStatus.COMPLETE: "complete", ObservedStatus.ERROR: "failed"}


class AdoptionObstacle(NamedTuple):
    """Why a project cannot be adopted: a problem's code, and a detail that may contain the service's words."""

    code: str
    detail: str


def find_project_ids(text: str) -> list[str]:
    """The distinct project ids in the user's text: an id alone, or a URL of Synthesia Studio that contains one."""
    return list(dict.fromkeys(_UUID.findall(text.lower())))


def find_obstacle(job: Job, language: str, seen: ObservedProject) -> AdoptionObstacle | None:
    """Why the job's dub cannot be followed in a project; None if the project has the language running or complete."""
    entries = entries_of(seen.languages, language, job.dubs)
    living = usable_entry(entries, "")
    if living is not None and (living.state is ObservedStatus.COMPLETE or seen.state is not ObservedStatus.ERROR):
        return None
    if seen.state is ObservedStatus.ERROR and (entries or not seen.languages):
        return AdoptionObstacle("adopt_failed", f"{language}: {seen.code}")
    if entries:
        return AdoptionObstacle("adopt_failed", f"{language}: {entries[-1].code}")
    return AdoptionObstacle("adopt_not_listed", f"{language}; it lists {_describe_languages(seen.languages)}")


def _describe_languages(languages: tuple[ObservedLanguage, ...]) -> str:
    return ", ".join(f"{seen.language} {_STATE_WORDS[seen.state]}" for seen in languages) or "nothing yet"
