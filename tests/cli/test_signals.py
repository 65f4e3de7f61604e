"""SIGINT, SIGTERM and SIGHUP end a run within three seconds, with 130, saved and without leftovers, whatever it waits for."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from synthdub_tui.sandbox.config import Fault
from tests.cli.conftest import MakeShell, Shell, until
from tests.waiting import load_factor, wait_for_exit

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
MULTIPART_SOURCE_BYTES = 30_000_000
"""Bytes of a source that goes up as a multipart upload, and does not fit into a socket's buffers."""

MOVED_CLOCK_FOLDER = Path(__file__).parents[1] / "soak" / "moved_clock"
FAST_FLAGS = ("--poll-interval", "0.1", "--settle", "0")


def max_exit_seconds() -> float:
    """Three seconds, on a machine that has them for us."""
    return 3.0 * load_factor()


class RunProcess:
    """`synthdub run` in a session of its own."""

    def __init__(
        self,
        shell: Shell,
        *words: str,
        through: tuple[str, ...] = (),
        program: tuple[str, str] = ("-m", "synthdub_tui"),
        **environment: str,
    ) -> None:
        self.shell = shell
        self.process = subprocess.Popen(
            [*through, sys.executable, *program, "run", *FAST_FLAGS, *words],
            env={**shell.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def wait_for_request(self, endpoint: str, number: int = 1) -> None:
        """Wait until the service has had so many requests of a kind."""
        until(lambda: sum(record.endpoint == endpoint for record in self.shell.sandbox.journal) >= number)

    def signal_and_wait(self, number: signal.Signals) -> float:
        """Send it and wait for the end; the seconds that it took."""
        start = time.monotonic()
        self.process.send_signal(number)
        assert wait_for_exit(self.process) == 130
        return time.monotonic() - start

    def remaining_processes(self) -> list[int]:
        """Members of the session that still live."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == self.process.pid and fields[0] not in "ZX":
                found.append(int(folder.name))
        return found

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


StartRun = Callable[..., RunProcess]


@pytest.fixture
def start_run() -> Iterator[StartRun]:
    """`start(shell, words…)`: a run that is ended with the test."""
    with ExitStack() as stack:

        def begin(shell: Shell, *words: str, **more: Any) -> RunProcess:
            run = RunProcess(shell, *words, **more)
            stack.callback(run.close)
            return run

        yield begin


def assert_ends_cleanly(run: RunProcess, number: signal.Signals) -> None:
    """Within its time, leaving no process behind."""
    assert run.signal_and_wait(number) < max_exit_seconds()
    assert run.remaining_processes() == []


def poll_times(shell: Shell) -> list[float]:
    """When projects were asked about."""
    return [record.time for record in shell.sandbox.journal if record.endpoint == "GET /v2/dubbing/{id}"]


def open_upload_keys(shell: Shell) -> list[str]:
    """Keys of open multipart uploads."""
    return [upload.key for upload in shell.sandbox.storage.uploads.open_uploads.values()]


# -- uploads -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", SIGNALS)
def test_during_an_upload(make_shell: MakeShell, start_run: StartRun, number: signal.Signals) -> None:
    shell = make_shell(bandwidth_up=500_000)
    run = start_run(shell, str(shell.write_video("large.mp4", MULTIPART_SOURCE_BYTES)), "--targets", "fr-FR")
    run.wait_for_request("S3 CreateMultipartUpload")
    assert_ends_cleanly(run, number)
    until(lambda: not open_upload_keys(shell))
    assert shell.dub_states() == {"fr-FR": "waiting"}


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("kind", ["hang_before", "hang_after"])
def test_during_an_upload_to_a_stalled_peer(
    make_shell: MakeShell, start_run: StartRun, number: signal.Signals, kind: str
) -> None:
    """The part's connection is dead, but the storage still hears the abort: nothing is left there."""
    shell = make_shell(faults=(Fault("S3 UploadPart", kind),))
    run = start_run(shell, str(shell.write_video("large.mp4", MULTIPART_SOURCE_BYTES)), "--targets", "fr-FR")
    run.wait_for_request("S3 UploadPart")
    assert_ends_cleanly(run, number)
    until(lambda: not open_upload_keys(shell))
    assert shell.dub_states() == {"fr-FR": "waiting"}
    shell.sandbox.clear_faults()
    assert shell.run_batch().exit_code == 0


def test_during_an_upload_to_dead_storage(make_shell: MakeShell, start_run: StartRun) -> None:
    """Nothing gets through any more, the abort neither: the end does not wait for it."""
    dead = ("S3 UploadPart", "S3 AbortMultipartUpload")
    shell = make_shell(faults=tuple(Fault(endpoint, "hang_before") for endpoint in dead))
    run = start_run(shell, str(shell.write_video("large.mp4", MULTIPART_SOURCE_BYTES)), "--targets", "fr-FR")
    run.wait_for_request("S3 UploadPart")
    assert_ends_cleanly(run, signal.SIGTERM)
    assert shell.dub_states() == {"fr-FR": "waiting"}


# -- everything else that a run can wait for ---------------------------------------------------------------------------

WAIT_CASES: dict[str, tuple[str, str, str]] = {  # endpoint that hangs, how, the dub's state as the next start finds it
    "the asset": ("POST /v2/assets", "hang_before", "waiting"),
    "the answer about the asset": ("GET /v2/assets/{id}", "hang_before", "waiting"),
    "a small upload": ("S3 PutObject", "hang_before", "waiting"),
    "a multipart upload to begin": ("S3 CreateMultipartUpload", "hang_before", "waiting"),
    "a multipart upload to be completed": ("S3 CompleteMultipartUpload", "hang_before", "waiting"),
    "a poll": ("GET /v2/dubbing/{id}", "hang_after", "dubbing"),
    "a download": ("download", "hang_before", "ready"),
    "a download that trickles": ("download", "slow", "ready"),
    "captions": ("captions", "hang_after", "ready"),
}


@pytest.mark.parametrize("wait", WAIT_CASES)
def test_while_waiting_for_an_answer(make_shell: MakeShell, start_run: StartRun, wait: str) -> None:
    endpoint, kind, state = WAIT_CASES[wait]
    shell = make_shell(faults=(Fault(endpoint, kind, bytes_per_second=10.0),))
    size = MULTIPART_SOURCE_BYTES if "Multipart" in endpoint else 1000
    run = start_run(shell, str(shell.write_video("intro.mp4", size)), "--targets", "fr-FR")
    run.wait_for_request(endpoint)
    assert_ends_cleanly(run, signal.SIGTERM)
    until(lambda: not open_upload_keys(shell))
    assert shell.dub_states() == {"fr-FR": state}
    assert not list(shell.videos.glob("*.dubbed-fr-FR.srt"))
    shell.sandbox.clear_faults()
    assert shell.run_batch().exit_code == 0
    assert len(shell.sandbox.billed_dubs()) == 1


@pytest.mark.parametrize("number", SIGNALS)
def test_during_a_download_from_a_stalled_peer(make_shell: MakeShell, start_run: StartRun, number: signal.Signals) -> None:
    """What arrived is kept, under another name than the final one, and the next run goes on from there."""
    shell = make_shell(output_padding=3_000_000, faults=(Fault("download", "slow", bytes_per_second=2_000_000.0, count=1),))
    run = start_run(shell, str(shell.write_video("intro.mp4")), "--targets", "fr-FR")
    part = shell.videos / "intro.dubbed-fr-FR.mp4.part"
    until(lambda: part.exists() and part.stat().st_size > 500_000)
    assert_ends_cleanly(run, number)
    assert part.stat().st_size > 500_000
    assert not (shell.videos / "intro.dubbed-fr-FR.mp4").exists()
    assert shell.run_batch().exit_code == 0
    sent = [record.bytes_out for record in shell.sandbox.journal if record.endpoint == "download"]
    assert sent[-1] < sent[0]


@pytest.mark.parametrize("number", SIGNALS)
def test_while_waiting_for_the_quota(shell: Shell, start_run: StartRun, number: signal.Signals) -> None:
    config = shell.home / "config.toml"
    config.write_text("[quota]\nwrites = [[1, 3600.0]]\n")
    for name in ("a.mp4", "b.mp4"):
        shell.write_video(name)
    run = start_run(shell, str(shell.videos), "--targets", "fr-FR", "--config", str(config))
    run.wait_for_request("POST /v2/dubbing")  # the other file's asset has to wait for an hour
    assert_ends_cleanly(run, number)
    assert sum(record.endpoint == "POST /v2/assets" for record in shell.sandbox.journal) == 1


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("kind", ["hang_before", "hang_after"])
def test_while_a_paid_request_hangs(make_shell: MakeShell, start_run: StartRun, number: signal.Signals, kind: str) -> None:
    """Whether it was accepted nobody knows, and so says the state: the next run sends nothing again."""
    shell = make_shell(faults=(Fault("POST /v2/dubbing", kind),))
    run = start_run(shell, str(shell.write_video("intro.mp4")), "--targets", "fr-FR")
    run.wait_for_request("POST /v2/dubbing")
    assert_ends_cleanly(run, number)
    assert shell.dub_states() == {"fr-FR": "unknown"}
    shell.sandbox.clear_faults()
    assert shell.run_batch().exit_code == 1
    assert sum(record.endpoint == "POST /v2/dubbing" for record in shell.sandbox.journal) == 1


def test_a_stop_waits_for_an_answer_that_comes_soon(make_shell: MakeShell, start_run: StartRun) -> None:
    shell = make_shell(faults=(Fault("POST /v2/dubbing", "delay", seconds=1.0),))
    run = start_run(shell, str(shell.write_video("intro.mp4")), "--targets", "fr-FR")
    run.wait_for_request("POST /v2/dubbing")
    assert_ends_cleanly(run, signal.SIGTERM)
    assert shell.dub_states() == {"fr-FR": "dubbing"}


SECONDS_PER_HOUR = 3600.0


# -- the second signal, and a stop of another kind ---------------------------------------------------------------------


SLOW_STOP_PROGRAM = """
import sys
from synthdub_tui import cli
from synthdub_tui.commands import headless_run as run
from synthdub_tui.runner.backoff import Backoff
run.Backoff = lambda: Backoff(stop_timeout=600.0)
sys.exit(cli.main(sys.argv[1:]))
"""
"""Waits ten minutes for the answer to a paid request."""


@pytest.mark.parametrize("first", SIGNALS)
def test_a_second_sigint_ends_at_once(make_shell: MakeShell, start_run: StartRun, first: signal.Signals) -> None:
    """The first one waits for the answer of a paid request; whoever presses Ctrl+C again does not want to."""
    shell = make_shell(faults=(Fault("POST /v2/dubbing", "hang_after"),))
    run = start_run(shell, str(shell.write_video("intro.mp4")), "--targets", "fr-FR", program=("-c", SLOW_STOP_PROGRAM))
    run.wait_for_request("POST /v2/dubbing")
    run.process.send_signal(first)
    _wait_for_signal_delivery(run)
    run.signal_and_wait(signal.SIGINT)  # its end is awaited for less than the ten minutes
    assert run.remaining_processes() == []
    assert shell.run_batch().exit_code == 1
    assert shell.dub_states() == {"fr-FR": "unknown"}


def _wait_for_signal_delivery(run: RunProcess) -> None:
    """Two signals of one number may be merged by the kernel: wait until the first is delivered."""
    status = Path(f"/proc/{run.process.pid}/status")

    def taken() -> bool:
        lines = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
        return int(lines["ShdPnd"], 16) == int(lines["SigPnd"], 16) == 0

    until(taken)


def test_nohup_ignores_sighup(make_shell: MakeShell, start_run: StartRun) -> None:
    """Whoever starts it so wants it to outlive the terminal."""
    shell = make_shell(dubbing_seconds=(SECONDS_PER_HOUR, SECONDS_PER_HOUR))
    video = str(shell.write_video("intro.mp4"))
    run = start_run(shell, video, "--targets", "fr-FR", through=("nohup",))
    run.wait_for_request("GET /v2/dubbing/{id}")
    run.process.send_signal(signal.SIGHUP)
    run.wait_for_request("GET /v2/dubbing/{id}", len(poll_times(shell)) + 2)
    assert_ends_cleanly(run, signal.SIGTERM)


def test_stopped_and_continued(make_shell: MakeShell, start_run: StartRun) -> None:
    """Ctrl+Z in the middle of an upload, a dub and a download: all goes on afterwards, and nothing twice."""
    shell = make_shell(bandwidth_up=20_000_000, output_padding=2_000_000, bandwidth_down=1_000_000)
    run = start_run(
        shell, str(shell.write_video("large.mp4", MULTIPART_SOURCE_BYTES)), "--targets", "fr-FR", "--tier", "unlimited"
    )
    for endpoint in ("S3 UploadPart", "POST /v2/dubbing", "GET /v2/dubbing/{id}"):
        if endpoint == "S3 UploadPart":
            run.wait_for_request("S3 CreateMultipartUpload")
        else:
            run.wait_for_request(endpoint)
        run.process.send_signal(signal.SIGSTOP)
        until(lambda: Path(f"/proc/{run.process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
        before = len(shell.sandbox.journal)
        time.sleep(1.0)
        assert len(shell.sandbox.journal) <= before + 1  # only what was under way
        run.process.send_signal(signal.SIGCONT)
    assert wait_for_exit(run.process) == 0
    assert len(shell.sandbox.billed_dubs()) == 1


# -- clocks ------------------------------------------------------------------------------------------------------------


class MovedClock:
    """The clocks of a process, moved from outside."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock.json"
        self.move()
        self.environment = {"PYTHONPATH": str(MOVED_CLOCK_FOLDER), "SOAK_CLOCK": str(self._file)}

    def move(self, wall: float = 0.0, monotonic: float = 0.0) -> None:
        """Seconds by which each differs from the true one."""
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps([wall, monotonic]))
        new.replace(self._file)


CLOCK_JUMPS = (SECONDS_PER_HOUR, -SECONDS_PER_HOUR, 40 * 24 * SECONDS_PER_HOUR, -40 * 24 * SECONDS_PER_HOUR)


def _start_hour_long_run(make_shell: MakeShell, start: StartRun, **config: Any) -> tuple[Shell, RunProcess, MovedClock]:
    """A run that waits for a dub which takes an hour of the service's time."""
    shell = make_shell(dubbing_seconds=(SECONDS_PER_HOUR, SECONDS_PER_HOUR), **config)
    clock = MovedClock(shell.home)
    run = start(shell, str(shell.write_video("intro.mp4")), "--targets", "fr-FR", **clock.environment)
    run.wait_for_request("GET /v2/dubbing/{id}")
    return shell, run, clock


@pytest.mark.parametrize("jump", CLOCK_JUMPS)
def test_the_wall_clock_jumps_while_waiting_for_a_dub(make_shell: MakeShell, start_run: StartRun, jump: float) -> None:
    """Polling neither stops nor runs wild, and the dub is fetched when it is ready."""
    shell, run, clock = _start_hour_long_run(make_shell, start_run)
    clock.move(wall=jump)
    seen = poll_times(shell)
    run.wait_for_request("GET /v2/dubbing/{id}", len(seen) + 4)
    assert all(later - earlier > 0.05 for earlier, later in pairwise(poll_times(shell)[len(seen) :]))  # --poll-interval is 0.1
    shell.sandbox.advance(SECONDS_PER_HOUR)
    assert wait_for_exit(run.process) == 0
    assert len(shell.sandbox.billed_dubs()) == 1


@pytest.mark.parametrize("jump", CLOCK_JUMPS)
def test_the_wall_clock_jumps_between_two_runs(make_shell: MakeShell, start_run: StartRun, jump: float) -> None:
    """Times in the state files lie in the future, or long ago; the quota's counters too."""
    shell, run, clock = _start_hour_long_run(make_shell, start_run)
    run.signal_and_wait(signal.SIGTERM)
    clock.move(wall=jump)
    shell.sandbox.advance(SECONDS_PER_HOUR)
    again = start_run(shell, **clock.environment)
    assert wait_for_exit(again.process) == 0
    assert len(shell.sandbox.billed_dubs()) == 1


@pytest.mark.parametrize("jump", CLOCK_JUMPS)
def test_the_wall_clock_jumps_while_waiting_for_the_quota(shell: Shell, start_run: StartRun, jump: float) -> None:
    """A window of two seconds is over after two seconds, whatever the clock says, and is kept to the request."""
    config = shell.home / "config.toml"
    config.write_text("[quota]\nwrites = [[1, 2.0]]\nreads = [[1000, 1.0]]\n")
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        shell.write_video(name)
    clock = MovedClock(shell.home)
    run = start_run(shell, str(shell.videos), "--targets", "fr-FR", "--config", str(config), **clock.environment)
    run.wait_for_request("POST /v2/assets")
    clock.move(wall=jump)
    assert wait_for_exit(run.process) == 0
    times = [record.time for record in shell.sandbox.journal if record.endpoint == "POST /v2/assets"]
    assert len(times) == 3
    assert all(later - earlier > 1.5 for earlier, later in pairwise(times))
    assert len(shell.sandbox.billed_dubs()) == 3


@pytest.mark.parametrize("kind", ["delay", "hang_after"])
def test_suspended_in_the_middle_of_a_paid_request(make_shell: MakeShell, start_run: StartRun, kind: str) -> None:
    """As a suspended laptop sees it: both clocks leap an hour ahead, and every timeout fires at once. Whatever becomes of the
    request, it is not sent again."""
    shell = make_shell(faults=(Fault("POST /v2/dubbing", kind, seconds=1.0),))
    clock = MovedClock(shell.home)
    run = start_run(shell, str(shell.write_video("intro.mp4")), "--targets", "fr-FR", **clock.environment)
    run.wait_for_request("POST /v2/dubbing")
    clock.move(wall=SECONDS_PER_HOUR, monotonic=SECONDS_PER_HOUR)
    code = wait_for_exit(run.process)
    assert (code, shell.dub_states()["fr-FR"]) in ((0, "done"), (1, "unknown"))
    assert sum(record.endpoint == "POST /v2/dubbing" for record in shell.sandbox.journal) == 1


def test_suspended_in_the_middle_of_transfers(make_shell: MakeShell, start_run: StartRun) -> None:
    """An hour passes for the program between two moments of an upload and of a download; both come to their end."""
    shell = make_shell(bandwidth_up=20_000_000, output_padding=2_000_000, bandwidth_down=1_000_000)
    clock = MovedClock(shell.home)
    run = start_run(
        shell, str(shell.write_video("large.mp4", MULTIPART_SOURCE_BYTES)), "--targets", "fr-FR", **clock.environment
    )
    run.wait_for_request("S3 CreateMultipartUpload")
    clock.move(wall=SECONDS_PER_HOUR, monotonic=SECONDS_PER_HOUR)
    until(lambda: any(path.stat().st_size for path in shell.videos.glob("*.part")))
    clock.move(wall=2 * SECONDS_PER_HOUR, monotonic=2 * SECONDS_PER_HOUR)
    assert wait_for_exit(run.process) == 0
    assert len(shell.sandbox.billed_dubs()) == 1
