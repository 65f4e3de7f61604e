"""The source's file changes: it settles, moves, fails, or becomes another version."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from synthdub_tui.jobs.model import NEVER, Dub, DubState, Failure, FailureScope, Job, Output, Source
from synthdub_tui.jobs.transitions.download import own_file_fields
from synthdub_tui.jobs.transitions.dub_states import IllegalTransitionError, fail_dub_alone, update_stage
from synthdub_tui.jobs.transitions.retry import take_next_step
from synthdub_tui.jobs.transitions.submission import close_project


def start_new_version(job: Job, source: Source, targets: Iterable[str], now: float) -> Job:
    """The job for a new version of its source: the named languages start again, with a new asset.

    Outputs of the old version stay known as ours, so that the new ones may replace them. Its projects accept no more languages.
    Raises `IllegalTransitionError` while a submission is in progress.
    """
    fresh = {language: new_waiting_dub(job.dubs.get(language), now) for language in targets}
    if job.submission is not None:
        raise IllegalTransitionError(f"{job.id}: a submission is under way")
    dubs = _mark_outdated(job, source) | fresh
    job = replace(job, source=source, asset=None, uploads=0, version=job.version + 1, dubs=dubs, forced=NEVER)
    for project in job.projects:
        job = close_project(job, project)
    return update_stage(job)


def replace_source(job: Job, source: Source) -> Job:
    """Record that the file is not the one that was uploaded or added: it must be uploaded before anything more is paid for.

    Waiting dubs get the new version, as if nothing had been tried yet. Submitted dubs belong to the old version, and stay.
    """
    sent = job.submission.languages if job.submission else ()
    dubs = _mark_outdated(job, source)
    for language in job.languages_in_state(DubState.WAITING):
        if language in sent:  # if the request fails, the dub waits for the new version like the others
            dubs[language] = replace(dubs[language], next_rung=None, stale=_content_differs(job.source, source), agreed=())
        else:
            dubs[language] = new_waiting_dub(dubs[language], dubs[language].since)
    job = replace(job, source=source, dubs=dubs, projects=dict.fromkeys(job.projects, ""))
    if job.asset is not None:
        job = replace(job, asset=None, uploads=0, version=job.version + 1)
    return update_stage(job)


def new_waiting_dub(old: Dub | None, since: float) -> Dub:
    """A dub for which nothing was tried. Files of the `old` one stay known as ours."""
    return Dub(DubState.WAITING, since, **(own_file_fields(old) if old else {}))


def _mark_outdated(job: Job, source: Source) -> dict[str, Dub]:
    """The dubs, of which those that do not wait are marked as made from an earlier version if the content certainly differs.

    A new time alone marks none: the content may be the same, and would be paid for again.
    """
    if not _content_differs(job.source, source):
        return dict(job.dubs)
    return {lang: dub if dub.state is DubState.WAITING else replace(dub, stale=True) for lang, dub in job.dubs.items()}


def _content_differs(before: Source, source: Source) -> bool:
    """Whether the content certainly differs: in size, or in digest."""
    return source.size != before.size or len({before.digest, source.digest} - {""}) > 1


def update_source_time(job: Job, source: Source) -> Job:
    """Record another time for the same version of the file: a finer one, or the present one."""
    return replace(job, source=source)


def mark_unsettled(job: Job) -> Job:
    """Record that the source may still be being written: its upload waits."""
    return replace(job, unsettled=True)


def mark_settled(job: Job) -> Job:
    """Record that the source no longer changes, or is missing: its upload may take its turn."""
    return replace(job, unsettled=False)


def relocate_source(job: Job, source: Source, folder: str, outputs: Mapping[str, Output], now: float) -> Job:
    """Record that the source is at another place. Outputs go to `folder` (empty: next to the source). `outputs` are those that
    were moved along with it, by language.

    Dubs that failed because the source was missing wait again.
    """
    dubs = {
        language: replace(dub, output=_moved_output(outputs.get(language), dub.output)) for language, dub in job.dubs.items()
    }
    job = replace(job, source=source, outputs=folder, mount="", dubs=dubs)
    for language in job.languages_in_state(DubState.FAILED):
        failure = job.dubs[language].failure
        if failure is not None and failure.code == "source_missing":
            job = take_next_step(job, language, now)
    return update_stage(job)


def _moved_output(there: Output | None, output: Output | None) -> Output | None:
    """The moved output, with the present review mark; else the output as it was."""
    return replace(there, reviewed=output.reviewed) if there is not None and output is not None else output


def record_mount(job: Job, mount: str) -> Job:
    """Record where the volume is mounted on which the outputs belong."""
    return replace(job, mount=mount) if mount != job.mount else job


def fail_unsent_dubs(job: Job, code: str, detail: str, now: float) -> Job:
    """Fail waiting dubs, since nothing more can be submitted; nothing was billed. Skips held dubs and a request in progress."""
    for language in job.unsent_languages:
        job = fail_dub_alone(job, language, Failure(code, FailureScope.SOURCE, now, detail))
    return update_stage(replace(job, asset=None))


def record_digest(job: Job, digest: str) -> Job:
    """Record the digest of the present source, which was read whole."""
    return replace(job, source=replace(job.source, digest=digest))
