"""A source at a new place: where its outputs are, and the new places of a whole tree that moved. Looks at the disk."""

from __future__ import annotations

import os
import stat

from msgspec.structs import replace

from synthdub_tui.errors import ProblemError
from synthdub_tui.jobs.model import Job, Output, Source
from synthdub_tui.sources.job_index import JobIndex
from synthdub_tui.sources.same_file import FileStamp, same_version


def path_after_move(path: str, old: str, new: str) -> str | None:
    """Path of a file after `old`, a file or folder, became `new`; None for a file that is neither `old` nor below it."""
    if path == old:
        return new
    below = old.rstrip("/") + "/"
    return os.path.join(new, path[len(below) :]) if path.startswith(below) else None


def find_moved_jobs(known: JobIndex, old: str, new: str) -> list[tuple[Job, str]]:
    """The jobs of files that are `old` or below it, and the path of each after `old` became `new`.

    A path that has a job with the same options is left out: two jobs would become one.
    """
    found = []
    for job in known.jobs.values():
        path = path_after_move(job.source.path, old, new)
        if path is not None and not any(other.options == job.options and other is not job for other in known.find_all(path)):
            found.append((job, path))
    return found


def read_source_at(job: Job, path: str) -> Source:
    """The job's source as it is at `path` now. Only sizes are compared: the user, or a digest, says that the video is the same.

    Raises `ProblemError` ("source_missing", "source_unreadable", "source_other_size") unless a file of the known size is there.
    """
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ProblemError("source_missing", path) from error
    except OSError as error:
        raise ProblemError("source_unreadable", f"{path}: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        raise ProblemError("source_missing", path)
    if status.st_size != job.source.size:
        raise ProblemError("source_other_size", f"{path}: {status.st_size:,} bytes instead of {job.source.size:,}")
    return replace(job.source, path=path, mtime_ns=status.st_mtime_ns)


def find_moved_outputs(job: Job, source: Source, folder: str) -> dict[str, Output]:
    """The outputs, by language, that were moved along when the job's source became `source`, and its outputs those in
    `folder` (empty: next to the source). Others are where they were."""
    before = job.outputs or os.path.dirname(job.source.path)
    after = folder or os.path.dirname(source.path)
    found = {language: _moved_output(dub.output, before, after) for language, dub in job.dubs.items() if dub.output is not None}
    return {language: output for language, output in found.items() if output is not None}


def folder_after_move(folder: str, old: str, new: str) -> str:
    """The folder of outputs after `old` became `new`, if it was moved along; else the same folder."""
    there = path_after_move(folder, old, new) if folder else None
    return there if there is not None and os.path.isdir(there) else folder


def _moved_output(output: Output, before: str, after: str) -> Output | None:
    """The output in the folder `after`; None unless its unchanged file is there."""
    folder, name = os.path.split(output.path)
    path = os.path.join(after, name)
    if folder != before or path == output.path:
        return None
    try:
        status = os.lstat(path)
    except OSError:
        return None
    if not same_version(FileStamp(output.size, output.mtime_ns), FileStamp(status.st_size, status.st_mtime_ns)):
        return None
    return Output.of(
        path,
        output.size,
        output.mtime_ns,
        [_moved_caption(caption, after) for caption in output.captions],
        reviewed=output.reviewed,
        seconds=output.seconds,
        captions_ns=output.captions_ns,
    )


def _moved_caption(caption: str, folder: str) -> str:
    there = os.path.join(folder, os.path.basename(caption))
    return there if os.path.lexists(there) else caption
