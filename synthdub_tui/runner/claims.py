"""Which job writes which output: two sources can have outputs of one name, also of names that differ in case alone."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping

from synthdub_tui.jobs.model import Job
from synthdub_tui.jobs.output_paths import output_path
from synthdub_tui.jobs.spelling import one_name
from synthdub_tui.runner.threads import in_thread
from synthdub_tui.transfer.part import disk_trouble


class Claims:
    """Who asked for an output first. `jobs` are all there are."""

    def __init__(self, jobs: Mapping[str, Job]) -> None:
        self._jobs = jobs
        # By folder and name of the outputs, case ignored, and language: a path for each would take tens of megabytes.
        self._first: dict[str, dict[str, str]] = {}
        self._later: dict[tuple[str, str], list[str]] = {}

    def ask_all(self, job: Job) -> None:
        """Ask for all outputs of a job."""
        name = one_name(_outputs(job))
        for language in job.dubs:
            self._ask(name, language, job.id)

    def give_up(self, job: Job, languages: Iterable[str]) -> None:
        """The job writes these outputs no more: who asked next may."""
        name = one_name(_outputs(job))
        firsts = self._first.get(name, {})
        for language in languages:
            heirs = [other for other in self._later.pop((name, language), ()) if other != job.id]
            if firsts.get(language) == job.id:
                del firsts[language]
                if heirs:
                    firsts[language] = heirs.pop(0)
            if heirs:
                self._later[name, language] = heirs
        if not firsts:
            self._first.pop(name, None)

    async def holds(self, job: Job, language: str) -> bool:
        """Whether the job is the one that writes this output; the first to ask is. The folder, which must be there, is asked
        whether case matters where it comes to that. Raises Trouble("output_unwritable" | "disk_full") where that cannot be."""
        path = _outputs(job)
        rivals = [_outputs(self._jobs[other]) for other in self._ask(one_name(path), language, job.id)]
        if not rivals or path in rivals:
            return not rivals
        return not await in_thread(ignores_case, os.path.dirname(path))

    def _ask(self, name: str, language: str, job_id: str) -> list[str]:
        """Those who asked before, and still write there."""
        firsts = self._first.setdefault(name, {})
        first = firsts.setdefault(language, job_id)
        if first == job_id:
            return []
        asked = dict.fromkeys((first, *self._later.get((name, language), ()), job_id))
        here = [other for other in asked if other == job_id or self._writes(other, name)]
        firsts[language], self._later[name, language] = here[0], here[1:]
        return here[: here.index(job_id)]

    def _writes(self, job_id: str, name: str) -> bool:
        """Whether it still does: a job may have been given another output folder since."""
        return job_id in self._jobs and one_name(_outputs(self._jobs[job_id])) == name


def ignores_case(folder: str) -> bool:
    """Whether names that differ in case alone are one file there, as is usual on macOS, and with FAT and some network file
    systems. Told by a file that is made for it: the name of the folder says nothing at the root of a volume, and inodes say
    nothing about file systems in user space. Raises Trouble("output_unwritable" | "disk_full")."""
    try:
        handle, path = tempfile.mkstemp(prefix=".synthdub-", dir=folder)
        try:
            os.close(handle)
            return os.path.lexists(os.path.join(folder, os.path.basename(path).upper()))
        finally:
            os.unlink(path)
    except OSError as error:
        raise disk_trouble(error) from None


def _outputs(job: Job) -> str:
    """Folder and name of a job's outputs."""
    return output_path(job.source.path, "", job.outputs)
