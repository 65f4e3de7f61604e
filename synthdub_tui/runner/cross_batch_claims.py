"""Claims dubs for this batch by files next to the outputs (`store.claim_files`), and holds dubs that another batch claimed."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import socket
from collections.abc import Callable, Iterable
from datetime import datetime

from synthdub_tui.errors import ProblemError
from synthdub_tui.jobs.model import OPEN_STATES, DubState, Hold, Job, WaitReason
from synthdub_tui.jobs.output_paths import output_path
from synthdub_tui.jobs.transitions import holds
from synthdub_tui.runner.live_jobs import LiveJobs
from synthdub_tui.runner.output_preflight import prepare_output_folder
from synthdub_tui.runner.threads import in_thread
from synthdub_tui.store import claim_files
from synthdub_tui.store.claim_files import Claim

_CLAIMABLE = OPEN_STATES | {DubState.UNKNOWN}


class CrossBatchClaims:
    """Makes and releases the claims of one state directory. `batch_id` is its id."""

    def __init__(self, live_jobs: LiveJobs, state_dir: str, now: Callable[[], float]) -> None:
        self.batch_id = ""
        self._live_jobs = live_jobs
        self._state_dir = state_dir
        self._now = now

        self._releasing: set[asyncio.Task[object]] = set()

    async def claim_dubs(self, job_id: str, languages: Iterable[str]) -> bool:
        """Claim these waiting dubs. Returns whether all of them may be sent.

        A dub that another batch has claimed is held for the user, unless the user agreed to dub it anyway.
        """
        languages = tuple(languages)
        await self._live_jobs.wait_until_saved(job_id)  # other batches read it to decide whether the claim is stale
        try:
            await in_thread(prepare_output_folder, self._live_jobs.jobs[job_id])
        except ProblemError:
            return True  # `select_writable_languages` reports why
        for language in languages:
            job = self._live_jobs.jobs[job_id]
            if WaitReason.CLAIMED.value in job.dubs[language].agreed:
                continue
            other = await in_thread(claim_files.claim_output, self._claim(job, language))
            if other is not None and language in self._live_jobs.jobs[job_id].unsent_languages:
                hold = Hold(WaitReason.CLAIMED, self._now(), _describe_claim(other))
                self._live_jobs.update(holds.hold_dub(self._live_jobs.jobs[job_id], language, hold))
        return set(languages) <= set(self._live_jobs.jobs[job_id].unsent_languages)

    async def take_adopted(self, job: Job, language: str) -> None:
        """Claim an adopted dub, so that other batches see who has it. The claim of another batch stays."""
        with contextlib.suppress(ProblemError):  # the download reports what is wrong with the folder
            await in_thread(prepare_output_folder, job)
            await in_thread(claim_files.claim_output, self._claim(job, language))

    def give_back(self, job: Job, language: str) -> None:
        """Release the claim unless the dub is still in progress."""
        dub = self._live_jobs.jobs[job.id].dubs.get(language) if job.id in self._live_jobs.jobs else None
        if dub is None or dub.state not in _CLAIMABLE:
            self._release(job, language)

    def release_ended(self, before: Job, job: Job) -> None:
        """Release the claims of dubs that have ended, or whose output has another path now."""
        for language in _no_longer_claimed(before, job):
            self._release(before, language)

    async def close(self) -> None:
        """Wait until all claims are released, at most one second."""
        if self._releasing:
            await asyncio.wait(self._releasing, timeout=1.0)

    def _release(self, job: Job, language: str) -> None:
        task = asyncio.ensure_future(in_thread(claim_files.release_claim, self._claim(job, language)))
        self._releasing.add(task)
        task.add_done_callback(self._releasing.discard)

    def _claim(self, job: Job, language: str) -> Claim:
        return claim_of(self.batch_id, self._state_dir, job, language, self._now())


def give_back(before: Job, job: Job, batch: str, state_dir: str, now: float) -> None:
    """Release the same claims as `CrossBatchClaims.release_ended`, while no runner works. Blocking."""
    for language in _no_longer_claimed(before, job):
        claim_files.release_claim(claim_of(batch, state_dir, before, language, now))


def _no_longer_claimed(before: Job, job: Job) -> Iterable[str]:
    """Languages whose dub has ended, or whose output has another path now."""
    for language, old in before.dubs.items():
        dub = job.dubs.get(language)
        goes_on = dub is not None and dub.state in _CLAIMABLE and _output(before, language) == _output(job, language)
        if old.state in _CLAIMABLE and not goes_on:
            yield language


def claim_of(batch: str, state_dir: str, job: Job, language: str, now: float) -> Claim:
    """Returns the claim of this user and batch on a dub. `now`: seconds since the epoch."""
    host = socket.gethostname()
    return Claim(
        batch=batch,
        owner=f"{_user()}@{host}",
        host=host,
        state_dir=state_dir,
        job=job.id,
        language=language,
        output=_output(job, language),
        at=now,
    )


def _output(job: Job, language: str) -> str:
    return output_path(job.source.path, language, job.outputs)


def _describe_claim(other: Claim) -> str:
    since = datetime.fromtimestamp(other.at).astimezone().strftime("%Y-%m-%d %H:%M")
    where = f", state directory {other.state_dir}" if other.state_dir else ""
    return f"{other.owner} since {since}{where}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in a container
        return f"user {os.getuid()}"
