"""Checks whether outputs can be written, before anything is paid: a dub that cannot be saved is wasted money."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING, Final

from synthdub_tui.errors import Trouble
from synthdub_tui.jobs.model import Dub, Job, Output, Part, Scope
from synthdub_tui.jobs.output_paths import output_path
from synthdub_tui.jobs.transitions import download, dub_states, source_changes
from synthdub_tui.runner.threads import in_thread
from synthdub_tui.sources.same_file import Stamp, same_time, same_version
from synthdub_tui.transfer.part_file import disk_trouble, try_part

if TYPE_CHECKING:
    from synthdub_tui.runner.worker_context import Workshop

CAPTIONS: Final = ("srt", "vtt")
"""Extensions of captions files."""

_REFUSALS: Final = {
    errno.ENAMETOOLONG: "name_too_long",
    errno.EINVAL: "name_refused",
    errno.EILSEQ: "name_refused",
    errno.ENOENT: "name_refused",  # from exfat-fuse; `make_folder` has just checked that the folder exists
}
"""Error numbers with which file systems reject a name → problem code."""


async def ready_to_write(shop: Workshop, job_id: str, languages: tuple[str, ...] | None = None) -> tuple[str, ...]:
    """Returns the waiting languages (`languages`, or all unsent ones) whose outputs can be written; the others fail."""
    job = shop.ledger.jobs[job_id]
    ready = []
    for language in languages or job.unsent:
        try:
            await in_thread(make_folder, job)
            if not await shop.claims.holds(job, language):
                raise Trouble("output_claimed", output_path(job.source.path, language, job.outputs))
            await in_thread(_check, job, language)
        except Trouble as trouble:
            job = dub_states.failed(
                shop.ledger.jobs[job_id], language, trouble.code, trouble.detail, Scope.SUBMISSION, shop.now()
            )
            shop.ledger.put(job)
        else:
            ready.append(language)
    if ready:
        mount = await in_thread(_mount_point, os.path.dirname(output_path(job.source.path, "", job.outputs)))
        shop.ledger.put(source_changes.mounted(shop.ledger.jobs[job_id], mount))
    return tuple(ready)


def _check(job: Job, language: str) -> None:
    try:
        try_name(job, language)
        check_writable(job, language)
        check_captions(job, language)
    except OSError as error:
        raise disk_trouble(error) from error


def make_folder(job: Job) -> None:
    """Create the output folder if necessary, and check that its volume is mounted and that it can be written.

    Raises Trouble("output_unmounted" | "output_unwritable").
    """
    if job.mount and not os.path.ismount(job.mount) and (job.outputs or not os.path.lexists(job.source.path)):
        raise Trouble("output_unmounted", job.mount)
    folder = os.path.dirname(output_path(job.source.path, "", job.outputs))
    try:
        if job.outputs:  # never next to a source: a missing folder there means a missing volume
            os.makedirs(folder, exist_ok=True)
        os.stat(folder)
    except OSError as error:
        raise Trouble("output_unwritable", f"{error.strerror}: {folder}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise Trouble("output_unwritable", folder)


def _mount_point(folder: str) -> str:
    """Returns the mount point of the folder's volume; "" for the root volume."""
    path = os.path.realpath(folder)
    while not os.path.ismount(path) and path != "/":
        path = os.path.dirname(path)
    return "" if path == "/" else path


def check_writable(job: Job, language: str) -> None:
    """Check that the output folder can be written and that the final name is free or ours.

    Raises Trouble("output_exists" | "output_unmounted" | "output_unwritable").
    """
    make_folder(job)
    final = output_path(job.source.path, language, job.outputs)
    if os.path.lexists(final) and not is_ours(job.dubs[language], final):
        raise Trouble("output_exists", final)


def try_name(job: Job, language: str) -> None:
    """Check that the file system accepts the output's names, by creating the part file, whose name is the longest.

    An existing part file stays as it is.
    Raises Trouble("name_too_long" | "name_refused" | "output_unwritable" | "disk_full").
    """
    part = f"{output_path(job.source.path, language, job.outputs)}.part"
    try:
        try_part(part)
    except OSError as error:
        code = _REFUSALS.get(error.errno or 0)
        raise Trouble(code, os.path.basename(part)) if code else disk_trouble(error) from error


def check_captions(job: Job, language: str) -> None:
    """Check that the names of captions are free or ours. Raises Trouble("output_exists")."""
    ours = captions_of_ours(job, language)
    for path in _captions_paths(job, language) if job.captions else ():
        if os.path.lexists(path) and path not in ours and not taken_only(os.lstat(path)):
            raise Trouble("output_exists", path)


def is_ours(dub: Dub, path: str) -> bool:
    """Whether the file is the unchanged output of this dub. Only then may it be replaced."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return False
    made = dub.output
    if made is not None and made.path == path and _stands(made, status):
        return True
    noted = [part for part in (dub.part, dub.landed) if part is not None and part.mtime_ns]
    return any(_stands(part, status) or taken_only(status) for part in noted)


def captions_of_ours(job: Job, language: str) -> dict[str, int]:
    """Returns path → time (ns) of the captions that are unchanged since this dub wrote them. Only these may be replaced."""
    found = {}
    for path in _captions_paths(job, language):
        with contextlib.suppress(FileNotFoundError):
            found[path] = os.lstat(path).st_mtime_ns
    ours = download.captions_ns(job.dubs[language])
    return {path: time for path, time in found.items() if any(same_time(time, written) for written in ours)}


def _captions_paths(job: Job, language: str) -> list[str]:
    return [output_path(job.source.path, language, job.outputs, ending) for ending in CAPTIONS]


def taken_only(status: os.stat_result) -> bool:
    """Whether a file is empty, so that replacing it loses nothing.

    On file systems without hard links, a run may end after it has reserved a name and before the file gets its content.
    """
    return stat.S_ISREG(status.st_mode) and status.st_size == 0


def landed(dub: Dub, status: os.stat_result) -> bool:
    """Whether a file is this dub's complete part file, perhaps under its final name since just before a crash."""
    return dub.part is not None and dub.part.mtime_ns != 0 and _stands(dub.part, status)


def _stands(made: Output | Part, status: os.stat_result) -> bool:
    return same_version(Stamp(made.size, made.mtime_ns), Stamp(status.st_size, status.st_mtime_ns))
