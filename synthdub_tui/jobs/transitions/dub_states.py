"""Every legal change of a job: each function makes the next version from the last. Pure. Illegal changes raise `IllegalMove`.

A paid request goes through `intend` (saved before the request is sent), then exactly one of `created` / `added` (accepted),
`refused` (not accepted, nothing billed), `not_sent` (certainly never arrived) or `unclear` (outcome unknown).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from msgspec.structs import replace

from synthdub_tui.jobs.language_entries import alive, entries_of, own_spelling
from synthdub_tui.jobs.model import (
    LEGAL,
    NEVER,
    OPEN,
    Asset,
    Dub,
    DubState,
    Failure,
    Hold,
    Job,
    Oddity,
    Options,
    Output,
    Part,
    ProjectSeen,
    Refusal,
    Rung,
    Scope,
    Seen,
    SeenState,
    Source,
    Stage,
    Submission,
    WaitsFor,
)
from synthdub_tui.jobs.moderation import MODERATION, is_moderation

ABSENT_LIMIT: Final = 600.0
"""Seconds for which a complete project may fail to list a language before the dub counts as failed."""

STALE_LIMIT: Final = 600.0
"""Seconds for which a project may still list the error of an earlier try after a language was added again."""

ODD_POLLS: Final = 3
"""Polls in a row with an unknown status before the user is informed."""

ODD_LIMIT: Final = 48 * 3600.0
"""Seconds with an unknown status before the dub counts as failed. Moderation by hand takes more than a day."""

UNKNOWN_GRACE: Final = 20.0
"""Seconds after a PUT of unknown outcome in which the project may not list the language although the service accepted it."""

UPLOAD_LIMIT: Final = 3
"""Uploads of one source since the user last acted. Expired credentials and unreadable assets cause automatic repeats."""

NO_AUDIO: Final = "no_audio"
"""Failure of a dub whose source has no sound. A retry agrees to dub it anyway."""

SUBMISSION_UNKNOWN: Final = "submission_unknown"
"""Failure of a dub whose paid request was sent, and whose answer was never read."""

_AGREEABLE: Final = frozenset({NO_AUDIO, SUBMISSION_UNKNOWN})
"""Failures that a retry overrides. The dub records that, since it may be cancelled, or fail again, before it is sent."""

_LOOK_AGAIN: Final = frozenset({"project_not_found", "internal", "status_unknown"})
"""Failures after which a retry first checks the project again."""

_ADOPTABLE: Final = frozenset({DubState.WAITING, DubState.FAILED, DubState.CANCELLED, DubState.UNKNOWN})

_REMOVABLE: Final = frozenset({DubState.DONE, DubState.FAILED, DubState.CANCELLED})

_ASSET_TROUBLE: Final = frozenset({"BrokenAssetUrlError", "asset_not_found"})


class IllegalMove(ValueError):
    """A change that the states do not allow: a bug in this program."""


# -- making jobs -----------------------------------------------------------------------------------------------------


def job_id(path: str, options: Options) -> str:
    """The usual id of a job, safe as a file name: a readable stem, and a digest of absolute path and options."""
    stem = path.rpartition("/")[2].rpartition(".")[0]
    readable = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")[:32].strip("-") or "video"
    parts = (path, options.source_language, options.title, options.lipsync, options.video_duration, options.visibility)
    import hashlib  # noqa: PLC0415 - not needed for the dashboard's first frame

    digest = hashlib.sha256("\0".join(map(str, parts)).encode("utf-8", "surrogateescape"))
    return f"{readable}-{digest.hexdigest()[:12]}"


def new_job(
    source: Source, options: Options, targets: Iterable[str], *, now: float, outputs: str = "", captions: bool = True
) -> Job:
    """A job for which nothing was done yet."""
    dubs = {language: Dub(DubState.WAITING, now) for language in targets}
    return Job(job_id(source.path, options), source, options, now, dubs, outputs=outputs, captions=captions)


def add_targets(job: Job, targets: Iterable[str], now: float) -> Job:
    """The job with further languages. Languages that it has keep their state."""
    new = {language: Dub(DubState.WAITING, now) for language in targets if language not in job.dubs}
    return _staged(replace(job, dubs=job.dubs | new)) if new else job


def named_again(job: Job, targets: Iterable[str], now: float) -> Job:
    """The job with further languages. Languages that were dubbed from an earlier version of the source start again."""
    again = {language for language in targets if language in job.dubs and job.dubs[language].stale}
    if again:
        job = replace(job, dubs=job.dubs | {language: _fresh(job.dubs[language], now) for language in again})
    return _staged(add_targets(job, targets, now))


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


# -- the source at the service ---------------------------------------------------------------------------------------


def preparing(job: Job) -> Job:
    """Record that an upload slot is free, and that the asset is being created."""
    return replace(job, stage=Stage.PREPARING)


def queued_again(job: Job) -> Job:
    """Record that no activity uploads the source any more. A source that is not at the service yet waits for a slot again."""
    return _staged(job, Stage.QUEUED)


def asset_created(job: Job, asset: str, now: float) -> Job:
    """Record that the service created an asset, and waits for the upload."""
    return replace(job, asset=Asset(asset, now), uploads=job.uploads + 1, stage=Stage.UPLOADING)


def asset_uploaded(job: Job, digest: str = "") -> Job:
    """Record that the storage or the service has the whole file. `digest` is that of the sent bytes, empty if not known."""
    if digest:
        job = replace(job, source=replace(job.source, digest=digest))
    return _with_asset(job, uploaded=True)


def asset_ready(job: Job, language: str) -> Job:
    """Record that the service can use the asset. `language` is the detected one, or empty."""
    return _with_asset(job, uploaded=True, ready=True, language=language)


def asset_dropped(job: Job) -> Job:
    """Give up an asset that cannot be used. The next try creates another."""
    return _staged(replace(job, asset=None))


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


def _with_asset(job: Job, **fields: Any) -> Job:
    if job.asset is None:
        raise IllegalMove(f"{job.id} has no asset")
    return _staged(replace(job, asset=replace(job.asset, **fields)))


# -- submissions: the paid calls -------------------------------------------------------------------------------------


def intend(job: Job, languages: Iterable[str], project: str, now: float) -> Job:
    """Record the intent of a paid request: PUT to `project`, or POST if that is empty. Save the job before sending.

    Raises `IllegalMove` if another submission is in progress, or a language is held or not waiting.
    """
    languages = tuple(languages)
    if job.submission is not None:
        raise IllegalMove(f"{job.id} already has a submission under way")
    if not languages or not set(languages) <= set(job.unsent):
        raise IllegalMove(f"{job.id}: only waiting dubs that nothing holds can be submitted")
    asset = job.asset.id if job.asset and not project else ""
    return replace(job, submission=Submission(languages, now, project, asset))


def created(job: Job, project: str, now: float) -> Job:
    """Record that POST /v2/dubbing was accepted. A dub that was cancelled meanwhile stays cancelled, but knows its project.

    Each new project is the time to forget earlier ones. A file that is dubbed again for years would remember hundreds.
    """
    submission = _submission(job)
    job = replace(job, submission=None, projects=job.projects | {project: submission.asset})
    for language in submission.languages:
        job = _accepted(job, language, project, "", now)
    return _staged(replace(job, projects=_of_use(job)))


def _of_use(job: Job) -> dict[str, str]:
    """Projects that may still be polled or get more languages: those that a dub is in, and those of the present asset.

    Others never come back. A dub gets to a project by being in it already, or through the present asset, and the service gives
    each new asset a new id. Not valid while a submission is in progress.
    """
    held = {dub.project for dub in job.dubs.values()}
    asset = job.asset.id if job.asset is not None else None
    return {project: made_from for project, made_from in job.projects.items() if project in held or made_from == asset}


def added(job: Job, videos: Mapping[str, str], refused: Mapping[str, str], now: float) -> Job:
    """Record the answer to PUT /v2/dubbing/{id}. `videos` maps new languages to ids, `refused` maps others to the service's
    words.

    A language in neither was in the project already. So was a refused one that a retry adds again, unless moderation refused
    it. If a check just found its old failure there and nothing newer, the service does not dub it again, so the dub climbs to
    the next rung. Otherwise it is followed like an accepted one.
    """
    submission = _submission(job)
    job = replace(job, submission=None)
    for language in submission.languages:
        dub = job.dubs[language]
        if language in videos:
            job = _accepted(job, language, submission.project, videos[language], now)
        elif language in refused and (dub.next_rung is not Rung.ADD or is_moderation("", refused[language])):
            job = _turned_down(job, language, "language_refused", refused[language], now)
        elif dub.state is not DubState.WAITING:
            continue
        elif dub.erred and dub.checked:
            job = _climbed(job, language)
        else:
            # Trust the project's list from here on, even if it reports an old error: nothing newer was begun.
            job = _accepted(job, language, submission.project, "", now, erred=False, old_video="")
    return _staged(job)


def not_sent(job: Job) -> Job:
    """Record that the request certainly never arrived. Its dubs keep waiting."""
    return _staged(replace(job, submission=None))


def refused(job: Job, code: str, detail: str, languages: Mapping[str, str], now: float) -> Job:
    """Record that the request was not accepted, and nothing was billed.

    If the service names languages, only these fail, and the others are submitted again without them. An asset that it cannot
    read is uploaded again, a bounded number of times. A project that accepts no more languages is left for another: at once if
    the service does not know it, else with the user's retry.
    """
    submission = _submission(job)
    job = replace(job, submission=None)
    named = [language for language in submission.languages if language in languages]
    if not named and is_moderation(code, detail):
        code = MODERATION  # even if said about an asset or a project: never sent again automatically
        job = _refusal_noted(job, submission.languages, "", detail, now)
    if not named and submission.project:
        job = _closed(job, submission.project)
        if code == "project_not_found":
            return _staged(job)
    if not named and code in _ASSET_TROUBLE and job.uploads < UPLOAD_LIMIT:
        return asset_dropped(job)
    for language in named or submission.languages:
        job = _turned_down(job, language, code, languages.get(language) or detail, now)
    return _staged(replace(job, asset=None) if code in _ASSET_TROUBLE else job)


def unclear(job: Job, now: float, detail: str = "") -> Job:
    """Record that the outcome of the request is unknown: only the user decides what happens to its dubs. `detail` describes
    the answer that came instead of the service's."""
    submission = _submission(job)
    job = replace(job, submission=None)
    for language in submission.languages:
        dub = job.dubs[language]
        facts = {
            "project": submission.project,
            "failure": Failure(SUBMISSION_UNKNOWN, Scope.SUBMISSION, now, detail),
            "checked": False,
        }
        if dub.state is DubState.WAITING:
            job = _move(job, language, DubState.UNKNOWN, now, **facts)
        elif dub.state is DubState.CANCELLED:
            job = _with_dub(job, language, replace(dub, **facts))  # a retry must know that it may pay twice
    return _staged(job)


def _submission(job: Job) -> Submission:
    if job.submission is None:
        raise IllegalMove(f"{job.id} has no submission under way")
    return job.submission


def _accepted(job: Job, language: str, project: str, video: str, now: float, **more: Any) -> Job:
    facts = {
        "project": project,
        "video": video,
        "submitted": now,
        "next_rung": None,
        "failure": None,
        "absent_since": NEVER,
        "odd": None,
        "checked": False,
        "agreed": tuple(code for code in job.dubs[language].agreed if code != SUBMISSION_UNKNOWN),  # this one is known
        **more,
    }
    if job.dubs[language].state in (DubState.WAITING, DubState.FAILED, DubState.UNKNOWN):
        return _move(job, language, DubState.DUBBING, now, **facts)
    return _with_dub(job, language, replace(job.dubs[language], **facts))


def _climbed(job: Job, language: str) -> Job:
    """Let the dub wait for a new project, since adding it to its present one cannot help."""
    dub = job.dubs[language]
    facts: dict[str, Any] = {"next_rung": Rung.PROJECT, "tried": (*dub.tried, Rung.PROJECT), "erred": False, "old_video": ""}
    return _with_dub(job, language, replace(dub, **facts))


def _closed(job: Job, project: str) -> Job:
    """Record that the project accepts no more languages. Dubs that wait to be added to it climb to the next rung."""
    if project in job.projects:
        job = replace(job, projects=job.projects | {project: ""})
    for language in (*job.unsent, *job.held):
        dub = job.dubs[language]
        if dub.next_rung is Rung.ADD and dub.project == project:
            job = _climbed(job, language)
    return job


def _turned_down(job: Job, language: str, code: str, words: str, now: float) -> Job:
    """Record that the service refused the language. A dub that was cancelled meanwhile stays cancelled. A refusal by
    moderation is recorded even then, since the content must not be sent again without consent."""
    dub, code = job.dubs[language], MODERATION if is_moderation(code, words) else code
    if dub.state is DubState.WAITING:
        return _ended(job, language, Failure(code, Scope.SUBMISSION, now, words))
    if dub.state is DubState.CANCELLED and code == MODERATION:
        job = _refusal_noted(job, (language,), language, words, now)
        return _with_dub(job, language, replace(job.dubs[language], failure=Failure(code, Scope.SUBMISSION, now, words)))
    return job


# -- what the service says -------------------------------------------------------------------------------------------


def observed(job: Job, project: str, seen: ProjectSeen, now: float) -> Job:
    """Apply the answer to GET /v2/dubbing/{id} to the job's dubs in that project. Of languages that are not requested (any
    more), only refusals by moderation are recorded."""
    job = _verdicts_noted(job, project, seen, now)
    if seen.state is SeenState.ERROR:
        job = _closed(job, project)
    for language, dub in job.dubs.items():
        if dub.project != project:
            continue
        entries = entries_of(seen.languages, language, job.dubs)
        if dub.state is DubState.DUBBING:
            job = _dubbing_observed(job, language, seen, _newest(dub, entries), now)
        elif dub.state is DubState.UNKNOWN:
            job = _unknown_observed(job, language, _newest(dub, entries), now)
    return _staged(job)


def _verdicts_noted(job: Job, project: str, seen: ProjectSeen, now: float) -> Job:
    """Record refusals by moderation that fail no dub in progress: of a whole project whose languages are complete
    nevertheless, and of dubs that were cancelled or removed. A known one is skipped: a project may list it forever."""
    if not _is_of_present(job, project):
        return job
    followed = {lang for lang, dub in job.dubs.items() if dub.state is not DubState.CANCELLED or dub.project != project}
    about = [each.language for each in seen.languages if each.state is SeenState.ERROR and each.code == MODERATION]
    about = [language for language in (own_spelling(each, [*job.dubs]) for each in about) if language not in followed]
    if seen.state is SeenState.ERROR and seen.code == MODERATION:
        about.insert(0, "")
    for each in about:
        if job.refusal(each) is None:
            job = _refusal_noted(job, (), each, "", now)
    return job


def _is_of_present(job: Job, project: str) -> bool:
    """Whether a project with dubs was made from the present version of the source."""
    return any(not dub.stale for dub in job.dubs.values() if dub.project == project)


def looked(job: Job, language: str, project: str, seen: ProjectSeen, now: float) -> Job:
    """Apply what a project lists to a dub that waits to be paid for, and may be in it through an earlier request.

    If the language is running or complete there, the dub is followed, and nothing is sent. If moderation refused it, and the
    user has not agreed to send it again, the dub fails, and nothing is sent either.
    """
    dub, own = job.dubs[language], job.dubs[language].project == project
    entry = _newest(dub, entries_of(seen.languages, language, job.dubs))
    if _there(dub, own, seen, entry):
        return taken_up(job, language, project, dub.submitted if own and dub.submitted else now, now)
    if ended_as(seen, language) == MODERATION and MODERATION not in dub.agreed:
        return failed(job, language, MODERATION, "", Scope.PROJECT if entry is None else Scope.LANGUAGE, now)
    if own and entry is not None and dub.next_rung is Rung.ADD:
        return _with_dub(job, language, replace(dub, erred=True, checked=True, old_video=entry.video))
    return job


def ended_as(seen: ProjectSeen, language: str) -> str:
    """The code under which a project ended the language; empty if it is complete, running, or not listed yet."""
    entries = entries_of(seen.languages, language, (language,))
    living = alive(entries, "")
    if living is not None and (living.state is SeenState.COMPLETE or seen.state is not SeenState.ERROR):
        return ""
    if living is None and entries:
        return entries[-1].code
    return seen.code


def _there(dub: Dub, own: bool, seen: ProjectSeen, entry: Seen | None) -> bool:
    """Whether a project has the language running or complete. A project that just began may not list it yet."""
    if entry is not None and (entry.state is SeenState.COMPLETE or seen.state is SeenState.ERROR):
        return entry.state is SeenState.COMPLETE
    if entry is not None:
        return entry.state is SeenState.RUNNING
    accepted = bool(dub.submitted) and not dub.erred if own else True
    return seen.state is SeenState.RUNNING and accepted


def recalled(job: Job, language: str, project: str, now: float) -> Job:
    """Record into which project the receipts say an unknown request went; empty if they do not know it either."""
    if not project:
        return _with_dub(job, language, replace(job.dubs[language], checked=True))
    return taken_up(job, language, project, job.dubs[language].since, now)


def project_lost(job: Job, project: str, detail: str, now: float) -> Job:
    """Record that the service does not know the project (any more)."""
    job = _closed(job, project)
    for language, dub in job.dubs.items():
        if dub.project == project and dub.state is DubState.DUBBING:
            job = failed(job, language, "project_not_found", detail, Scope.PROJECT, now)
        elif dub.project == project and dub.state is DubState.UNKNOWN:
            job = _with_dub(job, language, replace(dub, checked=True))
    return _staged(job)


def watch_failed(job: Job, project: str, now: float) -> Job:
    """Fail the dubs of a project that a bug in this program kept from being followed. Checking again is free."""
    for language, dub in job.dubs.items():
        if dub.project == project and dub.state is DubState.DUBBING:
            job = failed(job, language, "internal", "", Scope.DOWNLOAD, now)
        elif dub.project == project and dub.state is DubState.UNKNOWN:
            job = _with_dub(job, language, replace(dub, checked=True))
    return _staged(job)


def _dubbing_observed(job: Job, language: str, project: ProjectSeen, seen: Seen | None, now: float) -> Job:
    dub = job.dubs[language]
    if seen is not None and seen.state is SeenState.COMPLETE:  # also in a project that failed: it can be downloaded
        return _move(job, language, DubState.READY, now, video=seen.video, absent_since=NEVER, odd=None, failure=None)
    if project.state is SeenState.ERROR:
        return failed(job, language, project.code, "", Scope.PROJECT, now)
    if seen is None:
        return _absence_observed(_oddity_observed(job, language, project.oddity, now), language, project, now)
    if seen.state is SeenState.ERROR:
        return job if _stale(dub, seen, now) else failed(job, language, seen.code, "", Scope.LANGUAGE, now, video=seen.video)
    if (seen.video or dub.video) != dub.video or dub.absent_since:
        job = _with_dub(job, language, replace(dub, video=seen.video or dub.video, absent_since=NEVER))
    return _oddity_observed(job, language, seen.oddity, now)


def _oddity_observed(job: Job, language: str, word: str, now: float) -> Job:
    """Count the polls with an unknown status, and fail the dub if the status stays too long."""
    dub = job.dubs[language]
    if not word:
        return _with_dub(job, language, replace(dub, odd=None)) if dub.odd else job
    since, polls = (dub.odd.since, dub.odd.polls) if dub.odd else (now, 0)
    odd = Oddity(word, min(since, now), min(polls + 1, ODD_POLLS))
    if odd != dub.odd:
        job = _with_dub(job, language, replace(dub, odd=odd))
    if now - odd.since < ODD_LIMIT:
        return job
    return failed(job, language, "status_unknown", word, Scope.DOWNLOAD, now)


def newly_odd(before: Job, job: Job) -> dict[str, str]:
    """Languages whose unknown status the user must be informed of now → that status."""
    return {
        language: word
        for language, dub in job.dubs.items()
        if (word := unknown_status(dub)) and not (language in before.dubs and unknown_status(before.dubs[language]))
    }


def unknown_status(dub: Dub) -> str:
    """The unknown status that the service reports for a dub; empty until it was reported `ODD_POLLS` times."""
    return dub.odd.word if dub.odd is not None and dub.odd.polls >= ODD_POLLS and dub.state is DubState.DUBBING else ""


def _absence_observed(job: Job, language: str, project: ProjectSeen, now: float) -> Job:
    dub = job.dubs[language]
    if project.state is not SeenState.COMPLETE or dub.state is not DubState.DUBBING:
        return job
    if not dub.absent_since:
        return _with_dub(job, language, replace(dub, absent_since=now))
    if now - dub.absent_since < ABSENT_LIMIT:
        return job
    return failed(job, language, "missing_in_project", "", Scope.LANGUAGE, now)


def _unknown_observed(job: Job, language: str, seen: Seen | None, now: float) -> Job:
    """Resolve a PUT of unknown outcome from its project, for free: a new entry proves that the service accepted it."""
    dub = job.dubs[language]
    if seen is not None and not _old(dub, seen):
        return _move(job, language, DubState.DUBBING, now, submitted=dub.since, next_rung=None, failure=None)
    if now - dub.since < UNKNOWN_GRACE or dub.checked:
        return job
    return _with_dub(job, language, replace(dub, checked=True))


def _stale(dub: Dub, seen: Seen, now: float) -> bool:
    """Whether an error belongs to an earlier try of the dub."""
    return _old(dub, seen) and now - dub.submitted < STALE_LIMIT


def _old(dub: Dub, seen: Seen) -> bool:
    """Whether an entry may belong to the earlier try, which failed. An entry that is running or complete does not."""
    return dub.erred and seen.state is SeenState.ERROR and seen.video in ("", dub.old_video)


def _newest(dub: Dub, entries: list[Seen]) -> Seen | None:
    """The entry of the dub's last try, if the project lists more than one for its language."""
    known = [entry for entry in entries if dub.video and entry.video == dub.video]
    new = [entry for entry in entries if not _old(dub, entry)]
    return alive(entries, dub.video) or next(iter(known or new or entries), None)


# -- downloads -------------------------------------------------------------------------------------------------------


def download_started(job: Job, language: str, part: Part, now: float) -> Job:
    """Record that the download begins, continues, or begins again under another validator. `part` lets it continue."""
    dub = job.dubs[language]
    if dub.state is DubState.DOWNLOADING:
        return _with_dub(job, language, replace(dub, part=part))
    return _move(job, language, DubState.DOWNLOADING, now, part=part, failure=None)


def landing(job: Job, language: str, size: int, mtime_ns: int) -> Job:
    """Record that the part file is complete and about to get its final name. Size and time then identify it as ours."""
    dub = job.dubs[language]
    etag = dub.part.etag if dub.part else ""
    return _with_dub(job, language, replace(dub, part=Part(size, etag, mtime_ns)))


def captions_landing(job: Job, language: str, times: tuple[int, ...]) -> Job:
    """Record that captions are about to get their final names. `times`: theirs, and those of our captions already there."""
    return _with_dub(job, language, replace(job.dubs[language], captions_ns=times))


def downloaded(job: Job, language: str, output: Output, now: float, *, lacking: Failure | None = None) -> Job:
    """Record that the video is complete on disk, under its final name. `lacking` is why not all of its captions are."""
    dub = job.dubs[language]
    facts = {
        **{"part": None, "landed": None, "captions_ns": (), "output": output.with_captions(captions_ns(dub))},
        **{"failure": lacking, "captions_tries": dub.captions_tries + 1 if lacking else 0},
    }
    return _staged(_move(job, language, DubState.DONE, now, **facts))


def captions_ns(dub: Dub) -> tuple[int, ...]:
    """Modification times of captions that this dub wrote, or is about to write: only these captions are ours."""
    return dub.captions_ns or (dub.output.captions_ns if dub.output is not None else ())


def download_paused(job: Job, language: str, now: float) -> Job:
    """Record that the download stopped. It will continue at the same place."""
    return _move(job, language, DubState.READY, now)


def _landed(dub: Dub) -> Part | None:
    """The file that may have the final name although the dub is not done, since captions are saved after the video."""
    return dub.part if dub.part is not None and dub.part.mtime_ns else dub.landed


def _files_of(dub: Dub) -> dict[str, Any]:
    """Fields that identify which files are ours, so that those of a new version may replace them."""
    return {"output": dub.output, "landed": _landed(dub), "captions_ns": dub.captions_ns}


def reviewed(job: Job, language: str, mark: bool) -> Job:
    """Set or remove the review mark of a finished output."""
    dub = job.dubs[language]
    if dub.output is None:
        raise IllegalMove(f"{job.id} has no output in {language}")
    return _with_dub(job, language, replace(dub, output=replace(dub.output, reviewed=mark)))


# -- ends, and what the user does ------------------------------------------------------------------------------------


def failed(job: Job, language: str, code: str, detail: str, scope: Scope, now: float, **facts: Any) -> Job:
    """End a dub as failed. A refusal by moderation is recorded for as long as the job is known."""
    return _staged(_ended(job, language, Failure(code, scope, now, detail), **facts))


def _ended(job: Job, language: str, failure: Failure, **facts: Any) -> Job:
    """Fail this dub alone. If moderation refused the whole video, its other waiting dubs are not barred yet."""
    job = _move(job, language, DubState.FAILED, failure.at, failure=failure, absent_since=NEVER, **facts)
    if failure.code != MODERATION:
        return job
    about = language if failure.scope in (Scope.LANGUAGE, Scope.SUBMISSION) else ""
    return _refusal_noted(job, (language,), about, failure.detail, failure.at)


def moderated(job: Job, about: str, words: str, now: float) -> Job:
    """Record that moderation refused this content before, in any batch: in the language `about`, or as a whole if that is
    empty."""
    return _staged(_refusal_noted(job, (), about, words, now))


def _refusal_noted(job: Job, sent: Iterable[str], about: str, words: str, now: float) -> Job:
    """Record a refusal by moderation. Earlier consent of the user no longer counts. If all languages in `sent` belong to an
    earlier version of the source, nothing is known about the present one, and nothing is recorded."""
    sent = tuple(sent)
    if sent and all(job.dubs[language].stale for language in sent):
        return job
    dubs = {lang: _not_agreed(dub) if about in ("", lang) else dub for lang, dub in job.dubs.items()}
    fact = Refusal(about, now, job.source.size, job.source.digest, words)
    return replace(job, dubs=dubs, refused=job.refused if job.refusal(about) else (*job.refused, fact))


def _barred(job: Job) -> Job:
    """Fail waiting dubs that moderation refused, except those that the user has agreed since to send."""
    sent = job.submission.languages if job.submission else ()
    for language in job.in_state(DubState.WAITING) if job.refused else ():
        dub, refusal = job.dubs[language], job.refusal(language)
        if refusal is not None and language not in sent and MODERATION not in dub.agreed:
            words = f"not sent, since it was refused before{': ' if refusal.words else ''}{refusal.words}"
            failure = Failure(MODERATION, Scope.SUBMISSION, refusal.at, words)
            job = _move(job, language, DubState.FAILED, dub.since, failure=failure)
    return job


def _not_agreed(dub: Dub) -> Dub:
    """The dub without consent to send what moderation refused: each consent covers one request."""
    return replace(dub, agreed=tuple(code for code in dub.agreed if code != MODERATION)) if MODERATION in dub.agreed else dub


def held(job: Job, language: str, hold: Hold, project: str = "") -> Job:
    """Keep a waiting dub from being submitted until the user decides. `project` is that of an earlier request for it, if known;
    it is polled before the dub is paid for.

    Raises `IllegalMove` if the dub is not waiting, or its request is in progress.
    """
    sent = job.submission is not None and language in job.submission.languages
    if job.dubs[language].state is not DubState.WAITING or sent:
        raise IllegalMove(f"{job.id} {language}: only a waiting dub can be held")
    dub = job.dubs[language]
    return _staged(_with_dub(job, language, replace(dub, hold=hold, project=project or dub.project)))


def taken_up(job: Job, language: str, project: str, submitted: float, now: float) -> Job:
    """Follow a language that was paid for before, in a project that still exists, instead of sending it again."""
    job = replace(job, projects={project: "", **job.projects})
    job = _accepted(job, language, project, "", now, submitted=submitted, erred=False, old_video="")
    return _staged(job)


def adoptable(job: Job, language: str) -> bool:
    """Whether a dub may be followed in a project that the user names: it is neither in progress at the service, nor done."""
    sent = job.submission is not None and language in job.submission.languages
    return job.dubs[language].state in _ADOPTABLE and not sent


def adopted(job: Job, language: str, project: str, submitted: float, now: float) -> Job:
    """Follow the dub in the project that the user named, even if it was cancelled before. Nothing is sent. Earlier tries
    elsewhere no longer count.

    Raises `IllegalMove` unless the dub is `adoptable`.
    """
    if not adoptable(job, language):
        raise IllegalMove(f"{job.id} {language}: under way at the service, or done")
    job = _with_dub(job, language, replace(job.dubs[language], tried=()))
    job = taken_up(job, language, project, submitted, now)
    if job.dubs[language].state is DubState.CANCELLED:
        job = _staged(_move(job, language, DubState.DUBBING, now))
    return job


def recovered(job: Job, language: str, output: Output, project: str, submitted: float, now: float) -> Job:
    """Record that the language was paid for before, and that its finished file is in its place."""
    job = taken_up(job, language, project, submitted, now)
    job = _move(job, language, DubState.READY, now)
    return _staged(_move(job, language, DubState.DONE, now, output=output))


def agreed_to(job: Job, languages: Iterable[str], reason: WaitsFor) -> Job:
    """Record that the user overrides this reason for holding the dubs, whether or not it holds them already."""
    for language in languages:
        job = _agreed(job, language, reason)
    return job


def forced(job: Job, languages: Iterable[str], now: float) -> Job:
    """Record that the user started these dubs again, even if they were paid for before."""
    return replace(agreed_to(job, languages, WaitsFor.ALREADY_PAID), forced=now)


def force_goes_on(job: Job, languages: Iterable[str]) -> bool:
    """Whether some of these dubs were started again with --force-new before, and have not ended yet."""
    dubs = [job.dubs[language] for language in languages if language in job.dubs]
    return job.forced != NEVER and any(dub.state in OPEN | {DubState.UNKNOWN} and not dub.stale for dub in dubs)


def digest_known(job: Job, digest: str) -> Job:
    """Record the digest of the present source, which was read whole."""
    return replace(job, source=replace(job.source, digest=digest))


def hold_released(job: Job, language: str) -> Job:
    """Release the dub from its hold: it waits like any other."""
    return _staged(_with_dub(job, language, replace(job.dubs[language], hold=None)))


def claims_forgotten(job: Job) -> Job:
    """Release dubs that another batch had claimed, so that their claims are checked again: that batch may have ended."""
    for language in job.held:
        hold = job.dubs[language].hold
        if hold is not None and hold.reason is WaitsFor.CLAIMED:
            job = hold_released(job, language)
    return job


def removable(job: Job, language: str) -> bool:
    """Whether the dub has ended, and no paid request for it is waiting for its answer."""
    sent = job.submission is not None and language in job.submission.languages
    return job.dubs[language].state in _REMOVABLE and not sent


def forgets_paid(dub: Dub) -> bool:
    """Whether removing the dub forgets work that was, or may have been, paid for and is not on disk."""
    return dub.state is not DubState.DONE and bool(dub.project or dub.submitted or _unclear(dub))


def removed(job: Job, languages: Iterable[str]) -> Job | None:
    """The job without these dubs; None if none is left. Their files are not touched.

    Raises `IllegalMove` if a dub is not `removable`.
    """
    gone = set(languages)
    if not all(removable(job, language) for language in gone):
        raise IllegalMove(f"{job.id}: only dubs that have ended can be removed")
    left = {language: dub for language, dub in job.dubs.items() if language not in gone}
    return _staged(replace(job, dubs=left)) if left else None


def cancelled(job: Job, language: str, now: float) -> Job:
    """Cancel a dub for the user. The service may continue, and bill. A dub that has ended stays as it is.

    If its outcome was unknown, it stays so for a later retry, which may pay twice. A dub that only downloads captions is done
    again.
    """
    dub = job.dubs[language]
    if dub.state not in OPEN and dub.state is not DubState.UNKNOWN:
        return job
    if _only_captions(dub):
        lacking = Failure("captions_failed", Scope.DOWNLOAD, now, "fetching them was cancelled")
        return _staged(_move(job, language, DubState.DONE, now, part=None, failure=lacking))
    failure = dub.failure if dub.state is DubState.UNKNOWN else None
    return _staged(_move(job, language, DubState.CANCELLED, now, part=None, landed=_landed(dub), failure=failure))


def billed_all_the_same(job: Job, language: str) -> str:
    """Code of the problem that a cancelled dub may be billed; empty if it was refused, or never sent."""
    dub = job.dubs[language]
    if dub.state is not DubState.CANCELLED:
        return ""
    if job.submission is not None and language in job.submission.languages:
        return "cancelled_under_way"
    if dub.failure is not None:
        return dub.failure.code if dub.failure.code == SUBMISSION_UNKNOWN else ""
    return "cancelled_late" if dub.project and dub.next_rung is None else ""


def _only_captions(dub: Dub) -> bool:
    """Whether a done dub is in progress only for its captions: its output is recorded as the part that got the final name."""
    return dub.state in OPEN and dub.output is not None and dub.part == _as_landed(dub.output)


def _as_landed(output: Output) -> Part:
    return Part(output.size, "", output.mtime_ns)


def rung(dub: Dub) -> Rung | None:
    """The cheapest step of a retry that may help this dub; None if there is nothing to retry."""
    match dub.state:
        case DubState.WAITING if dub.hold is not None:
            return Rung.PROJECT if dub.hold.reason in (WaitsFor.ALREADY_PAID, WaitsFor.CLAIMED) else Rung.SUBMIT
        case DubState.UNKNOWN:
            return Rung.ADD if dub.project else Rung.PROJECT
        case DubState.CANCELLED if _unclear(dub):
            return Rung.ADD if dub.project else Rung.PROJECT
        case DubState.CANCELLED if dub.next_rung is not None:
            return dub.next_rung  # cancelled while it waited for that very step
        case DubState.CANCELLED if dub.project:
            return Rung.DOWNLOAD
        case DubState.CANCELLED:
            return Rung.PROJECT if dub.failure is not None else Rung.SUBMIT
        case DubState.DONE:
            return Rung.DOWNLOAD
        case DubState.FAILED if dub.failure is not None:
            return _failed_rung(dub, dub.failure)
        case _:
            return None


def step(job: Job, language: str) -> Rung | None:
    """The step that a retry takes: the dub's rung, or a new project if the dub's project accepts no more languages."""
    dub = job.dubs[language]
    found = rung(dub)
    return Rung.PROJECT if found is Rung.ADD and job.projects.get(dub.project) == "" else found


def _unclear(dub: Dub) -> bool:
    """Whether a request for the dub may have been accepted, although its answer was never read."""
    return dub.failure is not None and dub.failure.code == SUBMISSION_UNKNOWN


def retried(job: Job, language: str, now: float) -> Job:
    """Retry a dub for the user, by its rung, or release a held one.

    For a finished dub, the caller has checked that its file is missing or lacks captions. If the file is there, only the
    captions are downloaded. For a dub that moderation refused, the caller has asked the user.
    """
    if must_not_be_sent(job, language):
        dub = job.dubs[language]
        job = _with_dub(job, language, replace(dub, agreed=_with_agreement(dub, MODERATION)))
    return _again(job, language, now)


def must_not_be_sent(job: Job, language: str) -> bool:
    """Whether a retry would send content that moderation refused. That needs the user's consent to that very dub."""
    dub = job.dubs[language]
    refused = job.refusal(language) is not None or (dub.failure is not None and dub.failure.code == MODERATION)
    return refused and rung(dub) not in (None, Rung.DOWNLOAD)


def _again(job: Job, language: str, now: float) -> Job:
    dub = job.dubs[language]
    if dub.hold is not None:
        return _agreed(_with_dub(job, language, replace(dub, since=now)), language, dub.hold.reason)
    wanted = step(job, language)
    if wanted is None:
        return job
    clean: dict[str, Any] = {"failure": None, "checked": False, "absent_since": NEVER, "agreed": _past_failure(dub)}
    if wanted is Rung.DOWNLOAD:
        lost = dub.state is DubState.CANCELLED or (dub.failure is not None and dub.failure.code in _LOOK_AGAIN)
        tried = _tried(dub, wanted) if lost else dub.tried
        if dub.lacks_captions and dub.output is not None:
            clean["part"] = _as_landed(dub.output)
        return _staged(_move(job, language, DubState.DUBBING if lost else DubState.READY, now, **clean, tried=tried))
    job, clean = replace(job, uploads=0), {**clean, "stale": False}
    if wanted is Rung.UPLOAD and job.asset is not None and job.asset.uploaded:
        job = replace(job, asset=None, version=job.version + 1)
    if wanted is Rung.SUBMIT:
        return _staged(_move(job, language, DubState.WAITING, now, **clean))
    if dub.stale:
        clean["project"] = ""  # it belongs to the earlier version, whose dub is no longer wanted
    climbed = {**clean, "next_rung": wanted, "tried": _tried(dub, wanted), "video": "", **_history(dub, wanted)}
    return _staged(_move(job, language, DubState.WAITING, now, **climbed))


def can_look_for(dub: Dub) -> bool:
    """Whether a free check may find what a retry would pay for: the project was not known, or the request's outcome is not."""
    lost = dub.state is DubState.FAILED and dub.failure is not None and dub.failure.code == "project_not_found"
    return (lost and bool(dub.project)) or dub.state is DubState.UNKNOWN


def looked_for(job: Job, language: str, now: float) -> Job:
    """Check once more for a dub that `can_look_for` selects. Nothing is sent, whatever the check finds."""
    dub = job.dubs[language]
    if dub.state is DubState.UNKNOWN:
        return _with_dub(job, language, replace(dub, checked=False)) if dub.checked else job
    return _staged(_move(job, language, DubState.DUBBING, now, failure=None, checked=False, absent_since=NEVER))


def _agreed(job: Job, language: str, reason: WaitsFor) -> Job:
    """Record that the user overrides this reason for holding the dub, and release it. The reason will not hold it again."""
    dub = job.dubs[language]
    return hold_released(_with_dub(job, language, replace(dub, agreed=_with_agreement(dub, reason.value))), language)


def _past_failure(dub: Dub) -> tuple[str, ...]:
    """What the user has agreed to, including the failure that a retry of this dub overrides."""
    if dub.failure is None or dub.failure.code not in _AGREEABLE:
        return dub.agreed
    return _with_agreement(dub, dub.failure.code)


def _with_agreement(dub: Dub, code: str) -> tuple[str, ...]:
    return dub.agreed if code in dub.agreed else (*dub.agreed, code)


def resumed(job: Job, now: float) -> Job:
    """The job as it continues after a stop or a crash."""
    job = replace(job, dubs={language: _not_ahead(dub, now) for language, dub in job.dubs.items()})
    if job.submission is not None:
        job = unclear(job, min(job.submission.at, now))  # the same time at every read, so that two readers see the same job
    for language in job.in_state(DubState.DOWNLOADING):
        job = download_paused(job, language, now)
    for language in job.in_state(DubState.UNKNOWN):
        job = looked_for(job, language, now)
    return _staged(job, Stage.QUEUED)


def _not_ahead(dub: Dub, now: float) -> Dub:
    """The dub without times in the future, in case the clock was put back: it would not be checked before they come."""
    if max(dub.since, dub.submitted, dub.absent_since) <= now:
        return dub
    since, submitted, absent = (min(at, now) for at in (dub.since, dub.submitted, dub.absent_since))
    return replace(dub, since=since, submitted=submitted, absent_since=absent)


def _history(dub: Dub, step: Rung) -> dict[str, Any]:
    """What the dub's next project may still list about earlier tries."""
    if step is not Rung.ADD:
        return {"erred": False, "old_video": "", "checked": False}
    if dub.failure is None or dub.failure.scope is not Scope.LANGUAGE:
        return {}
    listed = dub.failure.code != "missing_in_project"
    return {"erred": listed, "old_video": dub.video or dub.old_video if listed else ""}


def _tried(dub: Dub, step: Rung) -> tuple[Rung, ...]:
    return dub.tried if step in dub.tried else (*dub.tried, step)


def _failed_rung(dub: Dub, failure: Failure) -> Rung:
    match failure.scope:
        case Scope.DOWNLOAD:
            return Rung.DOWNLOAD
        case Scope.PROJECT if failure.code == "project_not_found" and Rung.DOWNLOAD not in dub.tried:
            return Rung.DOWNLOAD  # it may have been unknown only for a while
        case Scope.SOURCE | Scope.SUBMISSION:
            return dub.next_rung or Rung.SUBMIT
        case Scope.LANGUAGE if Rung.ADD not in dub.tried and Rung.PROJECT not in dub.tried:
            return Rung.ADD
        case _ if Rung.PROJECT not in dub.tried:
            return Rung.PROJECT
        case _:
            return Rung.UPLOAD


# -- shared ----------------------------------------------------------------------------------------------------------


def _move(job: Job, language: str, state: DubState, now: float, **facts: Any) -> Job:
    dub = job.dubs[language]
    if state not in LEGAL[dub.state]:
        raise IllegalMove(f"{job.id} {language}: {dub.state} → {state}")
    dub = replace(dub, state=state, since=now, hold=None, **facts)
    return _with_dub(job, language, dub if state is DubState.WAITING else _not_agreed(dub))


def _with_dub(job: Job, language: str, dub: Dub) -> Job:
    return replace(job, dubs=job.dubs | {language: dub})


def _staged(job: Job, least: Stage | None = None) -> Job:
    """The job with the stage that follows from its facts. Only a running worker knows of a preparation or an upload in
    progress: that stays, or comes from `least`."""
    job = _barred(job)
    stage = _stage(job, least or job.stage)
    return job if stage is job.stage else replace(job, stage=stage)


def _stage(job: Job, current: Stage) -> Stage:
    if not job.open:
        return Stage.ENDED
    if not job.in_state(DubState.WAITING) or (job.asset and job.asset.ready):
        return Stage.DUBBING
    if job.asset is None:
        return Stage.PREPARING if current is Stage.PREPARING else Stage.QUEUED
    if job.asset.uploaded:
        return Stage.PROCESSING
    return Stage.UPLOADING if current is Stage.UPLOADING else Stage.QUEUED
