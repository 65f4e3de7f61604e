"""The part file of a download, and how it becomes the output."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from synthdub_tui.errors import ProblemError
from synthdub_tui.transfer.daemon_executor import DaemonThreadPool, await_detached, wait_with_checks

DISK_FULL_ERRNOS: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
LINK_UNSUPPORTED_ERRNOS: Final = frozenset(
    {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV, errno.EINVAL}
)
"""Errors of link() on file systems without hard links (FAT, some network and user-space ones)."""

SYNC_UNSUPPORTED_ERRNOS: Final = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP})
"""Errors of fsync() on file systems that cannot sync a folder."""

LOCK_UNSUPPORTED_ERRNOS: Final = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})
"""Errors of flock() on file systems without locks."""

WRITE_BLOCK_BYTES: Final = 1024 * 1024
"""Bytes per write."""

_LOCK_POOL: Final = DaemonThreadPool(8, "hold")

CLOSE_TIMEOUT_SECONDS: Final = 5.0
"""Seconds that `PartFile.close` waits for a step in progress."""

T = TypeVar("T")
ReadInto = Callable[[memoryview], int]
"""Puts some bytes into the buffer and returns how many, 0 at the end."""


class PartFile:
    """A part file opened for appending, in threads.

    `size` counts all bytes so far, including those not yet on disk. All methods but `close` raise ProblemError: disk_full,
    output_unwritable. Bytes written before such an error stay.
    """

    def __init__(self, fd: int, size: int, pool: DaemonThreadPool) -> None:
        self._fd = fd
        self._pool = pool
        self._step: Future[Any] | None = None
        self.size = size

    @classmethod
    async def open(cls, path: str, pool: DaemonThreadPool) -> PartFile:
        """Open or create the file. Refuses a symbolic link and anything else that is not a regular file."""
        opening = pool.submit(_open, path)
        try:
            fd, size = await await_detached(asyncio.wrap_future(opening))
        except asyncio.CancelledError:
            opening.add_done_callback(_close_opened)
            raise
        return cls(fd, size, pool)

    async def append_from(self, read: ReadInto, byte_count: int, check: Callable[[], None]) -> None:
        """Append bytes from `read`, until they are `byte_count` or `read` returns 0. Meanwhile calls `check` every
        `CHECK_INTERVAL_SECONDS`.

        If `read` raises, the bytes before that are written first.
        """
        await self._run(self._fill, read, byte_count, look=check)

    async def truncate(self) -> None:
        """Drop the contents, durably: a new validator must never be saved next to bytes of the old file."""
        if self.size:
            await self._run(_clear, self._fd)
            self.size = 0

    async def sync(self) -> os.stat_result:
        """Make the contents durable. Returns the file's status after that."""
        return await self._run(_sync, self._fd)

    async def close(self) -> None:
        """Close the file after the step in progress. Waits for that at most `CLOSE_TIMEOUT_SECONDS` seconds; does not raise its
        error."""
        last: Future[Any] = self._step or self._pool.submit(int)
        # not earlier: the descriptor's number could be reused for another file before the step writes
        last.add_done_callback(lambda _: close_quietly(self._fd))
        over = asyncio.wrap_future(last)
        over.add_done_callback(lambda done: done.exception())
        await asyncio.wait({over}, timeout=CLOSE_TIMEOUT_SECONDS)

    async def _run(self, step: Callable[..., T], *arguments: Any, look: Callable[[], None] = lambda: None) -> T:
        """Run one step in a thread. After a cancel the step continues, and `close` waits for it."""
        running = self._step = self._pool.submit(step, *arguments)
        return await wait_with_checks(asyncio.wrap_future(running), look)

    def _fill(self, read: ReadInto, amount: int) -> None:
        buffer = memoryview(bytearray(min(WRITE_BLOCK_BYTES, amount)))
        end = self.size + amount
        held = 0
        try:
            while self.size < end and (count := read(buffer[held : held + end - self.size])):
                held += count
                self.size += count
                if held == len(buffer):
                    held = 0
                    _write(self._fd, buffer, self.size - len(buffer))
        finally:
            _write(self._fd, buffer[:held], self.size - held)


@asynccontextmanager
async def lock_part(part: str) -> AsyncIterator[None]:
    """Lock a part file within the context, because two batches can have the same output. Creates it empty if it is missing.
    Raises ProblemError: output_unwritable (also if another synthdub has the lock), disk_full."""
    taking = asyncio.wrap_future(_LOCK_POOL.submit(_open_locked, part))
    try:
        handle = await await_detached(taking)
    except asyncio.CancelledError:
        taking.add_done_callback(_close_locked)
        raise
    try:
        yield
    finally:
        close_quietly(handle)


def check_part_can_be_created(path: str) -> None:
    """Create an empty part file and remove it again, to check that this is possible. Leaves an existing part file alone.

    Removes the file only under its lock. Raises OSError, and ProblemError("output_unwritable") if the name belongs to something
    other than a regular file.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    except FileExistsError:
        with contextlib.suppress(FileNotFoundError):  # another synthdub tried the same name, so it is possible
            if not stat.S_ISREG(os.lstat(path).st_mode):
                raise ProblemError("output_unwritable", "the part is not a regular file") from None
        return
    try:
        _lock(handle)
        if _still_has_path(handle, path):
            os.unlink(path)
    except ProblemError:
        pass  # another synthdub has locked it meanwhile, and uses it now
    finally:
        os.close(handle)


def remove_part(path: str) -> None:
    """Remove a part file, unless it is locked: another batch can have the same output. Raises nothing: a part file that cannot
    be removed only takes space."""
    with contextlib.suppress(OSError, ProblemError):
        handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            _lock(handle)
            if _still_has_path(handle, path):
                os.unlink(path)
        finally:
            os.close(handle)


def publish(part: str, output: str, *, replace: bool) -> os.stat_result:
    """Give the finished `part` its final name, durably. Returns the file's status there.

    Blocking: for a thread. Without `replace`, an existing file keeps the name, even if it was created at the last moment, and
    an interrupted `publish` is completed. Raises ProblemError: output_exists, output_unwritable, disk_full.
    """
    try:
        if replace:
            os.replace(part, output)
        else:
            _publish_by_link(part, output)
        _sync_folder(os.path.dirname(output) or ".")
        return os.lstat(output)
    except OSError as error:
        raise disk_error(error) from None


def complete_publishing(part: str, output: str) -> None:
    """Complete an interrupted `publish` after which the file has its final name already. Blocking. Raises ProblemError:
    output_unwritable, disk_full."""
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
        _sync_folder(os.path.dirname(output) or ".")
    except OSError as error:
        raise disk_error(error) from None


def close_quietly(handle: int) -> None:
    """Close a descriptor and ignore errors: needed bytes were synced before. If the volume is gone (a network, an unplugged
    drive), closing raises, but still frees the descriptor."""
    with contextlib.suppress(OSError):
        os.close(handle)


def disk_error(error: OSError) -> ProblemError:
    """ProblemError for an error of the output's file system: disk_full or output_unwritable."""
    return ProblemError("disk_full" if error.errno in DISK_FULL_ERRNOS else "output_unwritable", error.strerror or "")


def _publish_by_link(part: str, final: str) -> None:
    try:
        os.link(part, final, follow_symlinks=False)
    except FileExistsError:
        if not os.path.samestat(os.lstat(part), os.lstat(final)):
            raise _name_taken_error(final) from None
    except OSError as error:
        if error.errno not in LINK_UNSUPPORTED_ERRNOS:
            raise
        _publish_without_links(part, final)
        return
    os.unlink(part)


def _publish_without_links(part: str, final: str) -> None:
    """For file systems without hard links: take the name with an empty file, then replace that file. The kernel lets only one
    of two programs create it."""
    try:
        os.close(os.open(final, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC))
    except FileExistsError:
        raise _name_taken_error(final) from None
    try:
        os.replace(part, final)
    except BaseException:
        os.unlink(final)
        raise


def _name_taken_error(final: str) -> ProblemError:
    if stat.S_ISDIR(os.lstat(final).st_mode):
        return ProblemError("output_unwritable", "a folder has the name")
    return ProblemError("output_exists")


def _sync_folder(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in SYNC_UNSUPPORTED_ERRNOS:
            raise
    finally:
        os.close(fd)


def _open_locked(path: str) -> int:
    """A locked descriptor of the part file. Another synthdub may have renamed the opened file by `publish`; then open again."""
    try:
        while True:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
            try:
                _lock(handle)
                if _still_has_path(handle, path):
                    return handle
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)
    except OSError as error:
        raise disk_error(error) from None


def _still_has_path(handle: int, path: str) -> bool:
    """Whether the opened file still has that name."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(handle), os.lstat(path))
    return False


def _lock(handle: int) -> None:
    """Take the kernel's lock, which ends with the process. Some network file systems have none; there it is skipped."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ProblemError("output_unwritable", "another synthdub is fetching it") from None
    except OSError as error:
        if error.errno not in LOCK_UNSUPPORTED_ERRNOS:
            raise


def _close_locked(taking: asyncio.Future[int]) -> None:
    if not taking.cancelled() and taking.exception() is None:
        close_quietly(taking.result())


def _open(path: str) -> tuple[int, int]:
    """Open or create the part file; returns its descriptor and size."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        fd = os.open(path, flags, 0o666)
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise ProblemError("output_unwritable", "the part is not a regular file")
            if found.st_nlink == 1:
                return fd, found.st_size
        except BaseException:
            os.close(fd)
            raise
        # `publish` was interrupted after the link: writing here would write into the output
        os.close(fd)
        os.unlink(path)
        return os.open(path, flags | os.O_EXCL, 0o666), 0
    except OSError as error:
        raise disk_error(error) from None


def _close_opened(opening: Future[tuple[int, int]]) -> None:
    if opening.exception() is None:
        close_quietly(opening.result()[0])


def _write(fd: int, rest: memoryview, offset: int) -> None:
    try:
        while rest:
            written = os.pwrite(fd, rest, offset)
            rest = rest[written:]
            offset += written
    except OSError as error:
        raise disk_error(error) from None


def _clear(fd: int) -> None:
    try:
        os.ftruncate(fd, 0)
        os.fsync(fd)
    except OSError as error:
        raise disk_error(error) from None


def _sync(fd: int) -> os.stat_result:
    try:
        os.fsync(fd)
        return os.fstat(fd)
    except OSError as error:
        raise disk_error(error) from None
