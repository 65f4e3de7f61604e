"""Translates the service's answers into types of the domain."""

from __future__ import annotations

from synthdub_tui.jobs.model import ObservedLanguage, ObservedProject, ObservedStatus
from synthdub_tui.synthesia.schema import ProjectInfo


def to_project_seen(info: ProjectInfo) -> ObservedProject:
    """Returns a project in the types of the domain."""
    languages = tuple(
        ObservedLanguage(entry.language, ObservedStatus(entry.state.value), entry.video, entry.error_code, entry.unknown_status)
        for entry in info.languages
    )
    return ObservedProject(ObservedStatus(info.status.value), info.error_code, languages, info.unknown_status)
