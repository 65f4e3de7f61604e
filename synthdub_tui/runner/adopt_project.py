"""Adopts a dub from a project of the service that this batch does not know. It reads the project for free and sends nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Final

from synthdub_tui.errors import ProblemError
from synthdub_tui.ipc.protocol import DubRef
from synthdub_tui.jobs.adoption import find_obstacle
from synthdub_tui.jobs.model import DubState, Job, ObservedProject
from synthdub_tui.jobs.transitions import adoption
from synthdub_tui.runner.cross_batch_claims import claim_of
from synthdub_tui.runner.output_preflight import prepare_output_folder
from synthdub_tui.runner.project_observation import to_project_seen
from synthdub_tui.sources.digest import FileChangedError, compute_digest
from synthdub_tui.store import claim_files
from synthdub_tui.store.receipts import PaidContent, Receipts
from synthdub_tui.synthesia.client import SynthesiaClient
from synthdub_tui.synthesia.errors import RequestRejectedError, ServiceUnavailableError
from synthdub_tui.synthesia.rate_gate import TIERS, Priority, RateGate
from synthdub_tui.synthesia.schema import ProjectInfo

_log = logging.getLogger(__name__)

ANSWER_TIMEOUT_SECONDS: Final = 20.0
"""Seconds within which the service must answer: clients wait 30 seconds for the runner."""

RETRY_DELAYS_SECONDS: Final = (0.5, 1.0, 2.0)
"""Seconds before each repeat of a request that was not answered."""


def check_adoptable(jobs: Mapping[str, Job], cell: DubRef) -> None:
    """Raises ProblemError("no_such_job" | "adopt_not_needed") if the dub cannot be adopted, regardless of the service's
    answer."""
    job = jobs.get(cell.job)
    if job is None or cell.language not in job.dubs:
        raise ProblemError("no_such_job", f"{cell.job}:{cell.language}")
    if not adoption.can_adopt(job, cell.language):
        raise ProblemError("adopt_not_needed", job.dubs[cell.language].state.value)


async def get_project(client: SynthesiaClient, project: str) -> ObservedProject:
    """Returns the project as the service lists it.

    Raises ProblemError("adopt_unanswered" | "adopt_unknown_project"), or the refusal of the service, for example of the key.
    """
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_SECONDS):
            return to_project_seen(await _asked(client, project))
    except TimeoutError as error:
        raise ProblemError("adopt_unanswered", f"no answer within {ANSWER_TIMEOUT_SECONDS:.0f} s") from error
    except ServiceUnavailableError as trouble:  # its problem text says that the runner keeps trying, which is not true here
        raise ProblemError("adopt_unanswered", trouble.detail) from trouble
    except RequestRejectedError as refusal:
        if refusal.code == "project_not_found":
            raise ProblemError("adopt_unknown_project", project) from refusal
        raise


def get_project_blocking(api_url: str, key: str, project: str) -> ObservedProject:
    """Like `get_project`, but blocking, for commands while no runner works."""

    async def ask() -> ObservedProject:
        client = SynthesiaClient(api_url, key, RateGate(TIERS["unlimited"]))
        try:
            return await get_project(client, project)
        finally:
            await client.close()

    return asyncio.run(ask())


async def _asked(client: SynthesiaClient, project: str) -> ProjectInfo:
    for pause in RETRY_DELAYS_SECONDS:
        try:
            return await client.get_project(project, priority=Priority.USER)
        except ServiceUnavailableError as trouble:
            if (trouble.retry_after or 0.0) > pause:
                raise  # the user gets the error at once and does not wait so long
            await asyncio.sleep(pause)
    return await client.get_project(project, priority=Priority.USER)


def with_adopted_dub(jobs: Mapping[str, Job], cell: DubRef, project: str, seen: ObservedProject, now: float) -> Job:
    """Returns the job that follows the dub in the project. Raises ProblemError if the dub progressed meanwhile, or is not
    there."""
    check_adoptable(jobs, cell)
    job = jobs[cell.job]
    if (found := find_obstacle(job, cell.language, seen)) is not None:
        raise ProblemError(found.code, found.detail)
    dub = job.dubs[cell.language]
    # The time of submission is not known. A guess that is too early teaches nothing wrong about how long dubs take.
    submitted = dub.since if dub.state is DubState.UNKNOWN else job.added
    return adoption.adopt(job, cell.language, project, min(submitted, now), now)


def claim(job: Job, language: str, batch: str, state_dir: str, now: float) -> None:
    """Claim the output of an adopted dub while no runner works. Keeps the claim of another batch, and ignores a folder that
    cannot be written."""
    with contextlib.suppress(ProblemError):
        prepare_output_folder(job)
        claim_files.claim_output(claim_of(batch, state_dir, job, language, now))


def write_receipt(receipts: Receipts, job: Job, language: str, state_dir: str, now: float) -> None:
    """Write a receipt, so that other batches know that the dub was paid for and in which project it is.

    Blocking: reads the whole source if its content is not known yet. Writes nothing if the source cannot be read, or has
    changed since the dub was submitted.
    """
    dub, source = job.dubs[language], job.source
    if dub.stale:
        return
    try:
        content = PaidContent.from_options(
            source.size, source.digest or compute_digest(source.path, size=source.size), job.options
        )
        known = receipts.find(content)
        if any(each.project == dub.project and each.may_be_paid_for(language) for each in known):
            return
        request = receipts.record_intent(
            content, (language,), at=now, project=dub.project, state_dir=state_dir, file=source.path
        )
        receipts.record_accepted(source.size, request, dub.project)
    except (OSError, FileChangedError) as error:
        _log.info("receipt not written", extra={"job": job.id, "reason": str(error)})
