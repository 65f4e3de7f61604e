"""One runner per state directory. The kernel holds the lock, and releases it when the process is killed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os

from synthdub_tui.errors import ProblemError


class StateLock:
    """`flock` on a file of the state directory. It holds across bind mounts too, since it is on the inode."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._handle: int | None = None

    def acquire(self) -> None:
        """Raises `ProblemError` ("state_busy") if another process holds it; OSError if the file cannot be locked."""
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise ProblemError("state_busy") from error
        except OSError:
            os.close(handle)
            raise
        self._handle = handle

    def check_still_valid(self) -> None:
        """Raises OSError if the lock no longer protects anything: its file was removed or replaced, alone or with its
        folder, and another process may have locked the new one."""
        if self._handle is None or not os.path.samestat(os.fstat(self._handle), os.stat(self._path)):
            raise OSError(errno.ESTALE, "the lock was replaced, restart synthdub", self._path)

    def release(self) -> None:
        """Idempotent. The file stays: removing it would let two processes hold locks on two inodes."""
        if self._handle is not None:
            with contextlib.suppress(OSError):  # its volume is gone, and the lock with it
                os.close(self._handle)
            self._handle = None
