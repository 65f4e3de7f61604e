"""Translates the service's answers into types of the domain."""

from __future__ import annotations

from synthdub_tui.jobs.model import ProjectSeen, Seen, SeenState
from synthdub_tui.synthesia.schema import ProjectInfo


def seen_of(info: ProjectInfo) -> ProjectSeen:
    """Returns a project in the types of the domain."""
    languages = tuple(
        Seen(entry.language, SeenState(entry.state.value), entry.video, entry.error_code, entry.oddity)
        for entry in info.languages
    )
    return ProjectSeen(SeenState(info.status.value), info.error_code, languages, info.oddity)
