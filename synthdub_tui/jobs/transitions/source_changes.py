"""The source's file changes: it settles, moves, fails, or becomes another version."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from synthdub_tui.jobs.model import NEVER, Dub, DubState, Failure, Job, Output, Scope, Source
from synthdub_tui.jobs.transitions.download import _files_of
from synthdub_tui.jobs.transitions.dub_states import IllegalMove, _ended, _staged
from synthdub_tui.jobs.transitions.retry import _again
from synthdub_tui.jobs.transitions.submission import _closed


def renew(job: Job, source: Source, targets: Iterable[str], now: float) -> Job:
    """The job for a new version of its source: the named languages start again, with a new asset.

    Outputs of the old version stay known as ours, so that the new ones may replace them. Its projects accept no more languages.
    Raises `IllegalMove` while a submission is in progress.
    """
    fresh = {language: _fresh(job.dubs.get(language), now) for language in targets}
    if job.submission is not None:
        raise IllegalMove(f"{job.id}: a submission is under way")
    dubs = _outdated(job, source) | fresh
    job = replace(job, source=source, asset=None, uploads=0, version=job.version + 1, dubs=dubs, forced=NEVER)
    for project in job.projects:
        job = _closed(job, project)
    return _staged(job)


def source_replaced(job: Job, source: Source) -> Job:
    """Record that the file is not the one that was uploaded or added: it must be uploaded before anything more is paid for.

    Waiting dubs get the new version, as if nothing had been tried yet. Submitted dubs belong to the old version, and stay.
    """
    sent = job.submission.languages if job.submission else ()
    dubs = _outdated(job, source)
    for language in job.in_state(DubState.WAITING):
        if language in sent:  # if the request fails, the dub waits for the new version like the others
            dubs[language] = replace(dubs[language], next_rung=None, stale=_another(job.source, source), agreed=())
        else:
            dubs[language] = _fresh(dubs[language], dubs[language].since)
    job = replace(job, source=source, dubs=dubs, projects=dict.fromkeys(job.projects, ""))
    if job.asset is not None:
        job = replace(job, asset=None, uploads=0, version=job.version + 1)
    return _staged(job)


def _fresh(old: Dub | None, since: float) -> Dub:
    """A dub for which nothing was tried. Files of the `old` one stay known as ours."""
    return Dub(DubState.WAITING, since, **(_files_of(old) if old else {}))


def _outdated(job: Job, source: Source) -> dict[str, Dub]:
    """The dubs, of which those that do not wait are marked as made from an earlier version if the content certainly differs.

    A new time alone marks none: the content may be the same, and would be paid for again.
    """
    if not _another(job.source, source):
        return dict(job.dubs)
    return {lang: dub if dub.state is DubState.WAITING else replace(dub, stale=True) for lang, dub in job.dubs.items()}


def _another(before: Source, source: Source) -> bool:
    """Whether the content certainly differs: in size, or in digest."""
    return source.size != before.size or len({before.digest, source.digest} - {""}) > 1


def source_adopted(job: Job, source: Source) -> Job:
    """Record another time for the same version of the file: a finer one, or the present one."""
    return replace(job, source=source)


def unsettled(job: Job) -> Job:
    """Record that the source may still be being written: its upload waits."""
    return replace(job, unsettled=True)


def rested(job: Job) -> Job:
    """Record that the source no longer changes, or is missing: its upload may take its turn."""
    return replace(job, unsettled=False)


def relocated(job: Job, source: Source, folder: str, outputs: Mapping[str, Output], now: float) -> Job:
    """Record that the source is at another place. Outputs go to `folder` (empty: next to the source). `outputs` are those that
    were moved along with it, by language.

    Dubs that failed because the source was missing wait again.
    """
    dubs = {language: replace(dub, output=_at(outputs.get(language), dub.output)) for language, dub in job.dubs.items()}
    job = replace(job, source=source, outputs=folder, mount="", dubs=dubs)
    for language in job.in_state(DubState.FAILED):
        failure = job.dubs[language].failure
        if failure is not None and failure.code == "source_missing":
            job = _again(job, language, now)
    return _staged(job)


def _at(there: Output | None, output: Output | None) -> Output | None:
    """The moved output, with the present review mark; else the output as it was."""
    return replace(there, reviewed=output.reviewed) if there is not None and output is not None else output


def mounted(job: Job, mount: str) -> Job:
    """Record where the volume is mounted on which the outputs belong."""
    return replace(job, mount=mount) if mount != job.mount else job


def source_failed(job: Job, code: str, detail: str, now: float) -> Job:
    """Fail waiting dubs, since nothing more can be submitted; nothing was billed. Skips held dubs and a request in progress."""
    for language in job.unsent:
        job = _ended(job, language, Failure(code, Scope.SOURCE, now, detail))
    return _staged(replace(job, asset=None))


def digest_known(job: Job, digest: str) -> Job:
    """Record the digest of the present source, which was read whole."""
    return replace(job, source=replace(job.source, digest=digest))
