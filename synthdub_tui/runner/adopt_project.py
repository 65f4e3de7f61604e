"""Adopts a dub from a project of the service that this batch does not know. It reads the project for free and sends nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Final

from synthdub_tui.errors import Trouble
from synthdub_tui.ipc.protocol import Cell
from synthdub_tui.jobs.adoption import obstacle
from synthdub_tui.jobs.model import DubState, Job, ProjectSeen
from synthdub_tui.jobs.transitions import adoption
from synthdub_tui.runner.cross_batch_claims import claim_of
from synthdub_tui.runner.output_preflight import make_folder
from synthdub_tui.runner.project_observation import seen_of
from synthdub_tui.sources.digest import FileChangedError, digest_of
from synthdub_tui.store import claim_files
from synthdub_tui.store.receipts import Content, Receipts
from synthdub_tui.synthesia.client import Client
from synthdub_tui.synthesia.errors import Refused, Unavailable
from synthdub_tui.synthesia.rate_gate import TIERS, Priority, Quota
from synthdub_tui.synthesia.schema import ProjectInfo

_log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 20.0
"""Seconds within which the service must answer: clients wait 30 seconds for the runner."""

PAUSES: Final = (0.5, 1.0, 2.0)
"""Seconds before each repeat of a request that was not answered."""


def check(jobs: Mapping[str, Job], cell: Cell) -> None:
    """Raises Trouble("no_such_job" | "adopt_not_needed") if the dub cannot be adopted, regardless of the service's answer."""
    job = jobs.get(cell.job)
    if job is None or cell.language not in job.dubs:
        raise Trouble("no_such_job", f"{cell.job}:{cell.language}")
    if not adoption.adoptable(job, cell.language):
        raise Trouble("adopt_not_needed", job.dubs[cell.language].state.value)


async def look(client: Client, project: str) -> ProjectSeen:
    """Returns the project as the service lists it.

    Raises Trouble("adopt_unanswered" | "adopt_unknown_project"), or the refusal of the service, for example of the key.
    """
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            return seen_of(await _asked(client, project))
    except TimeoutError as error:
        raise Trouble("adopt_unanswered", f"no answer within {LOOK_SECONDS:.0f} s") from error
    except Unavailable as trouble:  # its problem text says that the runner keeps trying, which is not true here
        raise Trouble("adopt_unanswered", trouble.detail) from trouble
    except Refused as refusal:
        if refusal.code == "project_not_found":
            raise Trouble("adopt_unknown_project", project) from refusal
        raise


def look_from_outside(api_url: str, key: str, project: str) -> ProjectSeen:
    """Like `look`, but blocking, for commands while no runner works."""

    async def ask() -> ProjectSeen:
        client = Client(api_url, key, Quota(TIERS["unlimited"]))
        try:
            return await look(client, project)
        finally:
            await client.close()

    return asyncio.run(ask())


async def _asked(client: Client, project: str) -> ProjectInfo:
    for pause in PAUSES:
        try:
            return await client.get_project(project, priority=Priority.USER)
        except Unavailable as trouble:
            if (trouble.retry_after or 0.0) > pause:
                raise  # the user gets the error at once and does not wait so long
            await asyncio.sleep(pause)
    return await client.get_project(project, priority=Priority.USER)


def adopted(jobs: Mapping[str, Job], cell: Cell, project: str, seen: ProjectSeen, now: float) -> Job:
    """Returns the job that follows the dub in the project. Raises Trouble if the dub progressed meanwhile, or is not there."""
    check(jobs, cell)
    job = jobs[cell.job]
    if (found := obstacle(job, cell.language, seen)) is not None:
        raise Trouble(found.code, found.detail)
    dub = job.dubs[cell.language]
    # The time of submission is not known. A guess that is too early teaches nothing wrong about how long dubs take.
    submitted = dub.since if dub.state is DubState.UNKNOWN else job.added
    return adoption.adopted(job, cell.language, project, min(submitted, now), now)


def claim(job: Job, language: str, batch: str, state_dir: str, now: float) -> None:
    """Claim the output of an adopted dub while no runner works. Keeps the claim of another batch, and ignores a folder that
    cannot be written."""
    with contextlib.suppress(Trouble):
        make_folder(job)
        claim_files.claim(claim_of(batch, state_dir, job, language, now))


def note(receipts: Receipts, job: Job, language: str, state_dir: str, now: float) -> None:
    """Write a receipt, so that other batches know that the dub was paid for and in which project it is.

    Blocking: reads the whole source if its content is not known yet. Writes nothing if the source cannot be read, or has
    changed since the dub was submitted.
    """
    dub, source = job.dubs[language], job.source
    if dub.stale:
        return
    try:
        content = Content.of(source.size, source.digest or digest_of(source.path, size=source.size), job.options)
        known = receipts.find(content)
        if any(each.project == dub.project and each.stands_for(language) for each in known):
            return
        request = receipts.intend(content, (language,), at=now, project=dub.project, state_dir=state_dir, file=source.path)
        receipts.accepted(source.size, request, dub.project)
    except (OSError, FileChangedError) as error:
        _log.info("receipt not written", extra={"job": job.id, "reason": str(error)})
