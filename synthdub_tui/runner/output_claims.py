"""Decides within one batch which job writes an output if several sources lead to the same name, perhaps in different case."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping

from synthdub_tui.files import path_key
from synthdub_tui.jobs.model import Job
from synthdub_tui.jobs.output_paths import output_path
from synthdub_tui.runner.threads import in_thread
from synthdub_tui.transfer.part_file import disk_error


class OutputClaims:
    """Remembers which job asked for an output first. `jobs`: all jobs of the batch by id, kept up to date by the caller."""

    def __init__(self, jobs: Mapping[str, Job]) -> None:
        self._jobs = jobs
        # By folder and name of the outputs, ignoring case, then by language: one path per output would take tens of megabytes.
        self._owners: dict[str, dict[str, str]] = {}
        self._later: dict[tuple[str, str], list[str]] = {}

    def claim_all(self, job: Job) -> None:
        """Claim all outputs of a job."""
        name = path_key(_outputs(job))
        for language in job.dubs:
            self._claim(name, language, job.id)

    def release(self, job: Job, languages: Iterable[str]) -> None:
        """Release the job's claims on these outputs; the job that asked next may write them."""
        name = path_key(_outputs(job))
        firsts = self._owners.get(name, {})
        for language in languages:
            heirs = [other for other in self._later.pop((name, language), ()) if other != job.id]
            if firsts.get(language) == job.id:
                del firsts[language]
                if heirs:
                    firsts[language] = heirs.pop(0)
            if heirs:
                self._later[name, language] = heirs
        if not firsts:
            self._owners.pop(name, None)

    async def may_write(self, job: Job, language: str) -> bool:
        """Whether the job may write this output, which is the job that asked first.

        If names differ only in case, tries in the output folder, which must exist, whether case matters. Raises
        ProblemError("output_unwritable" | "disk_full") if that is impossible.
        """
        path = _outputs(job)
        rivals = [_outputs(self._jobs[other]) for other in self._claim(path_key(path), language, job.id)]
        if not rivals or path in rivals:
            return not rivals
        return not await in_thread(ignores_case, os.path.dirname(path))

    def _claim(self, name: str, language: str, job_id: str) -> list[str]:
        """Claim an output. Returns the ids of jobs that asked before and still write it."""
        firsts = self._owners.setdefault(name, {})
        first = firsts.setdefault(language, job_id)
        if first == job_id:
            return []
        asked = dict.fromkeys((first, *self._later.get((name, language), ()), job_id))
        here = [other for other in asked if other == job_id or self._writes(other, name)]
        firsts[language], self._later[name, language] = here[0], here[1:]
        return here[: here.index(job_id)]

    def _writes(self, job_id: str, name: str) -> bool:
        """Whether the job still writes outputs of this name: it may have another output folder by now."""
        return job_id in self._jobs and path_key(_outputs(self._jobs[job_id])) == name


def ignores_case(folder: str) -> bool:
    """Whether names in the folder that differ only in case are one file, as usual on macOS, FAT and some network file systems.

    Creates a temporary file to find out. The folder's own name would not show it at the root of a volume, nor inodes in file
    systems in user space. Raises ProblemError("output_unwritable" | "disk_full").
    """
    try:
        handle, path = tempfile.mkstemp(prefix=".synthdub-", dir=folder)
        try:
            os.close(handle)
            return os.path.lexists(os.path.join(folder, os.path.basename(path).upper()))
        finally:
            os.unlink(path)
    except OSError as error:
        raise disk_error(error) from None


def _outputs(job: Job) -> str:
    """Returns folder and name of a job's outputs, without language and extension."""
    return output_path(job.source.path, "", job.outputs)
