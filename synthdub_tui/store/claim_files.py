"""Claims beside the outputs: who pays for a dub, for every other batch that dubs the same library.

Receipts know what one account paid on one machine. Two people with a home each see nothing of each other but the library, so
that is where a claim lies: one small file for each dub in a hidden folder beside the outputs, made with O_EXCL before anything
is paid, and removed when the dub has ended. What cannot be claimed (a folder that is read only, a link in the place of ours)
is dubbed all the same: a claim only spares money. All functions block, and raise nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from typing import Final

import msgspec

from synthdub_tui.jobs.model import OPEN, DubState
from synthdub_tui.jobs.spelling import one_name
from synthdub_tui.problems import Trouble
from synthdub_tui.store import durable
from synthdub_tui.store.store import SIZE_LIMIT, decode_job

FOLDER: Final = ".synthdub-claims"

LASTS: Final = 14 * 86_400.0
"""Seconds after which a claim of another machine, where nobody here can see whether its batch is still there, holds no more."""

WRITING: Final = 60.0
"""Seconds for which a claim that says nothing may be one that is just being written; later it is what a crash left."""

TRIES: Final = 3
"""A stale claim, or the folder, may be removed by somebody else at the same time."""

_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """Who dubs what since when (seconds since the epoch). `batch` is the id of the state directory, which may be moved."""

    batch: str
    owner: str
    host: str
    state_dir: str
    job: str
    language: str
    output: str
    at: float

    def same_batch(self, other: Claim) -> bool:
        """Whether both are of one state directory."""
        return self.batch == other.batch or (self.host, self.state_dir) == (other.host, other.state_dir)


def claim(mine: Claim) -> Claim | None:
    """Claim the output for this batch. Returns the claim of another batch that has it, else None."""
    path = _path(mine.output)
    for _ in range(TRIES):
        try:
            _write(path, mine)
        except FileExistsError:
            other = _found(path, mine)
            if other is None or other.same_batch(mine):
                return None
            if not _is_stale(path, other, mine):
                return other
            with contextlib.suppress(OSError):
                os.unlink(path)
        except FileNotFoundError:
            continue  # whoever released the last claim has just removed the folder
        except OSError:
            return None
        else:
            return None
    return None


def release(mine: Claim) -> None:
    """Remove the claim if it is of this batch, and the folder with the last one."""
    path = _path(mine.output)
    with contextlib.suppress(OSError):
        other = _found(path, mine)
        if other is not None and other.same_batch(mine):
            os.unlink(path)
        os.rmdir(os.path.dirname(path))


def _path(output: str) -> str:
    """One name for all spellings of an output, of a length that every file system takes."""
    folder, name = os.path.split(output)
    digest = hashlib.sha256(one_name(name).encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return os.path.join(folder, FOLDER, f"{digest}.toml")


def _write(path: str, mine: Claim) -> None:
    """Raises OSError, FileExistsError where there is a claim."""
    folder = os.path.dirname(path)
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder)
        # Whoever may write the outputs may claim them, whatever this user's umask says.
        os.chmod(folder, stat.S_IMODE(os.stat(os.path.dirname(folder)).st_mode) & 0o777)
    if not stat.S_ISDIR(os.lstat(folder).st_mode):
        raise NotADirectoryError(folder)
    durable.write_new(path, msgspec.toml.encode(mine), 0o644)
    with contextlib.suppress(OSError):
        os.chmod(path, 0o644)  # others have to read it
    durable.sync_folder(folder)


def _found(path: str, mine: Claim) -> Claim | None:
    """What a claim says, and of one that cannot be read who wrote it and when. None where it is gone, or is no file."""
    try:
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode):
            return None
        with contextlib.suppress(PermissionError, ValueError):
            return msgspec.toml.decode(_content(path), type=Claim)
    except OSError:
        return None
    owner = f"user {status.st_uid}"
    return msgspec.structs.replace(mine, batch="", state_dir="", job="", owner=owner, host="", at=status.st_mtime)


def _is_stale(path: str, other: Claim, mine: Claim) -> bool:
    """Whether no batch dubs by this claim any more, as far as can be seen from here. `mine` was made just now."""
    says_nothing = not other.batch and os.access(path, os.R_OK)
    if mine.at - other.at > (WRITING if says_nothing else LASTS):
        return True
    return other.host == mine.host and _is_over(other)


def _is_over(other: Claim) -> bool:
    """Whether a batch of this machine is gone, or does not go on with the dub. What may not be looked at may go on."""
    try:
        os.stat(other.state_dir)
        job = decode_job(_content(os.path.join(other.state_dir, "jobs", f"{os.path.basename(other.job)}.toml")).decode())
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError, Trouble):
        return False
    dub = job.dubs.get(other.language)
    return dub is None or dub.state not in OPEN | {DubState.UNKNOWN}


def _content(path: str) -> bytes:
    """Raises OSError or ValueError. Others may have put anything there: a pipe is not waited for, a link not followed."""
    handle = os.open(path, _READ)
    with open(handle, "rb", buffering=0) as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_size > SIZE_LIMIT:
            raise ValueError("not a small file")
        return file.readall()
