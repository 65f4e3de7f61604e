"""Removing dubs and jobs, by a runner at work and without one: files stay, names become free, clients learn of it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from synthdub_tui import files
from synthdub_tui.ipc import protocol as p
from synthdub_tui.ipc.protocol import DubRef
from synthdub_tui.ipc.server import RunnerServer
from synthdub_tui.ipc.socket_path import socket_path
from synthdub_tui.jobs.model import DubState, Job, Source
from synthdub_tui.jobs.transitions import creation
from synthdub_tui.runner import request_handlers
from synthdub_tui.runner.live_jobs import LiveJobs
from synthdub_tui.runner.output_claims import OutputClaims
from synthdub_tui.sandbox.config import SimulatedFailure
from synthdub_tui.store.job_store import JobStore
from tests.dub_refs import shown_dubs, shown_in_any_state
from tests.jobs.factories import ES, FR, NOW, OPTIONS, cancel_dub, done_job, dubbing_job, job_with_failed_language
from tests.proofs.sandbox_scene import running_batch
from tests.runner.conftest import MakeWorkspace, Workspace

# -- the action ----------------------------------------------------------------------------------------------------------


class RemovalRecorder:
    """Takes note of what is removed."""

    def __init__(self, *jobs: Job) -> None:
        self.jobs = {job.id: job for job in jobs}
        self.dubs: list[str] = []

    def remove(self, *cells: DubRef, forget: bool = False, gone: bool = False) -> request_handlers.RemoveResult:
        meant = shown_dubs(self.jobs, cells or [DubRef(job) for job in self.jobs])
        return request_handlers.remove(
            self.jobs, meant, forget, lambda _, languages: self.dubs.extend(languages), lambda _: gone
        )


def test_what_is_under_way_is_left_and_named() -> None:
    job = cancel_dub(dubbing_job(FR, ES), FR)
    batch = RemovalRecorder(job)
    outcome = batch.remove(forget=True)
    assert (outcome.count, batch.dubs, outcome.under_way) == (1, [FR], [DubRef(job.id, ES)])


def test_what_was_paid_for_is_left_unless_the_user_says_so() -> None:
    batch = RemovalRecorder(job_with_failed_language(FR, ES))
    outcome = batch.remove()
    assert (outcome.count, len(outcome.paid), batch.dubs) == (0, 2, [])
    assert batch.remove(forget=True).count == 2


def test_a_finished_dub_whose_file_is_gone_is_something_paid_too() -> None:
    batch = RemovalRecorder(done_job(FR))
    assert batch.remove(gone=True).paid
    assert batch.remove(gone=False).count == 1


# -- store and ledger ----------------------------------------------------------------------------------------------------


def test_a_deleted_job_is_gone_for_the_next_start_and_deleting_it_again_is_no_error(tmp_path: Path) -> None:
    store = JobStore(str(tmp_path))
    store.open()
    store.save(done_job(FR))
    for _ in range(2):
        store.delete(done_job(FR).id)
    assert JobStore(str(tmp_path)).load().jobs == []


def test_a_removal_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a power failure brings the job back."""
    synced: list[tuple[str, bool]] = []
    store = JobStore(str(tmp_path))
    store.open()
    store.save(done_job(FR))
    file = tmp_path / "jobs" / f"{done_job(FR).id}.toml"
    monkeypatch.setattr(files, "sync_folder", lambda folder: synced.append((folder, file.exists())))
    store.delete(done_job(FR).id)
    assert synced == [(str(tmp_path / "jobs"), False)]


async def test_a_job_that_comes_back_while_its_file_goes_is_saved(tmp_path: Path) -> None:
    store = JobStore(str(tmp_path))
    store.open()
    ledger = LiveJobs(store, lambda _: None)
    told: list[str] = []
    ledger.add_listener(lambda _, job: told.append(f"put {job.name}"), lambda job: told.append(f"removed {job.name}"))
    ledger.update(done_job(FR))
    ledger.remove(done_job(FR).id)
    assert ledger.jobs == {}
    ledger.update(dubbing_job(ES))
    await ledger.close(5.0)
    assert JobStore(str(tmp_path)).load().jobs == [dubbing_job(ES)]
    assert told == ["put intro.mp4", "removed intro.mp4", "put intro.mp4"]


# -- claims --------------------------------------------------------------------------------------------------------------


def named(path: str) -> Job:
    """A job whose outputs go to /out, by the name of its source."""
    return creation.new_job(Source(path, 1, 1, "video/mp4"), OPTIONS, (FR,), now=NOW, outputs="/out")


async def test_a_removed_job_frees_the_names_of_its_outputs() -> None:
    first, second, third = named("/a/intro.mp4"), named("/b/intro.mp4"), named("/c/intro.mp4")
    jobs = {job.id: job for job in (first, second, third)}
    claims = OutputClaims(jobs)
    for job in jobs.values():
        claims.claim_all(job)
    assert not await claims.may_write(second, FR)
    claims.release(first, [FR])
    del jobs[first.id]
    assert await claims.may_write(second, FR) and not await claims.may_write(third, FR)
    jobs[first.id] = first
    claims.claim_all(first)  # it comes back, as the last
    assert await claims.may_write(second, FR) and not await claims.may_write(first, FR)


async def test_one_who_waited_for_a_name_in_vain_is_forgotten_too() -> None:
    first, second = named("/a/intro.mp4"), named("/b/intro.mp4")
    jobs = {job.id: job for job in (first, second)}
    claims = OutputClaims(jobs)
    for job in jobs.values():
        claims.claim_all(job)
    claims.release(second, [FR])
    claims.release(first, [FR])
    assert (claims._owners, claims._later) == ({}, {})


# -- a runner at work ----------------------------------------------------------------------------------------------------


async def test_a_removed_file_is_gone_from_batch_and_disk_and_its_outputs_stay(tmp_path: Path) -> None:
    async with running_batch(tmp_path) as stage:
        await stage.add_videos(stage.write_video(), stage.write_video("other.mp4"), targets=("fr-FR",))
        await stage.wait_until_idle()
        (job,) = [job for job in stage.jobs if job.name == "intro.mp4"]
        assert (
            await stage.runner.remove(shown_dubs(stage.runner.live_jobs.jobs, [DubRef(job.id)]), allow_forgetting=False)
        ).count == 1
        assert [job.name for job in stage.jobs] == ["other.mp4"]
        assert [job.name for job in JobStore(stage.runner.settings.state_dir).load(set_aside=False).jobs] == ["other.mp4"]
        assert (stage.videos / "intro.dubbed-fr-FR.mp4").exists()
        assert stage.runner.idle.is_set()
        assert job.projects.keys().isdisjoint(stage.runner._poller._kept_projects)


async def test_what_was_just_cancelled_can_be_removed_at_once(tmp_path: Path) -> None:
    """Its download, upload or request is still putting its things away, and looks at its job."""
    async with running_batch(tmp_path, dubbing_seconds=(3600.0, 3600.0)) as stage:
        await stage.add_videos(stage.write_video(), targets=("fr-FR", "es-ES"))
        for _ in range(3):
            await asyncio.sleep(0)
        (job,) = stage.jobs
        stage.runner.cancel(shown_in_any_state(stage.runner.live_jobs.jobs, [DubRef(job.id)]))
        removed = await stage.runner.remove(shown_dubs(stage.runner.live_jobs.jobs, [DubRef(job.id)]), allow_forgetting=True)
        assert (removed.count, removed.under_way, stage.jobs) == (2, [], [])
        await stage.wait_until_idle()


async def test_clients_learn_what_was_removed(tmp_path: Path) -> None:
    async with running_batch(tmp_path) as stage:
        await stage.add_videos(stage.write_video(), targets=("fr-FR",))
        await stage.wait_until_idle()
        (job,) = stage.jobs
        server = RunnerServer(stage.runner, on_stop=lambda: None, read_key=lambda: "")
        await server.start()
        try:
            reader, writer = await asyncio.open_unix_connection(str(socket_path(stage.runner.settings.state_dir)))
            for request in (p.SubscribeRequest(id=1), p.RemoveRequest(id=2, cells=(p.ShownDub(job.id, "fr-FR"),))):
                writer.write(p.encode(request))
            heard: list[Any] = []
            while not (heard and isinstance(heard[-1], p.Reply) and heard[-1].id == 2):
                heard.append(p.decode_message(await asyncio.wait_for(reader.readline(), 30)))
            assert heard[-1].result == {"removed": 1, "under_way": 0, "paid": 0}
            assert [message.removed for message in heard if isinstance(message, p.Changes)] == [[job.id]]
            writer.close()
        finally:
            await server.close("done")


async def test_the_parts_of_a_removed_download_go_with_it(tmp_path: Path) -> None:
    async with running_batch(tmp_path) as stage:
        await stage.add_videos(stage.write_video(), targets=("fr-FR",))
        await stage.wait_until_idle()
        (job,) = stage.jobs
        part = stage.videos / "intro.dubbed-fr-FR.mp4.part"
        part.write_bytes(b"half")
        stage.runner.live_jobs.update(_half_downloaded_job(job))
        assert (
            await stage.runner.remove(shown_dubs(stage.runner.live_jobs.jobs, [DubRef(job.id)]), allow_forgetting=True)
        ).count == 1
        assert not part.exists()


async def test_parts_that_a_kill_left_of_a_cancelled_dub_go_with_it(tmp_path: Path) -> None:
    """The cancel was on disk, and the download had not put its things away yet."""
    async with running_batch(tmp_path) as stage:
        await stage.add_videos(stage.write_video(), targets=("fr-FR",))
        await stage.wait_until_idle()
        (job,) = stage.jobs
        part = stage.videos / "intro.dubbed-fr-FR.mp4.part"
        part.write_bytes(b"half")
        left = replace(cancel_dub(dubbing_job(FR), FR), id=job.id, source=job.source)
        stage.runner.live_jobs.update(left)
        assert (
            await stage.runner.remove(shown_dubs(stage.runner.live_jobs.jobs, [DubRef(job.id)]), allow_forgetting=True)
        ).count == 1
        assert not part.exists()


def _half_downloaded_job(job: Job) -> Job:

    from synthdub_tui.jobs.model import Failure as Reason
    from synthdub_tui.jobs.model import FailureScope, PartRecord

    failed = replace(
        job.dubs["fr-FR"],
        state=DubState.FAILED,
        failure=Reason("disk_full", FailureScope.DOWNLOAD, NOW),
        part=PartRecord(10),
        output=None,
    )
    return replace(job, dubs={"fr-FR": failed})


async def test_a_removed_file_that_is_named_again_is_a_new_job(workspace: Workspace) -> None:
    video = workspace.write_video("intro.mp4")
    await workspace.run(video, targets=("fr-FR",))
    (job,) = workspace.jobs()
    JobStore(str(workspace.state)).delete(job.id)
    for made in workspace.videos.glob("*.dubbed-*"):
        made.unlink()
    result = await workspace.run(video, targets=("es-ES",))
    assert result.states("intro.mp4") == {"es-ES": "done"}


async def test_a_failed_file_that_is_removed_no_longer_makes_the_run_fail(make_workspace: MakeWorkspace) -> None:
    bench = make_workspace(failures=(SimulatedFailure(title="bad"),))
    bench.write_video("bad.mp4"), bench.write_video("good.mp4")
    assert (await bench.run(bench.videos, targets=("fr-FR",))).exit_code == 1
    (job,) = [job for job in bench.jobs() if job.name == "bad.mp4"]
    JobStore(str(bench.state)).delete(job.id)
    assert (await bench.run()).exit_code == 0
