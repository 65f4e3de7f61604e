"""The connection to the runner: over a real socket, with a runner that may lie, die, or be of another time."""

from __future__ import annotations

import asyncio
import fcntl
import sys
import termios
from asyncio.trsock import TransportSocket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from synthdub_tui import __version__
from synthdub_tui.errors import ProblemError
from synthdub_tui.ipc import client as link_module
from synthdub_tui.ipc.client import LinkState, RunnerClient
from synthdub_tui.ipc.protocol import (
    MAX_LINE_BYTES,
    PROTOCOL_VERSION,
    Bye,
    Changes,
    Hello,
    Message,
    PauseRequest,
    Reply,
    Request,
    RetryRequest,
    Snapshot,
    StatusRequest,
    StopRequest,
    Welcome,
)
from tests.dashboard.fake_runner import FakeRunner, make_job
from tests.waiting import scale_timeout, until


class ClientRecorder:
    """What a link reported."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.states: list[LinkState] = []

    def jobs(self) -> int:
        return sum(len(message.jobs) for message in self.messages if isinstance(message, Snapshot | Changes))


@asynccontextmanager
async def connected_client(runner: FakeRunner, launcher: object = None) -> AsyncIterator[tuple[RunnerClient, ClientRecorder]]:
    ears = ClientRecorder()
    link = RunnerClient(launcher or runner, __version__, ears.messages.append, ears.states.append)  # type: ignore[arg-type]
    task = asyncio.create_task(link.run())
    try:
        yield link, ears
        assert not task.done(), "the link must never end by itself"
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await runner.disconnect()


def make_fake_runner(tmp_path: Path, jobs: int = 1, **facts: str) -> FakeRunner:
    return FakeRunner(tmp_path / "runner.sock", [make_job(n, ["fr-FR", "es-ES"]) for n in range(jobs)], **facts)


async def test_the_batch_arrives_in_parts_and_then_its_changes(tmp_path: Path) -> None:
    runner = make_fake_runner(tmp_path, 450)
    async with connected_client(runner) as (link, ears):
        await until(lambda: runner.subscriber_count)
        await until(lambda: ears.jobs() == 450)
        assert [message.last for message in ears.messages if isinstance(message, Snapshot)] == [False, False, True]
        runner.push_changes(make_job(7, ["fr-FR"]))
        await until(lambda: ears.jobs() == 451)
        assert link.state is LinkState.ATTACHED


async def test_replies_find_their_requests_in_any_order(tmp_path: Path) -> None:
    runner = make_fake_runner(tmp_path)
    held: list[Request] = []

    def answer(request: Request) -> Reply | None:
        if isinstance(request, PauseRequest):
            held.append(request)
            return Reply(id=0)  # an answer to nobody
        return Reply(id=request.id, result={"retried": 3}) if isinstance(request, RetryRequest) else None

    runner.reply_override = answer
    async with connected_client(runner) as (link, _):
        await until(lambda: runner.subscriber_count)
        runner._apply_request = lambda request: Reply(id=request.id)  # type: ignore[method-assign]
        first = asyncio.create_task(link.ask(RetryRequest(cells=())))
        second = asyncio.create_task(link.ask(StatusRequest()))
        assert (await first).result == {"retried": 3}
        assert (await second).code == ""


async def test_a_request_without_an_answer_ends_with_a_problem(tmp_path: Path) -> None:
    runner = make_fake_runner(tmp_path)

    async def deaf(request: Request, writer: object) -> None:
        del request, writer

    async with connected_client(runner) as (link, _):
        await until(lambda: runner.subscriber_count)
        runner._handle = deaf  # type: ignore[method-assign, assignment]
        assert (await link.ask(PauseRequest(), timeout=0.05)).code == "runner_gone"


async def test_requests_before_a_connection_and_after_its_loss_are_answered(tmp_path: Path) -> None:
    runner = make_fake_runner(tmp_path)
    link = RunnerClient(runner, __version__, lambda message: None, lambda state: None)
    assert (await link.ask(PauseRequest())).code == "runner_gone"

    async def dies(request: Request, writer: asyncio.StreamWriter) -> None:
        del request, writer
        await runner.disconnect()

    async with connected_client(runner) as (link, _):
        await until(lambda: runner.subscriber_count)
        runner._handle = dies  # type: ignore[method-assign, assignment]
        assert (await link.ask(PauseRequest())).code == "runner_gone"


async def test_a_dead_runner_is_reported_and_started_only_on_request(tmp_path: Path) -> None:
    runner = make_fake_runner(tmp_path)
    async with connected_client(runner) as (link, ears):
        await until(lambda: runner.subscriber_count)
        await runner.disconnect()
        await until(lambda: link.state is LinkState.GONE)
        assert link.problem is not None and link.problem.code == "runner_gone"
        assert runner.start_count == 1
        link.restart()
        await until(lambda: link.state is LinkState.ATTACHED)
        assert runner.start_count == 2
        await until(lambda: ears.jobs() == 2)


async def test_a_broken_connection_to_a_live_runner_is_restored(tmp_path: Path) -> None:
    runner = make_fake_runner(tmp_path)
    async with connected_client(runner) as (_, ears):
        await until(lambda: runner.subscriber_count)
        for writer in list(runner._clients):
            writer.transport.abort()
        await until(lambda: ears.states.count(LinkState.ATTACHED) == 2)
        assert LinkState.GONE not in ears.states
        assert runner.start_count == 1


@pytest.mark.parametrize("line", [b"not json\n", b'{"is":"nothing"}\n', b'{"is":"changes","jobs":3}\n', b"\xff\xfe\n", b"\n"])
async def test_nonsense_ends_the_connection_and_not_the_dashboard(tmp_path: Path, line: bytes) -> None:
    runner = make_fake_runner(tmp_path)
    async with connected_client(runner) as (link, ears):
        await until(lambda: runner.subscriber_count)
        runner.send_bytes(line)
        await until(lambda: ears.states.count(LinkState.ATTACHED) == 2)
        assert link.state is LinkState.ATTACHED


async def test_a_line_without_end_is_not_collected(tmp_path: Path) -> None:
    runner = make_fake_runner(tmp_path)
    async with connected_client(runner) as (_, ears):
        await until(lambda: runner.subscriber_count)
        runner.send_bytes(b"x" * (MAX_LINE_BYTES + 400_000))
        await until(lambda: ears.states.count(LinkState.ATTACHED) == 2)


async def test_another_version_is_asked_to_stop_and_replaced(tmp_path: Path) -> None:
    runner = make_fake_runner(tmp_path, version="0.0.1")
    async with connected_client(runner) as (link, ears):
        await until(lambda: link.state is LinkState.ATTACHED)
        assert LinkState.REPLACING in ears.states
        assert len(runner.requests_of(StopRequest)) == 1
        assert runner.start_count == 2
        assert link.welcome is not None and link.welcome.version == __version__


async def test_a_run_in_the_foreground_of_another_version_is_left_alone(tmp_path: Path) -> None:
    runner = make_fake_runner(tmp_path, version="0.0.1")
    runner.is_foreground = True
    async with connected_client(runner) as (link, _):
        await until(lambda: link.state is LinkState.GONE)
        assert link.problem is not None and link.problem.code == "state_busy"
        assert "0.0.1" in link.problem.detail
        assert not runner.requests_of(StopRequest)


async def test_after_an_update_the_runner_is_replaced_once_and_then_followed(tmp_path: Path) -> None:
    """The dashboard is the old one, and every runner that it starts is a new one."""
    runner = make_fake_runner(tmp_path, version="9.9.9")
    runner.next_version = "9.9.9"
    async with connected_client(runner) as (link, ears):
        await until(lambda: ears.jobs() == 1)
        assert link.welcome is not None and link.welcome.version == "9.9.9"
        assert len(runner.requests_of(StopRequest)) == 1 and runner.start_count == 2


async def test_a_runner_of_another_protocol_is_replaced_once_then_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "PROTOCOL_VERSION", link_module.PROTOCOL_VERSION + 1)
    monkeypatch.setattr(link_module, "RUNNER_CHECK_INTERVAL_SECONDS", 0.01)
    runner = make_fake_runner(tmp_path)
    async with connected_client(runner) as (link, ears):
        await until(lambda: link.state is LinkState.GONE)
        await until(lambda: len(runner.requests_of(Hello)) > 4)  # it looks again, and leaves it alone
        assert link.problem is not None and link.problem.code == "runner_other"
        assert len(runner.requests_of(StopRequest)) == 1 and ears.states.count(LinkState.GONE) == 1


async def test_a_runner_that_dies_when_it_is_to_be_replaced_is_replaced(tmp_path: Path) -> None:
    """Killed before it read the request, its end of the socket is reset."""
    runner = make_fake_runner(tmp_path, version="0.0.1")
    greet = runner._handle

    async def die_unread(request: Request, writer: asyncio.StreamWriter) -> None:
        await greet(request, writer)
        if runner.version == "0.0.1":
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            await until(lambda: count_unread_bytes(writer.get_extra_info("socket")))
            runner.version = __version__
            await runner.disconnect()

    runner._handle = die_unread  # type: ignore[method-assign]
    async with connected_client(runner) as (link, ears):
        await until(lambda: link.state is LinkState.ATTACHED)
        assert LinkState.GONE not in ears.states


def count_unread_bytes(connection: TransportSocket) -> int:
    """Bytes that came and were not read."""
    return int.from_bytes(fcntl.ioctl(connection.fileno(), termios.FIONREAD, bytes(4)), sys.byteorder)


async def test_a_client_cancelled_during_the_greeting_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`asyncio.wait_for` of Python 3.11 forgets a cancel that comes when what it waits for is done."""
    runner, come, greeted = make_fake_runner(tmp_path), asyncio.Event(), asyncio.Event()

    async def welcome(link: RunnerClient, lines: object) -> Welcome:
        come.set()
        await greeted.wait()
        return Welcome(version=__version__, protocol=PROTOCOL_VERSION, pid=1)

    monkeypatch.setattr(RunnerClient, "_welcome", welcome)
    link = RunnerClient(runner, __version__, lambda message: None, lambda state: None)
    task = asyncio.create_task(link.run())
    await come.wait()
    greeted.set()
    await asyncio.sleep(0)  # now the greeting is there, and whoever waits for it does not know yet
    task.cancel()
    await asyncio.wait({task}, timeout=scale_timeout())
    ended = task.done()
    task.cancel()
    await runner.disconnect()
    assert ended


async def test_a_runner_that_another_dashboard_started_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "RUNNER_CHECK_INTERVAL_SECONDS", 0.01)
    runner = make_fake_runner(tmp_path)
    async with connected_client(runner) as (link, ears):
        await until(lambda: runner.subscriber_count)
        await runner.disconnect()
        await until(lambda: link.state is LinkState.GONE)
        await runner.start()
        await until(lambda: link.state is LinkState.ATTACHED and ears.jobs() == 2)


async def test_a_goodbye_of_the_runner_is_explained_to_the_user(tmp_path: Path) -> None:
    runner = make_fake_runner(tmp_path)
    async with connected_client(runner) as (link, ears):
        await until(lambda: runner.subscriber_count)
        runner.send_message(Bye("stopped"))
        await until(lambda: link.state is LinkState.GONE)
        assert any(isinstance(message, Bye) for message in ears.messages)
        assert link.problem is not None and "saved" in link.problem.detail


async def test_a_runner_that_cannot_start_says_why(tmp_path: Path) -> None:
    class Cannot:
        path = tmp_path / "none"

        async def start(self) -> Path:
            raise ProblemError("no_key")

    runner = make_fake_runner(tmp_path)
    async with connected_client(runner, Cannot()) as (link, _):
        await until(lambda: link.state is LinkState.GONE)
        assert link.problem is not None and link.problem.code == "no_key"


async def test_a_socket_that_is_not_there_yet_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "CONNECT_TIMEOUT_SECONDS", 5.0)
    runner = make_fake_runner(tmp_path)

    class Slow:
        path = runner.path

        async def start(self) -> Path:
            asyncio.get_running_loop().call_later(0.2, lambda: asyncio.ensure_future(runner.start()))
            return runner.path

    async with connected_client(runner, Slow()) as (link, _):
        await until(lambda: link.state is LinkState.ATTACHED)
