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
from synthdub_tui.errors import Trouble
from synthdub_tui.ipc import client as link_module
from synthdub_tui.ipc.client import Link, LinkState
from synthdub_tui.ipc.protocol import (
    LINE_LIMIT,
    PROTOCOL,
    Bye,
    Changes,
    Hello,
    Message,
    Pause,
    Reply,
    Request,
    Retry,
    Snapshot,
    Status,
    Stop,
    Welcome,
)
from tests.dashboard.fake_runner import FakeRunner, make_job
from tests.waiting import patience, until


class Ears:
    """What a link reported."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.states: list[LinkState] = []

    def jobs(self) -> int:
        return sum(len(message.jobs) for message in self.messages if isinstance(message, Snapshot | Changes))


@asynccontextmanager
async def linked(runner: FakeRunner, launcher: object = None) -> AsyncIterator[tuple[Link, Ears]]:
    ears = Ears()
    link = Link(launcher or runner, __version__, ears.messages.append, ears.states.append)  # type: ignore[arg-type]
    task = asyncio.create_task(link.run())
    try:
        yield link, ears
        assert not task.done(), "the link must never end by itself"
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await runner.die()


def runner_at(tmp_path: Path, jobs: int = 1, **facts: str) -> FakeRunner:
    return FakeRunner(tmp_path / "runner.sock", [make_job(n, ["fr-FR", "es-ES"]) for n in range(jobs)], **facts)


async def test_the_batch_arrives_in_parts_and_then_its_changes(tmp_path: Path) -> None:
    runner = runner_at(tmp_path, 450)
    async with linked(runner) as (link, ears):
        await until(lambda: runner.attached)
        await until(lambda: ears.jobs() == 450)
        assert [message.last for message in ears.messages if isinstance(message, Snapshot)] == [False, False, True]
        runner.push(make_job(7, ["fr-FR"]))
        await until(lambda: ears.jobs() == 451)
        assert link.state is LinkState.ATTACHED


async def test_replies_find_their_requests_in_any_order(tmp_path: Path) -> None:
    runner = runner_at(tmp_path)
    held: list[Request] = []

    def answer(request: Request) -> Reply | None:
        if isinstance(request, Pause):
            held.append(request)
            return Reply(id=0)  # an answer to nobody
        return Reply(id=request.id, result={"retried": 3}) if isinstance(request, Retry) else None

    runner.answer = answer
    async with linked(runner) as (link, _):
        await until(lambda: runner.attached)
        runner._do = lambda request: Reply(id=request.id)  # type: ignore[method-assign]
        first = asyncio.create_task(link.ask(Retry(cells=())))
        second = asyncio.create_task(link.ask(Status()))
        assert (await first).result == {"retried": 3}
        assert (await second).code == ""


async def test_a_request_without_an_answer_ends_with_a_problem(tmp_path: Path) -> None:
    runner = runner_at(tmp_path)

    async def deaf(request: Request, writer: object) -> None:
        del request, writer

    async with linked(runner) as (link, _):
        await until(lambda: runner.attached)
        runner._handle = deaf  # type: ignore[method-assign, assignment]
        assert (await link.ask(Pause(), patience=0.05)).code == "runner_gone"


async def test_requests_before_a_connection_and_after_its_loss_are_answered(tmp_path: Path) -> None:
    runner = runner_at(tmp_path)
    link = Link(runner, __version__, lambda message: None, lambda state: None)
    assert (await link.ask(Pause())).code == "runner_gone"

    async def dies(request: Request, writer: asyncio.StreamWriter) -> None:
        del request, writer
        await runner.die()

    async with linked(runner) as (link, _):
        await until(lambda: runner.attached)
        runner._handle = dies  # type: ignore[method-assign, assignment]
        assert (await link.ask(Pause())).code == "runner_gone"


async def test_a_dead_runner_is_told_and_started_only_when_asked(tmp_path: Path) -> None:
    runner = runner_at(tmp_path)
    async with linked(runner) as (link, ears):
        await until(lambda: runner.attached)
        await runner.die()
        await until(lambda: link.state is LinkState.GONE)
        assert link.problem is not None and link.problem.code == "runner_gone"
        assert runner.starts == 1
        link.restart()
        await until(lambda: link.state is LinkState.ATTACHED)
        assert runner.starts == 2
        await until(lambda: ears.jobs() == 2)


async def test_a_connection_that_breaks_while_the_runner_lives_is_mended_by_itself(tmp_path: Path) -> None:
    runner = runner_at(tmp_path)
    async with linked(runner) as (_, ears):
        await until(lambda: runner.attached)
        for writer in list(runner._clients):
            writer.transport.abort()
        await until(lambda: ears.states.count(LinkState.ATTACHED) == 2)
        assert LinkState.GONE not in ears.states
        assert runner.starts == 1


@pytest.mark.parametrize("line", [b"not json\n", b'{"is":"nothing"}\n', b'{"is":"changes","jobs":3}\n', b"\xff\xfe\n", b"\n"])
async def test_nonsense_ends_the_connection_and_not_the_dashboard(tmp_path: Path, line: bytes) -> None:
    runner = runner_at(tmp_path)
    async with linked(runner) as (link, ears):
        await until(lambda: runner.attached)
        runner.say_raw(line)
        await until(lambda: ears.states.count(LinkState.ATTACHED) == 2)
        assert link.state is LinkState.ATTACHED


async def test_a_line_without_end_is_not_collected(tmp_path: Path) -> None:
    runner = runner_at(tmp_path)
    async with linked(runner) as (_, ears):
        await until(lambda: runner.attached)
        runner.say_raw(b"x" * (LINE_LIMIT + 400_000))
        await until(lambda: ears.states.count(LinkState.ATTACHED) == 2)


async def test_another_version_is_asked_to_stop_and_replaced(tmp_path: Path) -> None:
    runner = runner_at(tmp_path, version="0.0.1")
    async with linked(runner) as (link, ears):
        await until(lambda: link.state is LinkState.ATTACHED)
        assert LinkState.REPLACING in ears.states
        assert len(runner.asked(Stop)) == 1
        assert runner.starts == 2
        assert link.welcome is not None and link.welcome.version == __version__


async def test_a_run_in_the_foreground_of_another_version_is_left_alone(tmp_path: Path) -> None:
    runner = runner_at(tmp_path, version="0.0.1")
    runner.foreground = True
    async with linked(runner) as (link, _):
        await until(lambda: link.state is LinkState.GONE)
        assert link.problem is not None and link.problem.code == "state_busy"
        assert "0.0.1" in link.problem.detail
        assert not runner.asked(Stop)


async def test_after_an_update_the_runner_is_replaced_once_and_then_followed(tmp_path: Path) -> None:
    """The dashboard is the old one, and every runner that it starts is a new one."""
    runner = runner_at(tmp_path, version="9.9.9")
    runner.updated = "9.9.9"
    async with linked(runner) as (link, ears):
        await until(lambda: ears.jobs() == 1)
        assert link.welcome is not None and link.welcome.version == "9.9.9"
        assert len(runner.asked(Stop)) == 1 and runner.starts == 2


async def test_a_runner_of_another_protocol_is_replaced_once_and_then_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "PROTOCOL", link_module.PROTOCOL + 1)
    monkeypatch.setattr(link_module, "LOOK", 0.01)
    runner = runner_at(tmp_path)
    async with linked(runner) as (link, ears):
        await until(lambda: link.state is LinkState.GONE)
        await until(lambda: len(runner.asked(Hello)) > 4)  # it looks again, and leaves it alone
        assert link.problem is not None and link.problem.code == "runner_other"
        assert len(runner.asked(Stop)) == 1 and ears.states.count(LinkState.GONE) == 1


async def test_a_runner_that_dies_when_it_is_to_be_replaced_is_replaced(tmp_path: Path) -> None:
    """Killed before it read the request, its end of the socket is reset."""
    runner = runner_at(tmp_path, version="0.0.1")
    greet = runner._handle

    async def die_unread(request: Request, writer: asyncio.StreamWriter) -> None:
        await greet(request, writer)
        if runner.version == "0.0.1":
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            await until(lambda: unread(writer.get_extra_info("socket")))
            runner.version = __version__
            await runner.die()

    runner._handle = die_unread  # type: ignore[method-assign]
    async with linked(runner) as (link, ears):
        await until(lambda: link.state is LinkState.ATTACHED)
        assert LinkState.GONE not in ears.states


def unread(connection: TransportSocket) -> int:
    """Bytes that came and were not read."""
    return int.from_bytes(fcntl.ioctl(connection.fileno(), termios.FIONREAD, bytes(4)), sys.byteorder)


async def test_it_ends_also_where_it_is_cancelled_in_the_moment_of_the_greeting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`asyncio.wait_for` of Python 3.11 forgets a cancel that comes when what it waits for is done."""
    runner, come, greeted = runner_at(tmp_path), asyncio.Event(), asyncio.Event()

    async def welcome(link: Link, lines: object) -> Welcome:
        come.set()
        await greeted.wait()
        return Welcome(version=__version__, protocol=PROTOCOL, pid=1)

    monkeypatch.setattr(Link, "_welcome", welcome)
    link = Link(runner, __version__, lambda message: None, lambda state: None)
    task = asyncio.create_task(link.run())
    await come.wait()
    greeted.set()
    await asyncio.sleep(0)  # now the greeting is there, and whoever waits for it does not know yet
    task.cancel()
    await asyncio.wait({task}, timeout=patience())
    ended = task.done()
    task.cancel()
    await runner.die()
    assert ended


async def test_a_runner_that_another_dashboard_started_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "LOOK", 0.01)
    runner = runner_at(tmp_path)
    async with linked(runner) as (link, ears):
        await until(lambda: runner.attached)
        await runner.die()
        await until(lambda: link.state is LinkState.GONE)
        await runner.start()
        await until(lambda: link.state is LinkState.ATTACHED and ears.jobs() == 2)


async def test_a_farewell_is_kept_in_words(tmp_path: Path) -> None:
    runner = runner_at(tmp_path)
    async with linked(runner) as (link, ears):
        await until(lambda: runner.attached)
        runner.say(Bye("stopped"))
        await until(lambda: link.state is LinkState.GONE)
        assert any(isinstance(message, Bye) for message in ears.messages)
        assert link.problem is not None and "saved" in link.problem.detail


async def test_a_runner_that_cannot_start_says_why(tmp_path: Path) -> None:
    class Cannot:
        path = tmp_path / "none"

        async def start(self) -> Path:
            raise Trouble("no_key")

    runner = runner_at(tmp_path)
    async with linked(runner, Cannot()) as (link, _):
        await until(lambda: link.state is LinkState.GONE)
        assert link.problem is not None and link.problem.code == "no_key"


async def test_a_socket_that_is_not_there_yet_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "CONNECT_TIMEOUT", 5.0)
    runner = runner_at(tmp_path)

    class Slow:
        path = runner.path

        async def start(self) -> Path:
            asyncio.get_running_loop().call_later(0.2, lambda: asyncio.ensure_future(runner.start()))
            return runner.path

    async with linked(runner, Slow()) as (link, _):
        await until(lambda: link.state is LinkState.ATTACHED)
