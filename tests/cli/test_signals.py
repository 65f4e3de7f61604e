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
from tests.waiting import exit_code, slowness

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LARGE = 30_000_000
"""Bytes of a source that goes up as a multipart upload, and does not fit into a socket's buffers."""

CLOCK = Path(__file__).parents[1] / "soak" / "moved_clock"
QUICK = ("--poll-interval", "0.1", "--settle", "0")


def limit() -> float:
    """Three seconds, on a machine that has them for us."""
    return 3.0 * slowness()


class Run:
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
            [*through, sys.executable, *program, "run", *QUICK, *words],
            env={**shell.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def asked(self, endpoint: str, number: int = 1) -> None:
        """Wait until the service has had so many requests of a kind."""
        until(lambda: sum(record.endpoint == endpoint for record in self.shell.sandbox.journal) >= number)

    def signalled(self, number: signal.Signals) -> float:
        """Send it and wait for the end; the seconds that it took."""
        start = time.monotonic()
        self.process.send_signal(number)
        assert exit_code(self.process) == 130
        return time.monotonic() - start

    def left_processes(self) -> list[int]:
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


Start = Callable[..., Run]


@pytest.fixture
def start() -> Iterator[Start]:
    """`start(shell, words…)`: a run that is ended with the test."""
    with ExitStack() as stack:

        def begin(shell: Shell, *words: str, **more: Any) -> Run:
            run = Run(shell, *words, **more)
            stack.callback(run.close)
            return run

        yield begin


def ends_in_order(run: Run, number: signal.Signals) -> None:
    """Within its time, leaving no process behind."""
    assert run.signalled(number) < limit()
    assert run.left_processes() == []


def polls(shell: Shell) -> list[float]:
    """When projects were asked about."""
    return [record.time for record in shell.sandbox.journal if record.endpoint == "GET /v2/dubbing/{id}"]


def unfinished(shell: Shell) -> list[str]:
    """Keys of open multipart uploads."""
    return [upload.key for upload in shell.sandbox.storage.uploads.open.values()]


# -- uploads -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", SIGNALS)
def test_during_an_upload(make_shell: MakeShell, start: Start, number: signal.Signals) -> None:
    shell = make_shell(bandwidth_up=500_000)
    run = start(shell, str(shell.video("large.mp4", LARGE)), "--targets", "fr-FR")
    run.asked("S3 CreateMultipartUpload")
    ends_in_order(run, number)
    until(lambda: not unfinished(shell))
    assert shell.dubs() == {"fr-FR": "waiting"}


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("kind", ["hang_before", "hang_after"])
def test_during_an_upload_to_a_stalled_peer(make_shell: MakeShell, start: Start, number: signal.Signals, kind: str) -> None:
    """The part's connection is dead, but the storage still hears the abort: nothing is left there."""
    shell = make_shell(faults=(Fault("S3 UploadPart", kind),))
    run = start(shell, str(shell.video("large.mp4", LARGE)), "--targets", "fr-FR")
    run.asked("S3 UploadPart")
    ends_in_order(run, number)
    until(lambda: not unfinished(shell))
    assert shell.dubs() == {"fr-FR": "waiting"}
    shell.sandbox.clear_faults()
    assert shell.run().code == 0


def test_during_an_upload_to_a_storage_that_is_dead(make_shell: MakeShell, start: Start) -> None:
    """Nothing gets through any more, the abort neither: the end does not wait for it."""
    dead = ("S3 UploadPart", "S3 AbortMultipartUpload")
    shell = make_shell(faults=tuple(Fault(endpoint, "hang_before") for endpoint in dead))
    run = start(shell, str(shell.video("large.mp4", LARGE)), "--targets", "fr-FR")
    run.asked("S3 UploadPart")
    ends_in_order(run, signal.SIGTERM)
    assert shell.dubs() == {"fr-FR": "waiting"}


# -- everything else that a run can wait for ---------------------------------------------------------------------------

WAITS: dict[str, tuple[str, str, str]] = {  # endpoint that hangs, how, the dub's state as the next start finds it
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


@pytest.mark.parametrize("wait", WAITS)
def test_while_waiting_for(make_shell: MakeShell, start: Start, wait: str) -> None:
    endpoint, kind, state = WAITS[wait]
    shell = make_shell(faults=(Fault(endpoint, kind, bytes_per_second=10.0),))
    size = LARGE if "Multipart" in endpoint else 1000
    run = start(shell, str(shell.video("intro.mp4", size)), "--targets", "fr-FR")
    run.asked(endpoint)
    ends_in_order(run, signal.SIGTERM)
    until(lambda: not unfinished(shell))
    assert shell.dubs() == {"fr-FR": state}
    assert not list(shell.videos.glob("*.dubbed-fr-FR.srt"))
    shell.sandbox.clear_faults()
    assert shell.run().code == 0
    assert len(shell.sandbox.billed()) == 1


@pytest.mark.parametrize("number", SIGNALS)
def test_during_a_download_from_a_stalled_peer(make_shell: MakeShell, start: Start, number: signal.Signals) -> None:
    """What arrived is kept, under another name than the final one, and the next run goes on from there."""
    shell = make_shell(output_padding=3_000_000, faults=(Fault("download", "slow", bytes_per_second=2_000_000.0, count=1),))
    run = start(shell, str(shell.video("intro.mp4")), "--targets", "fr-FR")
    part = shell.videos / "intro.dubbed-fr-FR.mp4.part"
    until(lambda: part.exists() and part.stat().st_size > 500_000)
    ends_in_order(run, number)
    assert part.stat().st_size > 500_000
    assert not (shell.videos / "intro.dubbed-fr-FR.mp4").exists()
    assert shell.run().code == 0
    sent = [record.bytes_out for record in shell.sandbox.journal if record.endpoint == "download"]
    assert sent[-1] < sent[0]


@pytest.mark.parametrize("number", SIGNALS)
def test_while_waiting_for_the_quota(shell: Shell, start: Start, number: signal.Signals) -> None:
    config = shell.home / "config.toml"
    config.write_text("[quota]\nwrites = [[1, 3600.0]]\n")
    for name in ("a.mp4", "b.mp4"):
        shell.video(name)
    run = start(shell, str(shell.videos), "--targets", "fr-FR", "--config", str(config))
    run.asked("POST /v2/dubbing")  # the other file's asset has to wait for an hour
    ends_in_order(run, number)
    assert sum(record.endpoint == "POST /v2/assets" for record in shell.sandbox.journal) == 1


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("kind", ["hang_before", "hang_after"])
def test_while_a_paid_request_hangs(make_shell: MakeShell, start: Start, number: signal.Signals, kind: str) -> None:
    """Whether it was accepted nobody knows, and so says the state: the next run sends nothing again."""
    shell = make_shell(faults=(Fault("POST /v2/dubbing", kind),))
    run = start(shell, str(shell.video("intro.mp4")), "--targets", "fr-FR")
    run.asked("POST /v2/dubbing")
    ends_in_order(run, number)
    assert shell.dubs() == {"fr-FR": "unknown"}
    shell.sandbox.clear_faults()
    assert shell.run().code == 1
    assert sum(record.endpoint == "POST /v2/dubbing" for record in shell.sandbox.journal) == 1


def test_an_answer_that_comes_soon_is_waited_for(make_shell: MakeShell, start: Start) -> None:
    shell = make_shell(faults=(Fault("POST /v2/dubbing", "delay", seconds=1.0),))
    run = start(shell, str(shell.video("intro.mp4")), "--targets", "fr-FR")
    run.asked("POST /v2/dubbing")
    ends_in_order(run, signal.SIGTERM)
    assert shell.dubs() == {"fr-FR": "dubbing"}


HOUR = 3600.0


# -- the second signal, and a stop of another kind ---------------------------------------------------------------------


PATIENT = """
import sys
from synthdub_tui import cli
from synthdub_tui.commands import run
from synthdub_tui.runner.backoff import Patience
run.Patience = lambda: Patience(stop=600.0)
sys.exit(cli.main(sys.argv[1:]))
"""
"""Waits ten minutes for the answer to a paid request."""


@pytest.mark.parametrize("first", SIGNALS)
def test_a_second_sigint_ends_at_once(make_shell: MakeShell, start: Start, first: signal.Signals) -> None:
    """The first one waits for the answer of a paid request; whoever presses Ctrl+C again does not want to."""
    shell = make_shell(faults=(Fault("POST /v2/dubbing", "hang_after"),))
    run = start(shell, str(shell.video("intro.mp4")), "--targets", "fr-FR", program=("-c", PATIENT))
    run.asked("POST /v2/dubbing")
    run.process.send_signal(first)
    _until_signal_is_taken(run)
    run.signalled(signal.SIGINT)  # its end is awaited for less than the ten minutes
    assert run.left_processes() == []
    assert shell.run().code == 1
    assert shell.dubs() == {"fr-FR": "unknown"}


def _until_signal_is_taken(run: Run) -> None:
    """Two signals of one number may be merged by the kernel: wait until the first is delivered."""
    status = Path(f"/proc/{run.process.pid}/status")

    def taken() -> bool:
        lines = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
        return int(lines["ShdPnd"], 16) == int(lines["SigPnd"], 16) == 0

    until(taken)


def test_nohup(make_shell: MakeShell, start: Start) -> None:
    """Whoever starts it so wants it to outlive the terminal."""
    shell = make_shell(dubbing_seconds=(HOUR, HOUR))
    video = str(shell.video("intro.mp4"))
    run = start(shell, video, "--targets", "fr-FR", through=("nohup",))
    run.asked("GET /v2/dubbing/{id}")
    run.process.send_signal(signal.SIGHUP)
    run.asked("GET /v2/dubbing/{id}", len(polls(shell)) + 2)
    ends_in_order(run, signal.SIGTERM)


def test_stopped_and_continued(make_shell: MakeShell, start: Start) -> None:
    """Ctrl+Z in the middle of an upload, a dub and a download: all goes on afterwards, and nothing twice."""
    shell = make_shell(bandwidth_up=20_000_000, output_padding=2_000_000, bandwidth_down=1_000_000)
    run = start(shell, str(shell.video("large.mp4", LARGE)), "--targets", "fr-FR", "--tier", "unlimited")
    for endpoint in ("S3 UploadPart", "POST /v2/dubbing", "GET /v2/dubbing/{id}"):
        if endpoint == "S3 UploadPart":
            run.asked("S3 CreateMultipartUpload")
        else:
            run.asked(endpoint)
        run.process.send_signal(signal.SIGSTOP)
        until(lambda: Path(f"/proc/{run.process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
        before = len(shell.sandbox.journal)
        time.sleep(1.0)
        assert len(shell.sandbox.journal) <= before + 1  # only what was under way
        run.process.send_signal(signal.SIGCONT)
    assert exit_code(run.process) == 0
    assert len(shell.sandbox.billed()) == 1


# -- clocks ------------------------------------------------------------------------------------------------------------


class Clock:
    """The clocks of a process, moved from outside."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock.json"
        self.move()
        self.environment = {"PYTHONPATH": str(CLOCK), "SOAK_CLOCK": str(self._file)}

    def move(self, wall: float = 0.0, monotonic: float = 0.0) -> None:
        """Seconds by which each differs from the true one."""
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps([wall, monotonic]))
        new.replace(self._file)


JUMPS = (HOUR, -HOUR, 40 * 24 * HOUR, -40 * 24 * HOUR)


def _hour_long(make_shell: MakeShell, start: Start, **config: Any) -> tuple[Shell, Run, Clock]:
    """A run that waits for a dub which takes an hour of the service's time."""
    shell = make_shell(dubbing_seconds=(HOUR, HOUR), **config)
    clock = Clock(shell.home)
    run = start(shell, str(shell.video("intro.mp4")), "--targets", "fr-FR", **clock.environment)
    run.asked("GET /v2/dubbing/{id}")
    return shell, run, clock


@pytest.mark.parametrize("jump", JUMPS)
def test_the_wall_clock_jumps_while_a_dub_is_waited_for(make_shell: MakeShell, start: Start, jump: float) -> None:
    """Polling neither stops nor runs wild, and the dub is fetched when it is ready."""
    shell, run, clock = _hour_long(make_shell, start)
    clock.move(wall=jump)
    seen = polls(shell)
    run.asked("GET /v2/dubbing/{id}", len(seen) + 4)
    assert all(later - earlier > 0.05 for earlier, later in pairwise(polls(shell)[len(seen) :]))  # --poll-interval is 0.1
    shell.sandbox.advance(HOUR)
    assert exit_code(run.process) == 0
    assert len(shell.sandbox.billed()) == 1


@pytest.mark.parametrize("jump", JUMPS)
def test_the_wall_clock_jumps_between_two_runs(make_shell: MakeShell, start: Start, jump: float) -> None:
    """Times in the state files lie in the future, or long ago; the quota's counters too."""
    shell, run, clock = _hour_long(make_shell, start)
    run.signalled(signal.SIGTERM)
    clock.move(wall=jump)
    shell.sandbox.advance(HOUR)
    again = start(shell, **clock.environment)
    assert exit_code(again.process) == 0
    assert len(shell.sandbox.billed()) == 1


@pytest.mark.parametrize("jump", JUMPS)
def test_the_wall_clock_jumps_while_the_quota_is_waited_for(shell: Shell, start: Start, jump: float) -> None:
    """A window of two seconds is over after two seconds, whatever the clock says, and is kept to the request."""
    config = shell.home / "config.toml"
    config.write_text("[quota]\nwrites = [[1, 2.0]]\nreads = [[1000, 1.0]]\n")
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        shell.video(name)
    clock = Clock(shell.home)
    run = start(shell, str(shell.videos), "--targets", "fr-FR", "--config", str(config), **clock.environment)
    run.asked("POST /v2/assets")
    clock.move(wall=jump)
    assert exit_code(run.process) == 0
    times = [record.time for record in shell.sandbox.journal if record.endpoint == "POST /v2/assets"]
    assert len(times) == 3
    assert all(later - earlier > 1.5 for earlier, later in pairwise(times))
    assert len(shell.sandbox.billed()) == 3


@pytest.mark.parametrize("kind", ["delay", "hang_after"])
def test_suspended_in_the_middle_of_a_paid_request(make_shell: MakeShell, start: Start, kind: str) -> None:
    """As a suspended laptop sees it: both clocks leap an hour ahead, and every timeout fires at once. Whatever becomes of the
    request, it is not sent again."""
    shell = make_shell(faults=(Fault("POST /v2/dubbing", kind, seconds=1.0),))
    clock = Clock(shell.home)
    run = start(shell, str(shell.video("intro.mp4")), "--targets", "fr-FR", **clock.environment)
    run.asked("POST /v2/dubbing")
    clock.move(wall=HOUR, monotonic=HOUR)
    code = exit_code(run.process)
    assert (code, shell.dubs()["fr-FR"]) in ((0, "done"), (1, "unknown"))
    assert sum(record.endpoint == "POST /v2/dubbing" for record in shell.sandbox.journal) == 1


def test_suspended_in_the_middle_of_transfers(make_shell: MakeShell, start: Start) -> None:
    """An hour passes for the program between two moments of an upload and of a download; both come to their end."""
    shell = make_shell(bandwidth_up=20_000_000, output_padding=2_000_000, bandwidth_down=1_000_000)
    clock = Clock(shell.home)
    run = start(shell, str(shell.video("large.mp4", LARGE)), "--targets", "fr-FR", **clock.environment)
    run.asked("S3 CreateMultipartUpload")
    clock.move(wall=HOUR, monotonic=HOUR)
    until(lambda: any(path.stat().st_size for path in shell.videos.glob("*.part")))
    clock.move(wall=2 * HOUR, monotonic=2 * HOUR)
    assert exit_code(run.process) == 0
    assert len(shell.sandbox.billed()) == 1
