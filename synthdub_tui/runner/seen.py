"""The service's answers in the words of the domain."""

from __future__ import annotations

from synthdub_tui.jobs.model import ProjectSeen, Seen, SeenState
from synthdub_tui.synthesia.schema import ProjectInfo


def seen_of(info: ProjectInfo) -> ProjectSeen:
    """A project as the domain sees it."""
    languages = tuple(
        Seen(entry.language, SeenState(entry.state.value), entry.video, entry.error_code, entry.oddity)
        for entry in info.languages
    )
    return ProjectSeen(SeenState(info.status.value), info.error_code, languages, info.oddity)
