"""Checks whether outputs can be written, before anything is paid: a dub that cannot be saved is wasted money."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING, Final

from synthdub_tui.errors import ProblemError
from synthdub_tui.jobs.model import Dub, FailureScope, Job, Output, PartRecord
from synthdub_tui.jobs.output_paths import output_path
from synthdub_tui.jobs.transitions import download, dub_states, source_changes
from synthdub_tui.runner.threads import in_thread
from synthdub_tui.sources.same_file import FileStamp, same_time, same_version
from synthdub_tui.transfer.part_file import check_part_can_be_created, disk_error

if TYPE_CHECKING:
    from synthdub_tui.runner.worker_context import WorkerContext

CAPTION_EXTENSIONS: Final = ("srt", "vtt")
"""Extensions of captions files."""

_NAME_ERROR_CODES: Final = {
    errno.ENAMETOOLONG: "name_too_long",
    errno.EINVAL: "name_refused",
    errno.EILSEQ: "name_refused",
    errno.ENOENT: "name_refused",  # from exfat-fuse; `prepare_output_folder` has just checked that the folder exists
}
"""Error numbers with which file systems reject a name → problem code."""


async def select_writable_languages(
    context: WorkerContext, job_id: str, languages: tuple[str, ...] | None = None
) -> tuple[str, ...]:
    """Returns the waiting languages (`languages`, or all unsent ones) whose outputs can be written; the others fail."""
    job = context.live_jobs.jobs[job_id]
    ready = []
    for language in languages or job.unsent_languages:
        try:
            await in_thread(prepare_output_folder, job)
            if not await context.output_claims.may_write(job, language):
                raise ProblemError("output_claimed", output_path(job.source.path, language, job.outputs))
            await in_thread(_check, job, language)
        except ProblemError as trouble:
            job = dub_states.fail_dub(
                context.live_jobs.jobs[job_id], language, trouble.code, trouble.detail, FailureScope.SUBMISSION, context.now()
            )
            context.live_jobs.update(job)
        else:
            ready.append(language)
    if ready:
        mount = await in_thread(_mount_point, os.path.dirname(output_path(job.source.path, "", job.outputs)))
        context.live_jobs.update(source_changes.record_mount(context.live_jobs.jobs[job_id], mount))
    return tuple(ready)


def _check(job: Job, language: str) -> None:
    try:
        check_name_accepted(job, language)
        check_writable(job, language)
        check_captions(job, language)
    except OSError as error:
        raise disk_error(error) from error


def prepare_output_folder(job: Job) -> None:
    """Create the output folder if necessary, and check that its volume is mounted and that it can be written.

    Raises ProblemError("output_unmounted" | "output_unwritable").
    """
    if job.mount and not os.path.ismount(job.mount) and (job.outputs or not os.path.lexists(job.source.path)):
        raise ProblemError("output_unmounted", job.mount)
    folder = os.path.dirname(output_path(job.source.path, "", job.outputs))
    try:
        if job.outputs:  # never next to a source: a missing folder there means a missing volume
            os.makedirs(folder, exist_ok=True)
        os.stat(folder)
    except OSError as error:
        raise ProblemError("output_unwritable", f"{error.strerror}: {folder}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ProblemError("output_unwritable", folder)


def _mount_point(folder: str) -> str:
    """Returns the mount point of the folder's volume; "" for the root volume."""
    path = os.path.realpath(folder)
    while not os.path.ismount(path) and path != "/":
        path = os.path.dirname(path)
    return "" if path == "/" else path


def check_writable(job: Job, language: str) -> None:
    """Check that the output folder can be written and that the final name is free or ours.

    Raises ProblemError("output_exists" | "output_unmounted" | "output_unwritable").
    """
    prepare_output_folder(job)
    final = output_path(job.source.path, language, job.outputs)
    if os.path.lexists(final) and not is_own_output(job.dubs[language], final):
        raise ProblemError("output_exists", final)


def check_name_accepted(job: Job, language: str) -> None:
    """Check that the file system accepts the output's names, by creating the part file, whose name is the longest.

    An existing part file stays as it is.
    Raises ProblemError("name_too_long" | "name_refused" | "output_unwritable" | "disk_full").
    """
    part = f"{output_path(job.source.path, language, job.outputs)}.part"
    try:
        check_part_can_be_created(part)
    except OSError as error:
        code = _NAME_ERROR_CODES.get(error.errno or 0)
        raise ProblemError(code, os.path.basename(part)) if code else disk_error(error) from error


def check_captions(job: Job, language: str) -> None:
    """Check that the names of captions are free or ours. Raises ProblemError("output_exists")."""
    ours = find_own_captions(job, language)
    for path in _captions_paths(job, language) if job.captions else ():
        if os.path.lexists(path) and path not in ours and not is_reserved_name(os.lstat(path)):
            raise ProblemError("output_exists", path)


def is_own_output(dub: Dub, path: str) -> bool:
    """Whether the file is the unchanged output of this dub. Only then may it be replaced."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return False
    made = dub.output
    if made is not None and made.path == path and _is_unchanged(made, status):
        return True
    noted = [part for part in (dub.part, dub.landed) if part is not None and part.mtime_ns]
    return any(_is_unchanged(part, status) or is_reserved_name(status) for part in noted)


def find_own_captions(job: Job, language: str) -> dict[str, int]:
    """Returns path → time (ns) of the captions that are unchanged since this dub wrote them. Only these may be replaced."""
    found = {}
    for path in _captions_paths(job, language):
        with contextlib.suppress(FileNotFoundError):
            found[path] = os.lstat(path).st_mtime_ns
    ours = download.own_captions_ns(job.dubs[language])
    return {path: time for path, time in found.items() if any(same_time(time, written) for written in ours)}


def _captions_paths(job: Job, language: str) -> list[str]:
    return [output_path(job.source.path, language, job.outputs, ending) for ending in CAPTION_EXTENSIONS]


def is_reserved_name(status: os.stat_result) -> bool:
    """Whether a file is empty, so that replacing it loses nothing.

    On file systems without hard links, a run may end after it has reserved a name and before the file gets its content.
    """
    return stat.S_ISREG(status.st_mode) and status.st_size == 0


def is_complete_part(dub: Dub, status: os.stat_result) -> bool:
    """Whether a file is this dub's complete part file, perhaps under its final name since just before a crash."""
    return dub.part is not None and dub.part.mtime_ns != 0 and _is_unchanged(dub.part, status)


def _is_unchanged(made: Output | PartRecord, status: os.stat_result) -> bool:
    return same_version(FileStamp(made.size, made.mtime_ns), FileStamp(status.st_size, status.st_mtime_ns))
