"""Decides which activities a job needs, from its facts alone. A worker runs them; a restart decides again."""

from __future__ import annotations

from typing import NamedTuple

from synthdub_tui.jobs.model import Dub, DubState, Job, RetryStep


class Upload(NamedTuple):
    """Upload the source, until its asset is ready to be dubbed."""

    version: int


class Submit(NamedTuple):
    """Send a paid request for waiting dubs: PUT to `project`, or POST for a new project if that is empty."""

    languages: tuple[str, ...]
    project: str


class PollProject(NamedTuple):
    """Follow a project at the service."""

    project: str


class LookUpReceipts(NamedTuple):
    """Find out from receipts what became of a request for a new project whose answer the job does not know."""

    languages: tuple[str, ...]


class Download(NamedTuple):
    """Download a language that is ready."""

    language: str


Activity = Upload | Submit | PollProject | LookUpReceipts | Download


def needed_activities(job: Job) -> list[Activity]:
    """All activities that the job needs now. At most one is a `Submit`, since only one intent is recorded at a time."""
    wanted: list[Activity] = []
    adding = _projects_to_extend(job)
    creating = tuple(lang for lang in job.unsent_languages if lang not in adding)
    if creating and (job.asset is None or not job.asset.ready):
        if not _is_unsettled(job):
            wanted.append(Upload(job.version))
        creating = ()
    if job.submission is not None:
        pass  # one paid request at a time: its answer decides about the next
    elif adding:
        project = next(iter(adding.values()))
        wanted.append(Submit(tuple(lang for lang, where in adding.items() if where == project), project))
    elif creating:
        wanted.append(Submit(creating, ""))
    wanted += [PollProject(project) for project in _projects_to_poll(job)]
    if forgotten := tuple(lang for lang in job.languages_in_state(DubState.UNKNOWN) if _has_unknown_project(job.dubs[lang])):
        wanted.append(LookUpReceipts(forgotten))
    wanted += [Download(language) for language in job.languages_in_state(DubState.READY, DubState.DOWNLOADING)]
    return wanted


def has_begun(job: Job, activity: Activity) -> bool:
    """Whether the activity has left its queue. If so, a pause lets it finish."""
    match activity:
        case Upload():
            return job.asset is not None
        case Submit():
            return job.submission is not None
        case Download(language):
            return job.dubs[language].state is DubState.DOWNLOADING
    return True


def waits_for_settled_source(job: Job) -> bool:
    """Whether the job would be uploaded now if its source no longer changed."""
    return _is_unsettled(job) and any(language not in _projects_to_extend(job) for language in job.unsent_languages)


def _is_unsettled(job: Job) -> bool:
    return job.unsettled and job.asset is None


def extendable_project(job: Job) -> str:
    """The newest project to which languages can be added without a new upload; empty if there is none."""
    asset = job.asset.id if job.asset else None
    return next((project for project, made_from in reversed(job.projects.items()) if made_from == asset), "")


def _projects_to_extend(job: Job) -> dict[str, str]:
    """Waiting languages to add to an existing project → that project."""
    live = extendable_project(job)
    adding = {}
    for language in job.unsent_languages:
        dub = job.dubs[language]
        if dub.next_rung is RetryStep.ADD_LANGUAGE and dub.project:
            adding[language] = dub.project
        elif dub.next_rung is None and live:
            adding[language] = live
    return adding


def _has_unknown_project(dub: Dub) -> bool:
    return not dub.project and not dub.checked


def _projects_to_poll(job: Job) -> list[str]:
    """Projects to poll: those with dubs in progress, and those that may show the outcome of an unknown PUT."""
    watched = [
        dub.project
        for dub in job.dubs.values()
        if dub.project and (dub.state is DubState.DUBBING or (dub.state is DubState.UNKNOWN and not dub.checked))
    ]
    return list(dict.fromkeys(watched))
