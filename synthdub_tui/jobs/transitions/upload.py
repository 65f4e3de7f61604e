"""The source at the service: its asset is made, uploaded, ready, or dropped."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from synthdub_tui.jobs.model import Asset, Job, Stage
from synthdub_tui.jobs.transitions.dub_states import IllegalTransitionError, update_stage


def start_preparing(job: Job) -> Job:
    """Record that an upload slot is free, and that the asset is being created."""
    return replace(job, stage=Stage.PREPARING)


def requeue_upload(job: Job) -> Job:
    """Record that no activity uploads the source any more. A source that is not at the service yet waits for a slot again."""
    return update_stage(job, Stage.QUEUED)


def record_asset_created(job: Job, asset: str, now: float) -> Job:
    """Record that the service created an asset, and waits for the upload."""
    return replace(job, asset=Asset(asset, now), uploads=job.uploads + 1, stage=Stage.UPLOADING)


def record_asset_uploaded(job: Job, digest: str = "") -> Job:
    """Record that the storage or the service has the whole file. `digest` is that of the sent bytes, empty if not known."""
    if digest:
        job = replace(job, source=replace(job.source, digest=digest))
    return _update_asset(job, uploaded=True)


def record_asset_ready(job: Job, language: str) -> Job:
    """Record that the service can use the asset. `language` is the detected one, or empty."""
    return _update_asset(job, uploaded=True, ready=True, language=language)


def drop_asset(job: Job) -> Job:
    """Give up an asset that cannot be used. The next try creates another."""
    return update_stage(replace(job, asset=None))


def _update_asset(job: Job, **fields: Any) -> Job:
    if job.asset is None:
        raise IllegalTransitionError(f"{job.id} has no asset")
    return update_stage(replace(job, asset=replace(job.asset, **fields)))
