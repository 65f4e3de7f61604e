"""A runner that kills itself at a named moment. Started by the torture as a process that forks one runner per line of input.

The product holds no test code: here, functions of `os` that change files, httpx' transport and botocore's HTTP session are
wrapped before it runs, and each call is a fault point before and one after (requests to the API also when they are sent and
when the answer begins). A point is named after what it does to which file, in which phase of the job, and counted, so that the
same name means the same moment in every run, whatever the threads do meanwhile.
"""

from __future__ import annotations

import asyncio
import errno
import importlib
import io
import json
import os
import re
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import msgspec
from botocore.httpsession import URLLib3Session

from synthdub_tui.commands import retry
from synthdub_tui.commands.headless_run import run_batch
from synthdub_tui.jobs.transitions import observation
from synthdub_tui.runner.backoff import Backoff
from synthdub_tui.runner.events import EventPrinter
from synthdub_tui.settings.resolve import resolve_settings
from synthdub_tui.transfer.s3_client import isolated_session

FAST_BACKOFF = Backoff(
    initial_delay=0.02,
    max_delay=0.1,
    asset_poll_initial_delay=0.05,
    asset_poll_max_delay=0.1,
    asset_unseen_timeout=1.0,
    upload_retry_delay=0.02,
)

UNKNOWN_GRACE_SECONDS = 0.3
"""Seconds instead of twenty until a project is believed that does not list a language; the sandbox is never behind."""

LATE_IMPORTS = (
    *("anyio._backends._asyncio", "httpcore", "rtoml", "s3transfer.manager", "tomli_w"),
    *("synthdub_tui.store.job_cache", "synthdub_tui.transfer.url_policy"),
)
"""What a runner imports while it works: a third of the processor time of a short run."""

_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class RunOrder(msgspec.Struct):
    """What one runner is to do. `at`: the point at which it kills itself; `record`: where it writes the points it passes."""

    words: tuple[str, ...]  # `run PATH …` or `retry SELECT …`
    flags: dict[str, Any]
    key: str
    root: str
    at: str = ""
    record: str = ""
    links: bool = True  # else as on a file system without hard links


class FaultPoints:
    """Counts what passes, and kills at the point that was asked for."""

    def __init__(self, order: RunOrder) -> None:
        self._order = order
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._open_files: dict[int, str] = {}
        self._unwritten: set[int] = set()
        self._record = os.open(order.record, os.O_WRONLY | os.O_CREAT | os.O_APPEND) if order.record else -1
        self.phase = "new"

    def pass_point(self, name: str, when: str) -> None:
        """This is a point."""
        with self._lock:
            self._counts[name, when] += 1  # type: ignore[index]
            point = f"{name} #{self._counts[name, when]} {when}"  # type: ignore[index]
            if self._record >= 0:
                _write(self._record, f"{point}\n".encode())
            if point == self._order.at:
                os.kill(os.getpid(), signal.SIGKILL)

    def file_role(self, path: object) -> str:
        """The part that a file plays; empty for those that are not ours to look at."""
        text = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else self._open_files.get(path, "")  # type: ignore[call-overload]
        if not text.startswith(self._order.root):
            return ""
        where, name = os.path.split(text)
        if os.path.isdir(text):
            return f"folder {re.sub(r'^p[0-9]+$', 'videos', os.path.basename(text))}[{self.phase}]"
        if os.path.basename(where) == "jobs":
            return f"job[{self.phase}]" + (" temporary" if name.startswith(".") else "")
        return re.sub(r"^p\d+", "video", name)

    def note_opened(self, handle: int, path: object) -> None:
        """From now on the descriptor means that file."""
        if isinstance(path, str):
            self._open_files[handle] = path
            self._unwritten.add(handle)

    def is_first_write(self, handle: int, data: bytes) -> bool:
        """Whether this is the first write since the file was opened; of a job's file it tells the phase."""
        if handle not in self._unwritten:
            return False
        self._unwritten.discard(handle)
        if "/jobs/." in self._open_files[handle]:
            self.phase = _job_phase(bytes(data))
        return True


def _job_phase(text: bytes) -> str:
    """How far a job has come, by its file."""
    if b"[submission]" in text:
        return "intent"
    if done := text.count(b'state = "done"'):
        return f"{done} done"
    if b"[projects]" in text:
        return "accepted"
    return "asset" if b"[asset]" in text else "new"


_open, _write, _pwrite = os.open, os.write, os.pwrite


def _no_link(*_: Any, **__: Any) -> None:
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


def _wrap_files(points: FaultPoints, links: bool) -> None:
    def opening(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        role = points.file_role(path) if flags & _WRITE_FLAGS else ""
        if role:
            points.pass_point(f"open {role}", "before")
        handle = _open(path, flags, *rest, **named)
        points.note_opened(handle, path)
        if role:
            points.pass_point(f"open {role}", "after")
        return handle

    def writing(real: Callable[..., int]) -> Callable[..., int]:
        def write(handle: int, data: Any, *rest: Any) -> int:
            first = points.is_first_write(handle, data)
            role = points.file_role(handle)
            if not role:
                return real(handle, data, *rest)
            points.pass_point(f"write {role}", "before")
            if first and len(data) > 1:  # the kernel may take less than all at any time, and a kill may come then
                half = real(handle, bytes(data[: len(data) // 2]), *rest)
                points.pass_point(f"write {role}", "halfway")
                return half
            count = real(handle, data, *rest)
            points.pass_point(f"write {role}", "after")
            return count

        return write

    def changing(name: str) -> None:
        real = getattr(os, name)

        def change(path: Any, *rest: Any, **named: Any) -> Any:
            role = points.file_role(path)
            if not role:
                return real(path, *rest, **named)
            points.pass_point(f"{name} {role}", "before")
            result = real(path, *rest, **named)
            points.pass_point(f"{name} {role}", "after")
            return result

        setattr(os, name, change)

    os.open, os.write, os.pwrite = opening, writing(_write), writing(_pwrite)
    if not links:
        os.link = _no_link  # type: ignore[assignment]
    for name in ("fsync", "replace", "rename", "link", "unlink", "ftruncate"):
        changing(name)


def _wrap_requests(points: FaultPoints) -> None:
    send = httpx.AsyncHTTPTransport.handle_async_request
    send_s3 = URLLib3Session.send

    async def sending(self: Any, request: httpx.Request) -> httpx.Response:
        name = _request_name(request.method, request.url.path)

        async def trace(event: str, info: Any) -> None:
            if event.endswith("send_request_body.complete"):
                points.pass_point(name, "sent")
            if event.endswith("receive_response_headers.complete"):
                points.pass_point(name, "answered")

        request.extensions["trace"] = trace
        points.pass_point(name, "before")
        response = await send(self, request)
        points.pass_point(name, "after")
        return response

    def sending_s3(self: Any, request: Any) -> Any:
        name = "S3 " + _s3_operation(request.method, request.url)
        points.pass_point(name, "before")
        response = send_s3(self, request)
        points.pass_point(name, "after")
        return response

    httpx.AsyncHTTPTransport.handle_async_request = sending  # type: ignore[method-assign]
    URLLib3Session.send = sending_s3


def _request_name(method: str, path: str) -> str:
    if path.startswith("/v2/"):
        return f"{method} {'/'.join(path.split('/')[2:3])}{'/id' if path.count('/') > 2 else ''}"
    return f"{method} output {path.split('/')[3]}.{path.rpartition('.')[2]}"


def _s3_operation(method: str, url: str) -> str:
    there = {"uploadId": "uploadId" in url, "uploads": "?uploads" in url, "part": "partNumber" in url}
    return " ".join([method, *(word for word, found in there.items() if found)])


def _run_order(order: RunOrder) -> int:
    observation.UNKNOWN_PUT_GRACE_SECONDS = UNKNOWN_GRACE_SECONDS  # type: ignore[misc]
    settings = resolve_settings(order.flags, {"SYNTHESIA_API_KEY": order.key})
    command, *words = order.words
    points = FaultPoints(order)
    _wrap_files(points, order.links)
    _wrap_requests(points)
    if command == "retry":
        return retry.retry(settings, words, yes=True)
    reporter = EventPrinter(as_json=True, out=io.StringIO(), err=io.StringIO())
    return asyncio.run(run_batch(settings, words, reporter, lambda: order.key, backoff=FAST_BACKOFF))


def _run_in_fork(order: RunOrder) -> int:
    """The runner's wait status: its exit code, or less than 0 for the signal that ended it."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 70
    try:
        quiet = _open(os.devnull, os.O_RDWR)
        os.dup2(quiet, 0)
        os.dup2(quiet, 1)
        code = _run_order(order)
    except BaseException as error:
        print(f"the runner failed: {error!r}", file=sys.stderr, flush=True)
        raise
    finally:
        os._exit(code)


def main() -> None:
    """One order a line, one wait status a line."""
    isolated_session().create_client("s3", region_name="eu-west-1")  # read botocore's data once, not in each runner
    for name in LATE_IMPORTS:
        importlib.import_module(name)
    for line in sys.stdin:
        print(json.dumps(_run_in_fork(msgspec.json.decode(line, type=RunOrder))), flush=True)


if __name__ == "__main__":
    main()
