"""A blocking client of the control socket, for commands. It does not import asyncio, so that commands start fast."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Self, TypeVar

import msgspec

from synthdub_tui import __version__
from synthdub_tui.errors import ProblemError
from synthdub_tui.ipc import protocol as p
from synthdub_tui.ipc.socket_path import socket_path

M = TypeVar("M", p.Welcome, p.Reply)

ANSWER_TIMEOUT_SECONDS = 30.0
"""Seconds within which the runner must answer."""


class BlockingRunnerClient:
    """A connection to the runner of a state directory."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lines = _lines(connection)
        self._connection.sendall(p.encode(p.Hello(version=__version__)))
        self.welcome = self._next(p.Welcome)

    @classmethod
    def connect(cls, state_dir: str) -> Self | None:
        """Returns None if no runner works on the directory. Raises ProblemError("runner_gone") if a runner does not answer."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(ANSWER_TIMEOUT_SECONDS)
        try:
            connection.connect(str(socket_path(state_dir)))
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
            return None
        except OSError as error:
            connection.close()
            raise ProblemError("runner_gone", error.strerror or str(error)) from error
        return cls(connection)

    def ask(self, request: p.Request) -> p.Reply:
        """Send a request and return the reply. Raises the ProblemError that the runner reports, or
        ProblemError("runner_gone")."""
        self.send(request)
        reply = self._next(p.Reply)
        if reply.code:
            raise ProblemError(reply.code, reply.detail)
        return reply

    def send(self, request: p.Request) -> None:
        """Send a request without waiting for the reply. Raises ProblemError("runner_gone")."""
        try:
            self._connection.sendall(p.encode(request))
        except OSError as error:
            raise ProblemError("runner_gone", error.strerror or "") from error

    def wait_for_end(self) -> None:
        """Wait until the runner closes the connection, which it does after it has saved everything."""
        for _ in self._lines:
            pass

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _next(self, kind: type[M]) -> M:
        """Returns the next message of that kind and skips others, such as `Bye`. Raises ProblemError("runner_gone")."""
        try:
            for line in self._lines:
                message = p.decode_message(line)
                if isinstance(message, kind):
                    return message
        except (OSError, msgspec.DecodeError) as error:
            raise ProblemError("runner_gone", type(error).__name__) from error
        raise ProblemError("runner_gone", "it closed the connection")


def _lines(connection: socket.socket) -> Iterator[bytes]:
    waiting = b""
    while len(waiting) < p.MAX_LINE_BYTES:
        received = connection.recv(65536)
        if not received:
            return
        *lines, waiting = (waiting + received).split(b"\n")
        yield from lines
