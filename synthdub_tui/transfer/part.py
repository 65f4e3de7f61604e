"""The unfinished file of a download, and how it becomes the finished one (design rule 2)."""

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

from synthdub_tui.problems import Trouble
from synthdub_tui.transfer.threads import DaemonPool, watch

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
NO_LINKS: Final = frozenset(
    {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV, errno.EINVAL}
)
"""What file systems without hard links (FAT, some network and user-space ones) answer to link()."""

NO_SYNC: Final = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP})
"""What file systems on which a folder cannot be synced answer to fsync()."""

NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})
"""What file systems that know no locks answer to flock()."""

BLOCK: Final = 1024 * 1024
"""Bytes per write."""

_HOLDERS: Final = DaemonPool(8, "hold")

SETTLE: Final = 5.0
"""Seconds that a cancelled download waits for a write under way."""

T = TypeVar("T")
Read = Callable[[memoryview], int]
"""Puts some bytes into the buffer and says how many, 0 at the end."""


class PartFile:
    """A part file opened for writing at its end, in threads.

    `size` counts the bytes given to it so far, those on their way to the disk included. All methods but `close` raise Trouble:
    disk_full, output_unwritable. What was written before such an error stays.
    """

    def __init__(self, fd: int, size: int, pool: DaemonPool) -> None:
        self._fd = fd
        self._pool = pool
        self._step: Future[Any] | None = None
        self.size = size

    @classmethod
    async def open(cls, path: str, pool: DaemonPool) -> PartFile:
        """Open or create it. A symbolic link, or anything else that is not a regular file, is refused."""
        opening = pool.submit(_open, path)
        try:
            fd, size = await asyncio.shield(asyncio.wrap_future(opening))
        except asyncio.CancelledError:
            opening.add_done_callback(_close_opened)
            raise
        return cls(fd, size, pool)

    async def fill(self, read: Read, amount: int, look: Callable[[], None]) -> None:
        """Append what `read` gives until it is `amount` bytes or `read` gives none; meanwhile `look` is called.

        What came before an error of `read` is written before that is raised.
        """
        await self._run(self._fill, read, amount, look=look)

    async def clear(self) -> None:
        """Drop the contents, durably: a new validator must never stand beside bytes of the old file."""
        if self.size:
            await self._run(_clear, self._fd)
            self.size = 0

    async def finish(self) -> os.stat_result:
        """Make the contents durable; how the file then stands."""
        return await self._run(_sync, self._fd)

    async def close(self) -> None:
        """Close it once the step under way is over, for which this waits `SETTLE` at most. Its error is not raised."""
        last: Future[Any] = self._step or self._pool.submit(int)
        # the descriptor is closed only then: its number could be another file's by the time a block is written
        last.add_done_callback(lambda _: let_go(self._fd))
        over = asyncio.wrap_future(last)
        over.add_done_callback(lambda done: done.exception())
        await asyncio.wait({over}, timeout=SETTLE)

    async def _run(self, step: Callable[..., T], *arguments: Any, look: Callable[[], None] = lambda: None) -> T:
        """One step in a thread. A cancel does not lose sight of it: `close` waits for it."""
        running = self._step = self._pool.submit(step, *arguments)
        return await watch(asyncio.wrap_future(running), look)

    def _fill(self, read: Read, amount: int) -> None:
        buffer = memoryview(bytearray(min(BLOCK, amount)))
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
async def holding(part: str) -> AsyncIterator[None]:
    """Within the context nobody else who asks may write or land the part: two batches can have the same output. It is there,
    if only empty. Raises Trouble: output_unwritable, disk_full."""
    taking = asyncio.wrap_future(_HOLDERS.submit(_hold, part))
    try:
        handle = await asyncio.shield(taking)
    except asyncio.CancelledError:
        taking.add_done_callback(_let_go)
        raise
    try:
        yield
    finally:
        let_go(handle)


def try_part(path: str) -> None:
    """Make an empty part file and remove it, to see that it can be made; one that is there already stays. Nobody can hold it
    meanwhile. Raises OSError, and Trouble("output_unwritable") where something else has its name."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    except FileExistsError:
        with contextlib.suppress(FileNotFoundError):  # another synthdub tried the same name: it can be made
            if not stat.S_ISREG(os.lstat(path).st_mode):
                raise Trouble("output_unwritable", "the part is not a regular file") from None
        return
    try:
        _lock(handle)
        if _is_at(handle, path):
            os.unlink(path)
    except Trouble:
        pass  # another synthdub was quicker to hold it: it is that one's now
    finally:
        os.close(handle)


def remove_part(path: str) -> None:
    """Remove a part file, unless somebody holds it: another batch can have the same output. Raises nothing: what cannot be
    removed only takes room."""
    with contextlib.suppress(OSError, Trouble):
        handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            _lock(handle)
            if _is_at(handle, path):
                os.unlink(path)
        finally:
            os.close(handle)


def land(part: str, final: str, *, replace: bool) -> os.stat_result:
    """Give the finished `part` its final name, durably; the result is how it stands there.

    Blocking: for a thread. Without `replace` a file that has the name already is left alone, also one that takes it at the
    last moment; and a landing that was interrupted is completed. Raises Trouble: output_exists, output_unwritable, disk_full.
    """
    try:
        if replace:
            os.replace(part, final)
        else:
            _link(part, final)
        _sync_folder(os.path.dirname(final) or ".")
        return os.lstat(final)
    except OSError as error:
        raise disk_trouble(error) from None


def complete_landing(part: str, final: str) -> None:
    """What an interrupted landing did not come to, where the file has its final name already. As blocking as `land`, and raises
    the same."""
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
        _sync_folder(os.path.dirname(final) or ".")
    except OSError as error:
        raise disk_trouble(error) from None


def let_go(handle: int) -> None:
    """Close a descriptor of which nothing is expected any more: what counts was synced before. Where its volume is gone, as a
    network's or a drive that was unplugged, closing says so, and frees it nevertheless."""
    with contextlib.suppress(OSError):
        os.close(handle)


def disk_trouble(error: OSError) -> Trouble:
    """An error of the output's file system."""
    return Trouble("disk_full" if error.errno in FULL else "output_unwritable", error.strerror or "")


def _link(part: str, final: str) -> None:
    try:
        os.link(part, final, follow_symlinks=False)
    except FileExistsError:
        if not os.path.samestat(os.lstat(part), os.lstat(final)):
            raise _taken(final) from None
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        _claim(part, final)
        return
    os.unlink(part)


def _claim(part: str, final: str) -> None:
    """Without hard links: take the name with an empty file, which only the kernel can do for one of two, then replace that."""
    try:
        os.close(os.open(final, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC))
    except FileExistsError:
        raise _taken(final) from None
    try:
        os.replace(part, final)
    except BaseException:
        os.unlink(final)
        raise


def _taken(final: str) -> Trouble:
    if stat.S_ISDIR(os.lstat(final).st_mode):
        return Trouble("output_unwritable", "a folder has the name")
    return Trouble("output_exists")


def _sync_folder(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in NO_SYNC:
            raise
    finally:
        os.close(fd)


def _hold(path: str) -> int:
    """A descriptor with the lock. One who lands a part takes its name away, so what was opened may not be the part any more."""
    try:
        while True:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
            try:
                _lock(handle)
                if _is_at(handle, path):
                    return handle
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)
    except OSError as error:
        raise disk_trouble(error) from None


def _is_at(handle: int, path: str) -> bool:
    """Whether what was opened still has that name."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(handle), os.lstat(path))
    return False


def _lock(handle: int) -> None:
    """The kernel's lock, gone with the process that has it; some network file systems know none."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Trouble("output_unwritable", "another synthdub is fetching it") from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise


def _let_go(taking: asyncio.Future[int]) -> None:
    if not taking.cancelled() and taking.exception() is None:
        let_go(taking.result())


def _open(path: str) -> tuple[int, int]:
    """The descriptor and the size."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        fd = os.open(path, flags, 0o666)
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise Trouble("output_unwritable", "the part is not a regular file")
            if found.st_nlink == 1:
                return fd, found.st_size
        except BaseException:
            os.close(fd)
            raise
        # a landing was interrupted after the link: writing here would write into the finished file
        os.close(fd)
        os.unlink(path)
        return os.open(path, flags | os.O_EXCL, 0o666), 0
    except OSError as error:
        raise disk_trouble(error) from None


def _close_opened(opening: Future[tuple[int, int]]) -> None:
    if opening.exception() is None:
        let_go(opening.result()[0])


def _write(fd: int, rest: memoryview, offset: int) -> None:
    try:
        while rest:
            written = os.pwrite(fd, rest, offset)
            rest = rest[written:]
            offset += written
    except OSError as error:
        raise disk_trouble(error) from None


def _clear(fd: int) -> None:
    try:
        os.ftruncate(fd, 0)
        os.fsync(fd)
    except OSError as error:
        raise disk_trouble(error) from None


def _sync(fd: int) -> os.stat_result:
    try:
        os.fsync(fd)
        return os.fstat(fd)
    except OSError as error:
        raise disk_trouble(error) from None
