"""The checks: what must hold at every moment, whoever was killed, and what must hold at the end."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from synthdub_tui.jobs.model import DubState, Job
from synthdub_tui.jobs.output_paths import output_path
from synthdub_tui.sandbox import media
from synthdub_tui.sandbox.config import SandboxConfig
from synthdub_tui.store.job_store import JobStore
from tests.soak.service_records import PaidRequestRecord

OUTPUT_EXTENSIONS = ("mp4", "srt", "vtt")

TitleAndLanguage = tuple[str, str]
"""Title and language."""


@cache
def expected_output(title: str, language: str, ending: str, seconds: float, padding: int) -> bytes:
    """What the sandbox holds of an output."""
    if ending == "mp4":
        content = media.dubbed_video(title, language, seconds, padding)
        return b"".join(content.pieces(0, content.size))
    return media.captions(title, language, seconds, ending)


class BatchChecker:
    """Looks at a state directory and its outputs between two lives, and remembers what was there."""

    def __init__(self, state: Path, config: SandboxConfig, links: bool = True) -> None:
        self._has_hard_links = (
            links  # without hard links, the final name is taken by an empty file a moment before it gets its content
        )
        self._state = state
        self._store = JobStore(str(state))
        self._config = config
        self._known_languages: dict[str, set[str]] = {}

    def jobs(self) -> list[Job]:
        return self._store.load(set_aside=False).jobs

    def check_now(self) -> Iterator[str]:
        """What is wrong at this moment; nothing may be, even right after a kill."""
        loaded = self._store.load(set_aside=False)
        yield from (f"unreadable state file {file.path}: {file.reason}" for file in loaded.damaged)
        if (self._state / "damaged").exists():
            yield "a state file was set aside"
        yield from self._check_lost_jobs(loaded.jobs)
        for job in loaded.jobs:
            yield from self._check_outputs(job)

    def check_at_end(self) -> Iterator[str]:
        """What is wrong when all the work is over."""
        yield from self.check_now()
        for job in self.jobs():
            yield from (f"{job.name} {lang} is {dub.state}" for lang, dub in job.dubs.items() if dub.state is not DubState.DONE)
        folders = {os.path.dirname(job.source.path) for job in self.jobs()} | {str(self._state), str(self._state / "jobs")}
        for folder in folders:
            yield from (f"left behind: {folder}/{name}" for name in os.listdir(folder) if name.endswith((".part", ".tmp")))

    def _check_lost_jobs(self, jobs: Iterable[Job]) -> Iterator[str]:
        found = {job.id: set(job.dubs) for job in jobs}
        for identity, languages in self._known_languages.items():
            if identity not in found:
                yield f"the state file of {identity} is gone"
            elif not languages <= found[identity]:
                yield f"{identity} lost {languages - found[identity]}"
        self._known_languages = found

    def _check_outputs(self, job: Job) -> Iterator[str]:
        for language, dub in job.dubs.items():
            for ending in OUTPUT_EXTENSIONS:
                path = Path(output_path(job.source.path, language, job.outputs, ending))
                if path.exists():
                    whole = self._expected_output(job, language, ending)
                    found = path.read_bytes()
                    if found != whole and (self._has_hard_links or found or dub.state is DubState.DONE):
                        yield f"{path.name} is not what the service holds ({len(found)} of {len(whole)} bytes)"
                elif dub.state is DubState.DONE:
                    yield f"{job.name} {language} is done without its {ending}"

    def _expected_output(self, job: Job, language: str, ending: str) -> bytes:
        return expected_output(job.options.title, language, ending, self._config.output_seconds, self._config.output_padding)


def find_double_payments(requests: Iterable[PaidRequestRecord], permits: dict[TitleAndLanguage, list[float]]) -> Iterator[str]:
    """Paid requests that followed on one which may have begun the same dub, without the user's permission in between.

    One permission is good for one request that may begin the dub.
    """
    asked: dict[TitleAndLanguage, list[PaidRequestRecord]] = defaultdict(list)
    for request in requests:
        for language in request.languages:
            asked[request.title, language].append(request)
    for dub, sent in asked.items():
        begun: PaidRequestRecord | None = None
        for request in sent:
            if begun is not None and not any(begun.time < at <= request.time for at in permits.get(dub, ())):
                why = f"{begun.endpoint} ({begun.status}, {begun.fault})"
                yield f"{' '.join(dub)} was sent again by {request.endpoint} after {why}"
            if request.may_have_started(dub[1]):
                begun = request
