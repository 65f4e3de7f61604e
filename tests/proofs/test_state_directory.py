"""The state directory full, read-only, deleted, replaced, shared and newer: nothing is paid for that is not on disk first."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import socket
import stat
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from synthdub_tui import files
from synthdub_tui.errors import ProblemError
from synthdub_tui.ipc.blocking_client import BlockingRunnerClient
from synthdub_tui.ipc.protocol import StatusRequest
from synthdub_tui.ipc.server import RunnerServer
from synthdub_tui.ipc.socket_path import socket_path
from synthdub_tui.jobs.model import SCHEMA_VERSION
from synthdub_tui.runner import live_jobs as ledger_module
from synthdub_tui.runner.runner import Runner
from synthdub_tui.settings.resolve import resolve_settings
from tests.cli.conftest import MakeShell, Shell
from tests.cli.conftest import until as until_blocking
from tests.proofs.conftest import SmallDisk
from tests.proofs.sandbox_scene import PAID_ENDPOINTS, RunningBatch, running_batch, running_runner, settings_flags, until
from tests.runner.conftest import FAST_BACKOFF
from tests.waiting import scale_timeout, wait_for_exit

MakeSmallDisk = Callable[[Path], SmallDisk]
ONE_LANGUAGE: dict[str, Any] = {"targets": ("fr-FR",), "captions": False}


@pytest.fixture(autouse=True)
def fast_write_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "SAVE_RETRY_SECONDS", 0.05)


def count_paid_requests(stage: RunningBatch) -> int:
    return sum(stage.count_calls(endpoint) for endpoint in PAID_ENDPOINTS)


# -- full ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mark", "number", "calls"),
    [
        (b"id = ", errno.ENOSPC, ("POST /v2/assets", 1)),  # nothing can be saved at all
        (b"[asset]", errno.EROFS, ("S3 PutObject", 0)),  # not the asset: nothing is uploaded
        (b"[submission]", errno.EDQUOT, ("POST /v2/dubbing", 0)),  # not the intent: nothing is paid
        (b"[projects]", errno.EIO, ("POST /v2/dubbing", 1)),  # not the answer: paid once, and known as soon as there is room
        (b'"done"', errno.ENOSPC, ("POST /v2/dubbing", 1)),  # not that it is done: then it is not over either
    ],
)
async def test_a_full_disk_at_each_step_of_a_paid_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mark: bytes, number: int, calls: tuple[str, int]
) -> None:
    """The batch stops before the step that must be on disk first, says so, and goes on by itself when there is room."""
    genuine, refused = files.write_durably, 0

    def write(path: str, data: bytes, mode: int = 0o600) -> None:
        nonlocal refused
        if mark in data and path.endswith(".toml") and "/jobs/" in path:
            refused += 1
            raise OSError(number, os.strerror(number))
        genuine(path, data, mode)

    async with running_batch(tmp_path) as stage:
        monkeypatch.setattr(files, "write_durably", write)
        await stage.add_videos(stage.write_video(), **ONE_LANGUAGE)
        await until(lambda: refused >= 4 and stage.shown_problem == "state_unwritable")
        endpoint, most = calls
        assert stage.count_calls(endpoint) <= most
        assert not stage.runner.idle.is_set()
        monkeypatch.setattr(files, "write_durably", genuine)
        await stage.wait_until_idle()
        await until(lambda: stage.shown_problem == "")
        assert stage.dub_states() == {"fr-FR": "done"}
        assert (count_paid_requests(stage), len(stage.sandbox.billed_dubs())) == (1, 1)


async def test_adding_a_file_again_fails_while_its_intent_cannot_be_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would wait for the paid request, which waits for the disk: that is told instead of waited for."""
    genuine = files.write_durably

    def write(path: str, data: bytes, mode: int = 0o600) -> None:
        if b"submission" in data:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        genuine(path, data, mode)

    async with running_batch(tmp_path) as stage:
        monkeypatch.setattr(files, "write_durably", write)
        video = stage.write_video()
        await stage.add_videos(video, **ONE_LANGUAGE)
        await until(lambda: stage.shown_problem == "state_unwritable")
        video.write_bytes(b"another cut of it")
        with pytest.raises(ProblemError) as caught:
            await asyncio.wait_for(stage.add_videos(video, **ONE_LANGUAGE), scale_timeout())
        assert caught.value.code == "state_unwritable"
        monkeypatch.setattr(files, "write_durably", genuine)
        await stage.wait_until_idle()
        await stage.add_videos(video, **ONE_LANGUAGE)
        await stage.wait_until_idle()
        assert stage.dub_states() == {"fr-FR": "done"}
        assert (count_paid_requests(stage), len(stage.sandbox.billed_dubs())) == (2, 2)


async def test_a_real_disk_without_space(tmp_path: Path, make_small_disk: MakeSmallDisk) -> None:
    disk = make_small_disk(tmp_path / "state")
    async with running_batch(tmp_path) as stage:
        filler = disk.fill_up()
        await stage.add_videos(stage.write_video(), **ONE_LANGUAGE)
        await until(lambda: stage.shown_problem == "state_unwritable")
        assert count_paid_requests(stage) == 0
        filler.unlink()
        await stage.wait_until_idle()
        await until(lambda: stage.shown_problem == "")
        assert stage.dub_states() == {"fr-FR": "done"}
        assert list((tmp_path / "state" / "jobs").glob("*.toml"))


async def test_a_real_disk_without_inodes(tmp_path: Path, make_small_disk: MakeSmallDisk) -> None:
    disk = make_small_disk(tmp_path / "state")
    async with running_batch(tmp_path) as stage:
        inodes = os.statvfs(disk.path)
        disk.remount(f"nr_inodes={inodes.f_files - inodes.f_ffree}")
        await stage.add_videos(stage.write_video(), **ONE_LANGUAGE)
        await until(lambda: stage.shown_problem == "state_unwritable")
        assert count_paid_requests(stage) == 0
        disk.remount("nr_inodes=1000")
        await stage.wait_until_idle()
        assert stage.dub_states() == {"fr-FR": "done"}


async def test_a_stop_saves_once_the_disk_has_space_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop tries once more, whenever the next try was due."""
    genuine = files.write_durably

    def write(path: str, data: bytes, mode: int = 0o600) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ledger_module, "SAVE_RETRY_SECONDS", 3600.0)
    async with running_batch(tmp_path) as stage:
        monkeypatch.setattr(files, "write_durably", write)
        await stage.add_videos(stage.write_video(), **ONE_LANGUAGE)
        await until(lambda: stage.shown_problem == "state_unwritable")
        monkeypatch.setattr(files, "write_durably", genuine)
        assert await stage.runner.stop()
        stage.is_stopped = True
    assert list((tmp_path / "state" / "jobs").glob("*.toml"))


async def test_quota_counters_that_cannot_be_saved_are_reported_and_saved_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are told about, tried again, and the trouble ends by itself although no job changes."""
    genuine = files.write_durably

    def write(path: str, data: bytes, mode: int = 0o600) -> None:
        if path.endswith("quota.toml"):
            raise OSError(errno.ENOSPC, "No space left on device")
        genuine(path, data, mode)

    async with running_batch(tmp_path, dubbing_seconds=(3600.0, 3600.0), settings={"poll_interval": 60.0}) as stage:
        monkeypatch.setattr(files, "write_durably", write)
        await stage.add_videos(stage.write_video(), **ONE_LANGUAGE)
        await until(lambda: set(stage.dub_states().values()) == {"dubbing"} and stage.shown_problem == "state_unwritable")
        monkeypatch.setattr(files, "write_durably", genuine)
        await until(lambda: stage.shown_problem == "")


# -- read-only, deleted, replaced ----------------------------------------------------------------------------------------


def test_a_read_only_state_directory(shell: Shell, make_small_disk: MakeSmallDisk) -> None:
    disk = make_small_disk(shell.state)
    disk.remount("ro")
    said = shell.run_batch(str(shell.write_video("intro.mp4")), "--targets", "fr-FR")
    assert (said.exit_code, "state directory cannot be used" in said.err) == (2, True), said
    assert "Traceback" not in said.err
    assert shell.sandbox.journal == []
    disk.remount("rw")
    assert shell.run_batch(str(shell.videos / "intro.mp4"), "--targets", "fr-FR").exit_code == 0


async def test_a_state_directory_deleted_during_a_run(tmp_path: Path) -> None:
    """Nothing more is paid for; with the same directory back in its place it goes on."""
    async with running_batch(tmp_path) as stage:
        (tmp_path / "state").rename(tmp_path / "moved")
        await stage.add_videos(stage.write_video(), **ONE_LANGUAGE)
        await until(lambda: stage.shown_problem == "state_unwritable")
        assert count_paid_requests(stage) == 0
        (tmp_path / "moved").rename(tmp_path / "state")
        await stage.wait_until_idle()
        assert stage.dub_states() == {"fr-FR": "done"}


async def test_a_state_directory_replaced_during_a_run(tmp_path: Path) -> None:
    """Whoever deletes the directory and starts anew gets a runner beside the old one, which must then neither write nor pay."""
    async with running_batch(tmp_path) as stage:
        first = stage.runner
        await first.pause(True)
        await stage.add_videos(stage.write_video(), **ONE_LANGUAGE)
        await until(lambda: list((tmp_path / "state" / "jobs").glob("*.toml")))
        shutil.rmtree(tmp_path / "state")
        async with running_runner(stage.sandbox, tmp_path) as second:
            await second.add([str(stage.videos / "intro.mp4")], second.settings.batch)
            await until(second.idle.is_set)
            files = {path: path.read_bytes() for path in (tmp_path / "state" / "jobs").iterdir()}
            billed = stage.sandbox.billed_dubs()
            first._context.paused = False
            first._resume_held_work()
            await until(lambda: stage.shown_problem == "state_unwritable")
            await first.add([str(stage.videos / "intro.mp4")], first.settings.batch)
            await asyncio.sleep(0.3)  # several tries to save
            assert {path: path.read_bytes() for path in (tmp_path / "state" / "jobs").iterdir()} == files
            assert stage.sandbox.billed_dubs() == billed
        assert await first.stop() is False
        stage.is_stopped = True


# -- two at once, and the socket -----------------------------------------------------------------------------------------


async def test_two_runners_by_two_paths_of_a_state_directory(tmp_path: Path) -> None:
    async with running_batch(tmp_path) as stage:
        (tmp_path / "link").symlink_to(tmp_path / "state")
        for name in ("state", "link", "link/../state", "state/../link/."):
            settings = resolve_settings(settings_flags(stage.sandbox, tmp_path, {"state_dir": str(tmp_path / name)}), {})
            with pytest.raises(ProblemError) as caught:
                Runner(settings, backoff=FAST_BACKOFF).open()
            assert caught.value.code == "state_busy"


async def test_two_runners_over_a_bind_mount(tmp_path: Path, make_small_disk: MakeSmallDisk) -> None:
    async with running_batch(tmp_path) as stage:
        other = make_small_disk(tmp_path / "other")  # skips where nothing can be mounted
        subprocess.run(["mount", "--bind", str(tmp_path / "state"), str(other.path)], check=True)
        settings = resolve_settings(settings_flags(stage.sandbox, tmp_path, {"state_dir": str(other.path)}), {})
        try:
            with pytest.raises(ProblemError) as caught:
                Runner(settings, backoff=FAST_BACKOFF).open()
        finally:
            other.unmount()
        assert caught.value.code == "state_busy"


async def is_served(stage: RunningBatch) -> bool:
    """Whether a runner's socket answers."""
    server = RunnerServer(stage.runner, on_stop=lambda: None, read_key=lambda: "")
    await server.start()
    try:
        path = socket_path(stage.runner.settings.state_dir)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

        def ask() -> bool:
            control = BlockingRunnerClient.connect(stage.runner.settings.state_dir)
            assert control is not None
            answered = control.ask(StatusRequest(id=7)).id == 7
            control.close()
            return answered

        return await asyncio.to_thread(ask)
    finally:
        await server.close("done")
        assert not path.exists()


async def test_a_stale_socket_and_other_files_at_its_path(tmp_path: Path) -> None:
    async with running_batch(tmp_path) as stage:
        path = tmp_path / "state" / "runner.sock"
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        assert await is_served(stage)
        path.write_text("a file")
        assert await is_served(stage)
        precious = tmp_path / "precious"
        precious.write_text("precious")
        path.symlink_to(precious)
        assert await is_served(stage)
        assert precious.read_text() == "precious"
        path.mkdir()
        with pytest.raises(ProblemError) as caught:
            await is_served(stage)
        assert caught.value.code == "state_unwritable"
        path.rmdir()


async def test_a_path_too_long_for_a_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The socket goes to a private folder; one that somebody else could have made is refused."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    async with running_batch(tmp_path, settings={"state_dir": str(tmp_path / ("s" * 120))}) as stage:
        path = socket_path(stage.runner.settings.state_dir)
        private = path.parent
        assert private.parent == tmp_path
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
        assert await is_served(stage)
        private.chmod(0o777)
        with pytest.raises(ProblemError):
            await is_served(stage)
        private.rmdir()
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        private.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(ProblemError):
            await is_served(stage)
        assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("number", [errno.EPERM, errno.EIO, errno.EOPNOTSUPP])
async def test_a_file_system_without_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """The socket goes to the private folder, and back as soon as there can be one in the directory."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    genuine, state = socket.socket.bind, tmp_path / "state"

    class Refusing(socket.socket):
        def bind(self, address: Any) -> None:
            if str(address).startswith(str(state)):
                raise OSError(number, os.strerror(number))
            genuine(self, address)

    async with running_batch(tmp_path) as stage:
        with monkeypatch.context() as patch:
            patch.setattr(socket, "socket", Refusing)
            assert await is_served(stage)
        assert socket_path(str(state)).parent == tmp_path / f"synthdub-{os.getuid()}"
        assert list(socket_path(str(state)).parent.iterdir()) == []  # it goes with its runner
        assert await is_served(stage)
        assert socket_path(str(state)) == state / "runner.sock"


def test_commands_on_a_long_state_path(make_shell: MakeShell) -> None:
    shell = make_shell(dubbing_seconds=(3600.0, 3600.0))
    shell.state = shell.home / ("s" * 130)
    shell.environment |= {"SYNTHDUB_STATE_DIR": str(shell.state), "TMPDIR": str(shell.home)}
    process = shell.start_command("run", str(shell.write_video("intro.mp4")), "--targets", "fr-FR", "--poll-interval", "0.1")
    until_blocking(lambda: shell.state.exists() and shell.read_status()["runner"] == process.pid)
    assert not (shell.state / "runner.sock").exists()
    assert shell.run_command("stop").exit_code == 0
    assert wait_for_exit(process) == 130
    process.communicate()


# -- newer -----------------------------------------------------------------------------------------------------------------


def test_no_command_changes_a_newer_state_directory(shell: Shell) -> None:
    video = str(shell.write_video("intro.mp4"))
    shell.run_batch(video, "--targets", "fr-FR")
    journal = len(shell.sandbox.journal)
    batch = shell.state / "batch.toml"
    batch.write_text(batch.read_text().replace(f"schema = {SCHEMA_VERSION}", f"schema = {SCHEMA_VERSION + 1}"))
    (shell.state / "jobs" / ".new.toml.tmp").write_text("a newer one's business")

    def look() -> dict[str, tuple[int, int, bytes]]:
        return {
            str(path): (path.stat().st_mode, path.stat().st_mtime_ns, path.read_bytes())
            for path in shell.state.rglob("*")
            if path.is_file()
        }

    before = look()
    for words in (("run",), ("run", video, "--targets", "es-ES"), ("retry", "intro.mp4"), ("cancel", "intro.mp4"), ("pause",)):
        said = shell.run_command(*words)
        assert (said.exit_code, "newer synthdub" in said.err) == (2, True), (words, said)
        assert look() == before, words
    assert "newer synthdub" in shell.run_command("doctor").out
    assert look() == before
    assert os.path.exists(video)
    assert (
        len({record.path for record in shell.sandbox.journal[journal:]} - {"/v2/assets/00000000-0000-4000-8000-000000000000"})
        == 0
    )
