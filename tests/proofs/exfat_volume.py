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

TOOL_PATH: Final = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
REQUIRED_TOOLS: Final = ("mkfs.exfat", "mount.exfat-fuse", "losetup", "umount")


def why_unavailable() -> str:
    """Why no such volume can be had here; empty where one can be tried."""
    if os.geteuid():
        return "only root can mount file systems"
    if lacking := [tool for tool in REQUIRED_TOOLS if shutil.which(tool, path=TOOL_PATH) is None]:
        return f"{', '.join(lacking)} is not there (packages exfat-fuse and exfatprogs)"
    return "" if os.path.exists("/dev/fuse") else "there is no /dev/fuse"


class CannotMountError(Exception):
    """The machine does not let us, for instance since it is a container."""


class ExfatVolume:
    """A volume of `size` bytes, mounted at `path` until it is taken out."""

    def __init__(self, path: Path, size: int = 64_000_000) -> None:
        self.path = path
        image = path.with_name(f"{path.name}.exfat")
        with image.open("wb") as file:
            file.truncate(size)
        _run("mkfs.exfat", str(image))
        self._loop_device = _run("losetup", "--find", "--show", str(image))
        path.mkdir(parents=True, exist_ok=True)
        try:
            self.mount()
        except CannotMountError:
            self.delete()
            raise

    def mount(self) -> None:
        _run("mount.exfat-fuse", self._loop_device, str(self.path))

    def detach(self) -> None:
        """At once, whoever uses it: what is open there stays so."""
        _run("umount", "-l", str(self.path))

    def fill_up(self) -> Path:
        """A file that takes all the room that is left."""
        filler = self.path / "filler"
        handle = os.open(filler, os.O_WRONLY | os.O_CREAT)
        with contextlib.suppress(OSError):
            while os.write(handle, bytes(1 << 16)):
                pass
        os.close(handle)
        return filler

    def cut_off(self) -> None:
        """As when the cable is pulled: from now on all calls fail."""
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if words[0].endswith(b"mount.exfat-fuse") and words[1] == self._loop_device.encode():
                    os.kill(int(pid), signal.SIGKILL)

    def delete(self) -> None:
        for command in (("umount", "-l", str(self.path)), ("losetup", "--detach", self._loop_device)):
            with contextlib.suppress(CannotMountError):
                _run(*command)


def _run(*command: str) -> str:
    program = shutil.which(command[0], path=TOOL_PATH) or command[0]
    done = subprocess.run((program, *command[1:]), capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotMountError(f"{command[0]}: {(done.stderr or done.stdout).strip()}")
    return done.stdout.strip()
