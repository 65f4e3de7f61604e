"""`python -m tests.soak.virtual_days [--hours 48] [--files 2100] [--seed S] [--calm]`: does a batch of days keep to the limits?

The real runner with its quota, poller and schedule, on the loop of virtual time, against the sandbox's API in the same process:
no sockets and no waiting, so that two days pass in minutes. The service counts by itself what arrives, over every sliding
minute, hour and day of the tier Creator, and has a clock of its own. Unless `--calm`, the machine lives through what machines
do: runners are restarted and killed, it is suspended, its clock is put forward and back, and the service goes away for a while.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import tomllib
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import h11
import httpx
import pytest
import tomli_w

from synthdub_tui.jobs.batch_options import BatchOptions
from synthdub_tui.jobs.model import Job, Source
from synthdub_tui.runner import runner as runners
from synthdub_tui.runner.runner import Runner
from synthdub_tui.sandbox import http_server
from synthdub_tui.sandbox.api import Api
from synthdub_tui.sandbox.config import TIERS, SandboxConfig
from synthdub_tui.sandbox.downloads import Downloads
from synthdub_tui.sandbox.journal import Record
from synthdub_tui.sandbox.request_gate import Gate
from synthdub_tui.sandbox.service_state import ServiceState
from synthdub_tui.settings.resolve import resolve_settings
from synthdub_tui.store.codec import decode_job, encode_job
from synthdub_tui.store.job_store import JobStore, LoadedBatch
from synthdub_tui.synthesia.rate_arithmetic import MAX_BURST_CALLS, MAX_TRANSIT_SECONDS, Endpoint, RateBudget
from synthdub_tui.synthesia.rate_arithmetic import TIERS as BUDGETS
from synthdub_tui.transfer.download import DownloadedFile, OnStart, ignore_start
from synthdub_tui.transfer.s3_client import UploadTarget
from tests.virtual_time import START_EPOCH_SECONDS, VirtualClock, VirtualLoop, virtual_time

SECONDS_PER_HOUR: Final = 3600.0
API_KEY: Final = "sandbox-key"

ENDPOINT_BY_NAME: Final = {
    "POST /v2/assets": Endpoint.CREATE_ASSET,
    "GET /v2/assets/{id}": Endpoint.GET_ASSET,
    "POST /v2/dubbing": Endpoint.CREATE_DUBBING,
    "GET /v2/dubbing/{id}": Endpoint.GET_DUBBING,
    "PUT /v2/dubbing/{id}": Endpoint.ADD_LOCALES,
}
"""The service's name of each call, and ours."""

WINDOW_SECONDS: Final = {"minute": 60.0, "hour": SECONDS_PER_HOUR, "day": 24 * SECONDS_PER_HOUR}

LATENCY_RANGE_SECONDS: Final = (0.02, 0.7)
"""Seconds of a request or an answer on the line."""

T = TypeVar("T")


# -- the service -------------------------------------------------------------------------------------------------------


class RemoteSandbox:
    """The service, as it is reached over a line that takes its time. `suspended_seconds`: seconds for which this machine
    was."""

    def __init__(self, folder: Path, clock: VirtualClock, seed: int, dubbing: tuple[float, float]) -> None:
        config = SandboxConfig(
            api_key=API_KEY,
            seed=seed,
            tier="creator",
            dubbing_seconds=dubbing,
            processing_seconds=0.5,
            download_url_seconds=10**7,
        )
        self.suspended_seconds = 0.0
        self.is_down = False
        self._clock = clock
        self._gate = Gate(config, folder)
        self._gate.clock.now = self.true_time  # type: ignore[method-assign]
        self.state = ServiceState(config)
        downloads = Downloads(self._gate, self.state)
        downloads._sign = lambda key: f"http://127.0.0.1/{key}"  # type: ignore[method-assign]
        self._api = Api(self._gate, self.state, downloads)

    def true_time(self) -> float:
        """True time."""
        return START_EPOCH_SECONDS + self._clock.now + self.suspended_seconds

    async def handle_request(self, request: httpx.Request) -> httpx.Response:
        """One call, there and back."""
        await asyncio.sleep(random.uniform(*LATENCY_RANGE_SECONDS))
        if self.is_down:
            raise httpx.ConnectError("the service is down", request=request)
        body = await request.aread()
        head = h11.Request(method=request.method, target=request.url.raw_path, headers=request.headers.raw)
        answer = await self._api.handle(http_server.Request(head, _BodyReader(body)))  # type: ignore[arg-type]
        await asyncio.sleep(random.uniform(*LATENCY_RANGE_SECONDS))
        content = httpx.ByteStream(b"".join(answer.pieces()))
        return httpx.Response(answer.status, headers=answer.headers, stream=content, request=request)

    def arrival_times(self) -> dict[str, list[float]]:
        """When each call arrived, by its name; refused ones too."""
        found: dict[str, list[float]] = defaultdict(list)
        for record in self._gate.journal.records:
            found[record.endpoint].append(record.time)
        return found

    def rate_limited_calls(self) -> list[tuple[str, float]]:
        """Calls above a limit, and when they came, in seconds."""
        return [
            (record.endpoint, record.time - START_EPOCH_SECONDS)
            for record in self._gate.journal.records
            if record.status == 429
        ]

    def add_past_calls(self, endpoint: str, times: list[float]) -> None:
        """Calls that came before."""
        self._gate.limits._seen[endpoint] += times
        for at in times:
            self._gate.journal.add(Record(at, endpoint, endpoint.split()[0], "", 202))

    def projects_per_title(self) -> Counter[str]:
        """How often a project was made for each title."""
        return Counter(project.title for project in self.state.projects.values())

    def close(self) -> None:
        self._gate.journal.close()


class _BodyReader:
    """The connection of a request, as far as a handler looks at it."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def body(self) -> AsyncIterator[bytes]:
        if self._content:
            yield self._content


class BusiestWindow(NamedTuple):
    """The most calls of an endpoint in any window of that length, and what the tier allows."""

    endpoint: str
    window: str
    most_calls: int
    limit: int


def busiest_windows(arrivals: dict[str, list[float]]) -> Iterator[BusiestWindow]:
    """For each endpoint and limit."""
    writes, reads = TIERS["creator"]
    for endpoint in ENDPOINT_BY_NAME:
        rate = reads if endpoint.startswith("GET") else writes
        times = sorted(arrivals.get(endpoint, ()))
        for window, seconds in WINDOW_SECONDS.items():
            limit = getattr(rate, window)
            if limit is not None:
                most = max((number + 1 - bisect_right(times, at - seconds) for number, at in enumerate(times)), default=0)
                yield BusiestWindow(endpoint, window, most, limit)


# -- this machine ------------------------------------------------------------------------------------------------------


class MemoryJobStore(JobStore):
    """Keeps what a state directory would. What a new process reads was TOML in between."""

    jobs: dict[str, Job]
    documents: dict[str, dict[str, Any]]

    def open(self) -> None:
        pass

    def load(self, *, set_aside: bool = True) -> LoadedBatch:
        jobs = [decode_job(encode_job(job).decode()) for job in self.jobs.values()]
        return LoadedBatch(jobs, [])

    def save(self, job: Job) -> None:
        self.jobs[job.id] = job

    def read_document(self, name: str) -> dict[str, Any]:
        return tomllib.loads(tomli_w.dumps(self.documents.get(name, {})))

    def write_document(self, name: str, content: dict[str, Any]) -> None:
        self.documents[name] = content


class ThreadlessLoop(VirtualLoop):
    """Also what asyncio itself gives to threads happens on the loop."""

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        if executor is not None:
            return super().run_in_executor(executor, func, *args)
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(func(*args))
        except BaseException as error:
            done.set_exception(error)
        return done


class _FakeUploader:
    """In place of S3."""

    def __init__(self, account: RemoteSandbox) -> None:
        self._account = account

    async def upload(self, source: Source, target: UploadTarget, progress: Callable[[int], None]) -> str:
        await asyncio.sleep(random.uniform(2, 40))
        self._account.state.finish_upload(target.key, source.size, True, self._account.true_time())
        return ""

    async def close(self) -> None:
        pass


class _FakeDownloader:
    """In place of signed addresses."""

    async def download(self, url: str, part: str, *, on_start: OnStart = ignore_start, **_: Any) -> DownloadedFile:
        await on_start("", 1)
        await asyncio.sleep(random.uniform(2, 40))
        file = Path(part)
        file.write_bytes(b"v")
        status = file.stat()
        return DownloadedFile(1, "", status.st_mtime_ns)

    async def close(self) -> None:
        pass


class SimulatedMachine:
    """Where runners live, one after the other, on one state directory."""

    def __init__(self, folder: Path, clock: VirtualClock, account: RemoteSandbox, least: float) -> None:
        self.clock = clock
        self.service = account
        self.kill_times: list[float] = []  # when, in seconds
        self.clock_error_seconds = 0.0  # seconds by which clocks were moved or stood still
        self._flags = {
            "config": "/dev/null",
            "api_url": "http://127.0.0.1:1",
            "state_dir": str(folder / "state"),
            "data_dir": str(folder / "data"),
            "poll_interval": least,
            "settle_seconds": 0.0,
            "tier": "creator",
        }
        (folder / "state").mkdir()

    @property
    def elapsed_seconds(self) -> float:
        """True time since the beginning."""
        return self.service.true_time() - START_EPOCH_SECONDS

    def start_runner(self) -> None:
        """A new process."""
        self.clock.forget_process()
        self.loop = ThreadlessLoop(self.clock)
        self.runner = self.loop.run_until_complete(self._make_runner())
        self.runner.open()
        self.run(_call_in_loop(self.runner.start))

    async def _make_runner(self) -> Runner:
        runner = Runner(resolve_settings(self._flags, {"SYNTHESIA_API_KEY": API_KEY}))
        client, line = runner.client, httpx.MockTransport(self.service.handle_request)
        await client.close()
        client._reader = client._writer = httpx.AsyncClient(transport=line, trust_env=False)
        runner._context.uploader = _FakeUploader(self.service)  # type: ignore[assignment]
        runner._context.downloader = _FakeDownloader()  # type: ignore[assignment]
        return runner

    def run(self, work: Any) -> Any:
        """Let the runner do something."""
        return self.loop.run_until_complete(work)

    def run_until(self, hour: float) -> None:
        """Work until it is so late."""
        self.loop.run_for(max(0.0, hour * SECONDS_PER_HOUR - self.elapsed_seconds))

    def restart_runner(self) -> None:
        """Save, end, and start again."""
        self.stop_runner()
        self.start_runner()

    def kill_runner(self, down_seconds: float = 60.0) -> None:
        """SIGKILL, and a new start after so many seconds."""
        self.kill_times.append(self.elapsed_seconds)
        self.loop.kill()
        self.runner._lock.release()
        self.clock.now += down_seconds
        self.start_runner()

    def suspend(self, hours: float) -> None:
        """The lid is closed: the monotonic clock stands still, true time and the wall clock go on."""
        self.service.suspended_seconds += hours * SECONDS_PER_HOUR
        self.set_clock(hours)

    def set_clock(self, hours: float) -> None:
        """Somebody puts the wall clock forward, or back."""
        self.clock.wall_ahead_seconds += hours * SECONDS_PER_HOUR
        self.clock_error_seconds += abs(hours) * SECONDS_PER_HOUR

    def outage(self, hours: float) -> None:
        """The service cannot be reached for a while."""
        self.service.is_down = True
        self.loop.run_for(hours * SECONDS_PER_HOUR)
        self.service.is_down = False

    def stop_runner(self) -> None:
        """Save and end."""
        assert self.run(self.runner.stop())
        self.loop.close()

    def find_miscounts(self) -> Iterator[str]:
        """Where the runner's count of a window is not what the service has seen in it."""
        arrivals, now = self.service.arrival_times(), self.service.true_time()
        line = 2 * LATENCY_RANGE_SECONDS[1]
        for name, endpoint in ENDPOINT_BY_NAME.items():
            times = sorted(arrivals[name])
            for use in self.runner.quota.usage()[endpoint].windows:
                least = len(times) - bisect_right(times, now - use.seconds + line) - self._calls_lost_by_kills(times)
                longest = use.seconds * (1 + 1 / 60) + MAX_TRANSIT_SECONDS + line + self.clock_error_seconds
                most = len(times) - bisect_right(times, now - longest) + MAX_BURST_CALLS
                if not least <= use.used <= most:
                    yield f"{name} in {use.seconds:g} s: {use.used}, not between {least} and {most}"

    def _calls_lost_by_kills(self, times: list[float]) -> int:
        """Calls of the last moments before kills, which the runner may have forgotten."""
        moment = 1.0 + 2 * LATENCY_RANGE_SECONDS[1]
        return sum(any(0 <= START_EPOCH_SECONDS + kill + moment - at <= 2 * moment for kill in self.kill_times) for at in times)


async def _call_in_loop(work: Callable[[], None]) -> None:
    work()


@contextmanager
def simulated_batch(
    folder: Path, *, seed: int, files: int, before: int = 0, least: float = 10.0, dubbing: tuple[float, float] = (300.0, 3000.0)
) -> Iterator[SimulatedMachine]:
    """A machine on which a batch was just begun, in virtual time. `before`: so many of each write were made the day before."""
    videos, service = folder / "videos", folder / "service"
    videos.mkdir()
    service.mkdir()
    for number in range(files):
        (videos / f"{number:04}.mp4").write_bytes(f"video {number:04}".encode())  # equal contents would be paid for once
    random.seed(seed)
    with virtual_time() as clock, pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryJobStore, "jobs", {}, raising=False)
        patch.setattr(MemoryJobStore, "documents", {}, raising=False)
        patch.setattr(runners, "JobStore", MemoryJobStore)
        patch.setattr("os.fsync", lambda handle: None)
        account = RemoteSandbox(service, clock, seed, dubbing)
        _add_calls_before(account, before)
        found = SimulatedMachine(folder, clock, account, least)
        found.start_runner()
        try:
            found.run(found.runner.add([str(videos)], BatchOptions(targets=("fr-FR",), captions=False)))
            yield found
        finally:
            found.stop_runner()
            account.close()


def _add_calls_before(account: RemoteSandbox, number: int) -> None:
    """Over ten hours, ten hours ago: the service and the state directory know of it."""
    times = [START_EPOCH_SECONDS + SECONDS_PER_HOUR * (10 * index / max(number, 1) - 20) for index in range(number)]
    saved: dict[str, Any] = {"saved": START_EPOCH_SECONDS}
    for name, endpoint in ENDPOINT_BY_NAME.items():
        if endpoint.is_write:
            account.add_past_calls(name, times)
            budget = RateBudget(BUDGETS["creator"].limits(endpoint))
            for at in times:
                budget.count_call(at)
            saved[endpoint.value] = budget.dump()
    MemoryJobStore.documents["quota"] = saved


Events = tuple[tuple[float, Callable[[SimulatedMachine], None]], ...]
"""What happens at which hour."""

ROUGH_EVENTS: Final[Events] = (
    (0.7, SimulatedMachine.restart_runner),
    (1.3, SimulatedMachine.kill_runner),
    (1.9, lambda machine: machine.set_clock(2)),
    (2.2, SimulatedMachine.restart_runner),
    (2.4, lambda machine: machine.suspend(1)),
    (3.7, lambda machine: machine.set_clock(-2)),
    (3.9, SimulatedMachine.restart_runner),
    (4.2, lambda machine: machine.outage(0.3)),
    (24.6, lambda machine: machine.set_clock(-1)),
    (24.8, lambda machine: machine.kill_runner(1200.0)),
    (25.4, lambda machine: machine.suspend(2)),
    (28.0, SimulatedMachine.restart_runner),
)


def run_hours(found: SimulatedMachine, hours: float, events: Events, each_hour: Callable[[], None] = lambda: None) -> list[str]:
    """So many hours of it; what was miscounted."""
    wrong: list[str] = []
    moments = [*events, *((float(hour), None) for hour in range(1, int(hours) + 1))]
    for hour, event in sorted(moments, key=lambda moment: moment[0]):
        if hour <= hours:
            found.run_until(hour)
            wrong += [f"after {hour} hours: {words}" for words in found.find_miscounts()]
            (event or (lambda _: each_hour()))(found)
    return wrong


def dub_state_counts(runner: Runner) -> Counter[str]:
    """Dubs of each state."""
    return Counter(dub.state.value for job in runner.live_jobs.jobs.values() for dub in job.dubs.values())


def _print_progress(found: SimulatedMachine) -> None:
    calls = {name: len(times) for name, times in found.service.arrival_times().items()}
    print(f"{found.elapsed_seconds / SECONDS_PER_HOUR:5.1f} h  {dict(dub_state_counts(found.runner))}  {calls}", flush=True)


def _print_report(found: SimulatedMachine, wrong: list[str]) -> int:
    for use in busiest_windows(found.service.arrival_times()):
        print(f"{use.endpoint:24} {use.window:8} at most {use.most_calls:6} of {use.limit:6}")
        wrong += [f"too many: {use}"] if use.most_calls > use.limit else []
    wrong += [f"refused: {endpoint} after {at:.0f} s" for endpoint, at in found.service.rate_limited_calls()]
    wrong += [f"{title}: {number} projects" for title, number in found.service.projects_per_title().items() if number > 1]
    print(f"{'wrong':24} {len(wrong)}")
    for words in wrong:
        print(f"  {words}")
    return 1 if wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak.virtual_days")
    parser.add_argument("--hours", type=float, default=48.0)
    parser.add_argument("--files", type=int, default=2100)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--calm", action="store_true", help="nothing happens but work")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="synthdub-days-") as folder,
        simulated_batch(Path(folder), seed=arguments.seed, files=arguments.files) as found,
    ):
        wrong = run_hours(found, arguments.hours, () if arguments.calm else ROUGH_EVENTS, lambda: _print_progress(found))
        return _print_report(found, wrong)


if __name__ == "__main__":
    sys.exit(main())
