"""A real volume of exFAT, as USB drives have it: no case, no hard links, no sockets, no permissions, times in whole seconds.

It stands for SMB shares and volumes of macOS too. Mounted by exfat-fuse, which gives each spelling of a name an inode of its
own, so that not even the kernel knows that two names are one file.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Final

PATH: Final = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
TOOLS: Final = ("mkfs.exfat", "mount.exfat-fuse", "losetup", "umount")


def missing() -> str:
    """Why no such volume can be had here; empty where one can be tried."""
    if os.geteuid():
        return "only root can mount file systems"
    if lacking := [tool for tool in TOOLS if shutil.which(tool, path=PATH) is None]:
        return f"{', '.join(lacking)} is not there (packages exfat-fuse and exfatprogs)"
    return "" if os.path.exists("/dev/fuse") else "there is no /dev/fuse"


class CannotMount(Exception):
    """The machine does not let us, for instance since it is a container."""


class Volume:
    """A volume of `size` bytes, mounted at `path` until it is taken out."""

    def __init__(self, path: Path, size: int = 64_000_000) -> None:
        self.path = path
        image = path.with_name(f"{path.name}.exfat")
        with image.open("wb") as file:
            file.truncate(size)
        _do("mkfs.exfat", str(image))
        self._loop = _do("losetup", "--find", "--show", str(image))
        path.mkdir(parents=True, exist_ok=True)
        try:
            self.mount()
        except CannotMount:
            self.remove()
            raise

    def mount(self) -> None:
        _do("mount.exfat-fuse", self._loop, str(self.path))

    def unmount(self) -> None:
        """At once, whoever uses it: what is open there stays so."""
        _do("umount", "-l", str(self.path))

    def fill(self) -> Path:
        """A file that takes all the room that is left."""
        filler = self.path / "filler"
        handle = os.open(filler, os.O_WRONLY | os.O_CREAT)
        with contextlib.suppress(OSError):
            while os.write(handle, bytes(1 << 16)):
                pass
        os.close(handle)
        return filler

    def yank(self) -> None:
        """As when the cable is pulled: from now on all calls fail."""
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if words[0].endswith(b"mount.exfat-fuse") and words[1] == self._loop.encode():
                    os.kill(int(pid), signal.SIGKILL)

    def remove(self) -> None:
        for command in (("umount", "-l", str(self.path)), ("losetup", "--detach", self._loop)):
            with contextlib.suppress(CannotMount):
                _do(*command)


def _do(*command: str) -> str:
    program = shutil.which(command[0], path=PATH) or command[0]
    done = subprocess.run((program, *command[1:]), capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotMount(f"{command[0]}: {(done.stderr or done.stdout).strip()}")
    return done.stdout.strip()
