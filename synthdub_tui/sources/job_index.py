"""Finds the jobs of a batch by path and size of a file on disk. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from synthdub_tui.jobs.model import Job, JobOptions
from synthdub_tui.jobs.transitions import creation


class JobIndex:
    """Finds the job of a file. `jobs` are all jobs, and may change: whoever changes them calls `update`.

    Ids are only names: a job keeps its id when its file moves.
    """

    def __init__(self, jobs: Mapping[str, Job]) -> None:
        self.jobs = jobs
        self._by_path: dict[str, tuple[str, ...]] = {}
        self._by_size: dict[int, dict[str, None]] = {}
        self.note_all(jobs.values())

    def note_all(self, jobs: Iterable[Job]) -> None:
        """Note jobs that are new, or whose files moved or changed."""
        for job in jobs:
            self.update(None, job)

    def update(self, before: Job | None, job: Job) -> None:
        """Note a job that is new or changed. Its earlier entries stay, and are checked when they are found."""
        if before is not None and before.source is job.source:
            return
        ids = self._by_path.get(job.source.path, ())
        if job.id not in ids:
            self._by_path[job.source.path] = (*ids, job.id)
        self._by_size.setdefault(job.source.size, {})[job.id] = None

    def find(self, path: str, options: JobOptions, prefix: str) -> Job | None:
        """The job of the file at this path with these options. `title_prefix` is the beginning of titles."""
        jobs = [job for job in self.find_all(path) if has_options(job, options, prefix)]
        return next((job for job in jobs if job.options == options), jobs[0] if jobs else None)

    def find_all(self, path: str) -> list[Job]:
        """The jobs of the file at this path, whatever their options."""
        found = (self.jobs.get(job_id) for job_id in self._by_path.get(path, ()))
        return [job for job in found if job is not None and job.source.path == path]

    def find_by_size(self, size: int) -> list[Job]:
        """The jobs of files of this many bytes."""
        found = (self.jobs.get(job_id) for job_id in self._by_size.get(size, ()))
        return [job for job in found if job is not None and job.source.size == size]

    def unused_id(self, path: str, options: JobOptions) -> str:
        """An id for a new job. The usual one may belong to a job whose file moved away from this path."""
        usual = free = creation.make_job_id(path, options)
        number = 2
        while free in self.jobs:
            free, number = f"{usual}-{number}", number + 1
        return free


def has_options(job: Job, options: JobOptions, title_prefix: str) -> bool:
    """Whether a job has these options. A renamed file keeps the title that it had when its job was created."""
    if replace(job.options, title="") != replace(options, title=""):
        return False
    if job.options.title == options.title:
        return True
    if job.id == creation.make_job_id(job.source.path, job.options):
        return False  # its file has not moved, so its title is the one that it would get now
    return job.options.title.startswith(f"{title_prefix} - " if title_prefix else "")
