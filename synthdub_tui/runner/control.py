"""A plain client of the control socket, for commands: connect, ask once, leave. Imports no asyncio, to start fast."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Self, TypeVar

import msgspec

from synthdub_tui import __version__
from synthdub_tui.problems import Trouble
from synthdub_tui.runner import protocol as p
from synthdub_tui.runner.launch import socket_path

M = TypeVar("M", p.Welcome, p.Reply)

ANSWER_SECONDS = 30.0
"""How long a runner may take for a reply; adding a large folder takes some."""


class Control:
    """A connection to the runner of a state directory."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lines = _lines(connection)
        self._connection.sendall(p.encode(p.Hello(version=__version__)))
        self.welcome = self._next(p.Welcome)

    @classmethod
    def connect(cls, state_dir: str) -> Self | None:
        """None where no runner works on that directory. Raises Trouble("runner_gone") where one does not answer."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(ANSWER_SECONDS)
        try:
            connection.connect(str(socket_path(state_dir)))
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
            return None
        except OSError as error:
            connection.close()
            raise Trouble("runner_gone", error.strerror or str(error)) from error
        return cls(connection)

    def ask(self, request: p.Request) -> p.Reply:
        """The reply. Raises Trouble: the runner's, or "runner_gone"."""
        self.send(request)
        reply = self._next(p.Reply)
        if reply.code:
            raise Trouble(reply.code, reply.detail)
        return reply

    def send(self, request: p.Request) -> None:
        """Ask, and do not wait for the reply. Raises Trouble("runner_gone")."""
        try:
            self._connection.sendall(p.encode(request))
        except OSError as error:
            raise Trouble("runner_gone", error.strerror or "") from error

    def wait_for_end(self) -> None:
        """Returns when the runner closed the connection, which it does when all is saved."""
        for _ in self._lines:
            pass

    def close(self) -> None:
        """Leave."""
        self._connection.close()

    def _next(self, kind: type[M]) -> M:
        """The next message of that kind; others, such as a good-bye, are passed over."""
        try:
            for line in self._lines:
                message = p.decode_message(line)
                if isinstance(message, kind):
                    return message
        except (OSError, msgspec.DecodeError) as error:
            raise Trouble("runner_gone", type(error).__name__) from error
        raise Trouble("runner_gone", "it closed the connection")


def _lines(connection: socket.socket) -> Iterator[bytes]:
    waiting = b""
    while len(waiting) < p.LINE_LIMIT:
        received = connection.recv(65536)
        if not received:
            return
        *lines, waiting = (waiting + received).split(b"\n")
        yield from lines
