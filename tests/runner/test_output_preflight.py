"""Whether outputs can be written, asked before anything is paid; and what is ours."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec.structs import replace

from synthdub_tui.errors import ProblemError
from synthdub_tui.jobs.model import DubState, FailureScope, Job, Output, PartRecord
from synthdub_tui.jobs.transitions import submission, upload
from synthdub_tui.runner import output_claims
from synthdub_tui.runner.backoff import Backoff
from synthdub_tui.runner.live_jobs import LiveJobs
from synthdub_tui.runner.output_preflight import check_name_accepted, check_writable, is_own_output, select_writable_languages
from synthdub_tui.runner.transfer_stats import TransferStats
from synthdub_tui.runner.worker_context import WorkerContext
from synthdub_tui.sources.add_file import BatchOptions, add_file
from synthdub_tui.sources.job_index import JobIndex
from synthdub_tui.sources.scan import FoundVideo, find_sources
from synthdub_tui.store.job_store import JobStore
from tests.jobs.factories import DE, ES, FR, NOW, done_job, downloading_job, queued_job


def job_of_new_video(path: Path, *targets: str, output_dir: str = "") -> Job:
    """The job of a video that is made on the spot."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"video")
    (found,) = find_sources([str(path)], recursive=True)
    assert isinstance(found, FoundVideo)
    admitted = add_file(JobIndex({}), found, BatchOptions(targets=targets or (FR,), output_dir=output_dir), NOW)
    assert not hasattr(admitted, "code")
    return cast(Any, admitted).job


def problem_of(job: Job, language: str = FR, check: Callable[[Job, str], None] = check_writable) -> ProblemError:
    with pytest.raises(ProblemError) as caught:
        check(job, language)
    return caught.value


def output_file(path: Path) -> Output:
    status = path.stat()
    return Output.of(str(path), status.st_size, status.st_mtime_ns)


# -- one output ----------------------------------------------------------------------------------------------------------


def test_the_output_folder_is_made(tmp_path: Path) -> None:
    check_writable(job_of_new_video(tmp_path / "in/a.mp4", output_dir=str(tmp_path / "out/deep")), FR)
    assert (tmp_path / "out/deep").is_dir()


def test_a_file_that_is_not_ours_is_never_overwritten(tmp_path: Path) -> None:
    job = job_of_new_video(tmp_path / "a.mp4")
    (tmp_path / "a.dubbed-fr-FR.mp4").write_bytes(b"somebody's")
    assert problem_of(job).code == "output_exists"


@pytest.mark.parametrize("kind", ["folder", "dangling link"])
def test_anything_under_that_name_counts(tmp_path: Path, kind: str) -> None:
    job = job_of_new_video(tmp_path / "a.mp4")
    final = tmp_path / "a.dubbed-fr-FR.mp4"
    final.mkdir() if kind == "folder" else final.symlink_to(tmp_path / "none")
    assert problem_of(job).code == "output_exists"


def test_our_own_output_of_an_older_version_may_be_replaced(tmp_path: Path) -> None:
    job = job_of_new_video(tmp_path / "a.mp4")
    final = tmp_path / "a.dubbed-fr-FR.mp4"
    final.write_bytes(b"ours")
    job = replace(job, dubs={FR: replace(job.dubs[FR], output=output_file(final))})
    check_writable(job, FR)
    final.write_bytes(b"ours, cut by somebody since")
    assert problem_of(job).code == "output_exists"


def test_what_is_ours(tmp_path: Path) -> None:
    final = tmp_path / "x.mp4"
    final.write_bytes(b"ours")
    made = output_file(final)
    dub = replace(done_job(FR).dubs[FR], output=made)
    assert is_own_output(dub, str(final))
    assert not is_own_output(dub, str(tmp_path / "none.mp4"))
    assert not is_own_output(replace(dub, output=replace(made, stem="/else")), str(final))
    assert not is_own_output(replace(dub, output=Output.of(made.path, made.size, made.mtime_ns + 2_000_000_000)), str(final))
    assert not is_own_output(replace(dub, output=None), str(final))


def test_a_part_that_got_its_final_name_just_before_a_crash_is_ours(tmp_path: Path) -> None:
    final = tmp_path / "x.mp4"
    final.write_bytes(b"ours")
    made = output_file(final)
    dub = downloading_job(FR).dubs[FR]
    assert is_own_output(replace(dub, part=PartRecord(made.size, '"tag"', made.mtime_ns)), str(final))
    assert not is_own_output(replace(dub, part=PartRecord(made.size, '"tag"', 0)), str(final))
    assert not is_own_output(replace(dub, part=PartRecord(made.size + 1, '"tag"', made.mtime_ns)), str(final))


def test_a_name_that_is_too_long_for_the_file_system(tmp_path: Path) -> None:
    job = job_of_new_video(tmp_path / ("a" * 240 + ".mp4"))
    assert problem_of(job, check=check_name_accepted).code == "name_too_long"


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.EINVAL, "name_refused"),
        (errno.EILSEQ, "name_refused"),
        (errno.ENOENT, "name_refused"),
        (errno.ENOSPC, "disk_full"),
    ],
)
def test_a_name_that_the_file_system_does_not_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: str
) -> None:
    """As FAT and Windows shares refuse some characters, each in its way."""
    job, genuine = job_of_new_video(tmp_path / "what?.mp4"), os.open

    def refuse(path: str, flags: int, *more: int) -> int:
        if flags & os.O_CREAT and "?" in path:
            raise OSError(number, os.strerror(number))
        return genuine(path, flags, *more)

    monkeypatch.setattr(os, "open", refuse)
    assert problem_of(job, check=check_name_accepted).code == code


def test_trying_a_name_leaves_nothing_and_touches_nothing(tmp_path: Path) -> None:
    job = job_of_new_video(tmp_path / "a.mp4")
    check_name_accepted(job, FR)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    part = tmp_path / "a.dubbed-fr-FR.mp4.part"
    part.write_bytes(b"half of it")
    check_name_accepted(job, FR)
    assert part.read_bytes() == b"half of it"
    part.unlink()
    part.symlink_to(tmp_path / "nowhere")
    assert problem_of(job, check=check_name_accepted).code == "output_unwritable"


def test_a_folder_of_sources_that_is_gone_is_not_made_anew(tmp_path: Path) -> None:
    """Its volume is not mounted: the outputs would go to another one, and be hidden when it is mounted again."""
    job = job_of_new_video(tmp_path / "volume/talks/a.mp4")
    (tmp_path / "volume/talks/a.mp4").unlink()
    (tmp_path / "volume/talks").rmdir()
    assert problem_of(job).code == "output_unwritable"
    assert not (tmp_path / "volume/talks").exists()


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.ENOTDIR])
def test_a_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    job = job_of_new_video(tmp_path / "a.mp4", output_dir=str(tmp_path / "out"))

    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "makedirs", refuse)
    found = problem_of(job)
    assert (found.code, found.detail) == ("output_unwritable", f"{os.strerror(code)}: {tmp_path}/out")


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    assert problem_of(job_of_new_video(tmp_path / "a.mp4", output_dir=str(tmp_path / "out"))).code == "output_unwritable"


def test_a_folder_that_is_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = job_of_new_video(tmp_path / "a.mp4")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert problem_of(job).code == "output_unwritable"


# -- all outputs of a job, and claims ------------------------------------------------------------------------------------


@pytest.fixture
async def worker_context(tmp_path: Path) -> WorkerContext:
    store = JobStore(str(tmp_path / "state"))
    store.open()
    nothing = cast(Any, None)
    return WorkerContext(
        live_jobs=LiveJobs(store, lambda error: None),
        client=nothing,
        account_gate=nothing,
        poller=nothing,
        uploader=nothing,
        downloader=nothing,
        transfer_stats=TransferStats(),
        backoff=Backoff(),
        upload_slots=asyncio.Semaphore(1),
        download_slots=asyncio.Semaphore(1),
        on_call_result=lambda trouble: None,
        on_warning=lambda job, trouble: None,
        settle_seconds=0.0,
        receipts=nothing,
        state_dir="",
    )


async def test_what_cannot_be_written_fails_before_it_is_paid_and_the_rest_goes_on(
    tmp_path: Path, worker_context: WorkerContext
) -> None:
    job = job_of_new_video(tmp_path / "a.mp4", FR, ES, DE)
    (tmp_path / "a.dubbed-es-ES.mp4").write_bytes(b"somebody's")
    worker_context.live_jobs.update(job)
    assert await select_writable_languages(worker_context, job.id) == (FR, DE)
    dub = worker_context.live_jobs.jobs[job.id].dubs[ES]
    assert dub.state is DubState.FAILED
    assert dub.failure is not None
    assert (dub.failure.code, dub.failure.scope) == ("output_exists", FailureScope.SUBMISSION)
    await worker_context.live_jobs.close(5)


@pytest.mark.parametrize("kind", ["file", "folder", "dangling link"])
async def test_captions_of_somebody_are_seen_before_anything_is_paid(
    tmp_path: Path, worker_context: WorkerContext, kind: str
) -> None:
    job = job_of_new_video(tmp_path / "a.mp4", FR, ES)
    taken = tmp_path / "a.dubbed-es-ES.vtt"
    {"file": lambda: taken.write_bytes(b"theirs"), "folder": taken.mkdir, "dangling link": lambda: taken.symlink_to("no")}[
        kind
    ]()
    (tmp_path / "a.dubbed-fr-FR.srt").touch()  # nothing in it could be lost
    worker_context.live_jobs.update(job)
    assert await select_writable_languages(worker_context, job.id) == (FR,)
    failure = worker_context.live_jobs.jobs[job.id].dubs[ES].failure
    assert failure is not None
    assert (failure.code, failure.detail) == ("output_exists", str(taken))
    without = replace(job, id="other", outputs=str(tmp_path / "out"), captions=False)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.dubbed-fr-FR.srt").write_bytes(b"theirs")
    worker_context.live_jobs.update(without)
    assert await select_writable_languages(worker_context, "other") == (FR, ES)
    await worker_context.live_jobs.close(5)


@pytest.mark.parametrize(("one", "other"), [("a.mp4", "a.mov"), ("a.webm", "a.MP4")])
async def test_two_sources_with_one_output_name(tmp_path: Path, worker_context: WorkerContext, one: str, other: str) -> None:
    first, second = job_of_new_video(tmp_path / one), job_of_new_video(tmp_path / other)
    for job in (first, second):
        worker_context.live_jobs.update(job)
    assert await select_writable_languages(worker_context, first.id) == (FR,)
    assert await select_writable_languages(worker_context, second.id) == ()
    failure = worker_context.live_jobs.jobs[second.id].dubs[FR].failure
    assert failure is not None
    assert (failure.code, failure.detail) == ("output_claimed", str(tmp_path / "a.dubbed-fr-FR.mp4"))
    await worker_context.live_jobs.close(5)


@pytest.mark.parametrize("ignored", [True, False], ids=["case ignored", "case matters"])
async def test_two_sources_whose_names_differ_in_case_alone(
    tmp_path: Path, worker_context: WorkerContext, monkeypatch: pytest.MonkeyPatch, ignored: bool
) -> None:
    """Also in how an accent is made up. The folder is asked only where it comes to that."""
    asked: list[str] = []
    monkeypatch.setattr(output_claims, "ignores_case", lambda folder: asked.append(folder) or ignored)
    first, second, third = (
        job_of_new_video(tmp_path / name) for name in ("é.mp4", "E\N{COMBINING ACUTE ACCENT}.mov", "other.mp4")
    )
    for job in (first, second, third):
        worker_context.live_jobs.update(job)
    assert [await select_writable_languages(worker_context, job.id) for job in (first, third)] == [(FR,), (FR,)]
    assert asked == []
    assert await select_writable_languages(worker_context, second.id) == (() if ignored else (FR,))
    assert asked == [str(tmp_path)]
    await worker_context.live_jobs.close(5)


async def test_where_outputs_were_to_go(tmp_path: Path, worker_context: WorkerContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mount point without its volume is not written to; a source that is there shows that it is the right place."""
    drive, mounted = tmp_path / "drive", True
    genuine = os.path.ismount
    monkeypatch.setattr(os.path, "ismount", lambda path: mounted if path == str(drive) else genuine(path))
    beside, apart = job_of_new_video(drive / "a.mp4"), job_of_new_video(tmp_path / "b.mp4", output_dir=str(drive / "out"))
    for job in (beside, apart):
        worker_context.live_jobs.update(job)
        assert await select_writable_languages(worker_context, job.id) == (FR,)
        assert worker_context.live_jobs.jobs[job.id].mount == str(drive)
    mounted = False
    assert problem_of(worker_context.live_jobs.jobs[apart.id]).code == "output_unmounted"
    check_writable(worker_context.live_jobs.jobs[beside.id], FR)
    (drive / "a.mp4").unlink()
    assert problem_of(worker_context.live_jobs.jobs[beside.id]).code == "output_unmounted"
    mounted = True
    for job in (beside, apart):
        check_writable(worker_context.live_jobs.jobs[job.id], FR)
    await worker_context.live_jobs.close(5)


async def test_a_job_that_was_given_another_folder_is_in_nobodys_way(tmp_path: Path, worker_context: WorkerContext) -> None:
    """And when it comes back, the other is in its way."""
    first, second = job_of_new_video(tmp_path / "a.mp4"), job_of_new_video(tmp_path / "a.mov")
    for job in (first, second):
        worker_context.live_jobs.update(job)
    assert [await select_writable_languages(worker_context, job.id) for job in (first, second)] == [(FR,), ()]
    worker_context.live_jobs.update(replace(first, outputs=str(tmp_path / "out")))
    worker_context.live_jobs.update(second)
    assert [await select_writable_languages(worker_context, job.id) for job in (first, second)] == [(FR,), (FR,)]
    worker_context.live_jobs.update(first)
    assert await select_writable_languages(worker_context, first.id) == ()
    await worker_context.live_jobs.close(5)


def test_case_matters_here_and_asking_leaves_nothing(tmp_path: Path) -> None:
    """A real file system that ignores it is in `tests/proofs/test_exfat.py`."""
    assert not output_claims.ignores_case(str(tmp_path))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ProblemError, match="cannot be written"):
        output_claims.ignores_case(str(tmp_path / "none"))


async def test_two_folders_into_one_output_folder(tmp_path: Path, worker_context: WorkerContext) -> None:
    out = str(tmp_path / "out")
    first, second = (
        job_of_new_video(tmp_path / "x/a.mp4", output_dir=out),
        job_of_new_video(tmp_path / "y/a.mp4", output_dir=out),
    )
    for job in (first, second):
        worker_context.live_jobs.update(job)
    assert await select_writable_languages(worker_context, first.id) == (FR,)
    assert await select_writable_languages(worker_context, second.id) == ()
    await worker_context.live_jobs.close(5)


async def test_a_request_under_way_is_not_judged(tmp_path: Path, worker_context: WorkerContext) -> None:
    """It may have been paid: what can be written is asked again when it is fetched."""
    job = upload.record_asset_ready(upload.record_asset_created(job_of_new_video(tmp_path / "a.mp4", FR, ES), "a1", NOW), "")
    job = submission.record_intent(job, [FR], "", NOW)
    (tmp_path / "a.dubbed-fr-FR.mp4").write_bytes(b"somebody's")
    worker_context.live_jobs.update(job)
    assert await select_writable_languages(worker_context, job.id) == (ES,)
    assert worker_context.live_jobs.jobs[job.id].dubs[FR].state is DubState.WAITING
    await worker_context.live_jobs.close(5)


def test_a_job_without_waiting_dubs_claims_nothing() -> None:
    assert queued_job(FR).unsent_languages == (FR,)
    assert done_job(FR).unsent_languages == ()
