"""Claims next to the outputs: they show every other batch that dubs the same library who pays for a dub.

Receipts know what one account paid on one machine. Two people with a home each share only the library, so claims are there: one
small file for each dub, in a hidden folder next to the outputs. It is created with O_EXCL before anything is paid, and removed
when the dub has ended. An output that cannot be claimed (in a read-only folder, or with a link in place of the hidden one) is
dubbed anyway: a claim only saves money. All public functions block, and raise nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import stat
from typing import Final

import msgspec

from synthdub_tui import files
from synthdub_tui.errors import ProblemError
from synthdub_tui.files import path_key
from synthdub_tui.jobs.model import OPEN_STATES, DubState
from synthdub_tui.store.codec import decode_job
from synthdub_tui.store.job_store import MAX_STATE_FILE_BYTES

CLAIMS_FOLDER: Final = ".synthdub-claims"

CLAIM_LIFETIME_SECONDS: Final = 14 * 86_400.0
"""Seconds after which a claim of another machine expires, since this machine cannot see whether its batch still exists."""

UNREADABLE_CLAIM_GRACE_SECONDS: Final = 60.0
"""Seconds for which an unreadable claim may be one that is just being written. An older one was left by a crash."""

MAX_CLAIM_ATTEMPTS: Final = 3
"""Attempts to claim: another process may remove a stale claim, or the folder, at the same time."""

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

    def is_from_same_batch(self, other: Claim) -> bool:
        """Whether both claims are from one state directory."""
        return self.batch == other.batch or (self.host, self.state_dir) == (other.host, other.state_dir)


def claim_output(mine: Claim) -> Claim | None:
    """Claim the output for this batch. Returns the claim of another batch that has it; None if the dub may go ahead."""
    path = _path(mine.output)
    for _ in range(MAX_CLAIM_ATTEMPTS):
        try:
            _write(path, mine)
        except FileExistsError:
            other = _read_claim(path, mine)
            if other is None or other.is_from_same_batch(mine):
                return None
            if not _is_stale(path, other, mine):
                return other
            with contextlib.suppress(OSError):
                os.unlink(path)
        except FileNotFoundError:
            continue  # another batch has just released the last claim, and removed the folder
        except OSError:
            return None
        else:
            return None
    return None


def is_claimed(output: str, now: float) -> bool:
    """Whether any batch has a claim on this output that is not stale. Claims nothing. `now`: seconds since the epoch."""
    path = _path(output)
    reader = Claim(batch="", owner="", host=socket.gethostname(), state_dir="", job="", language="", output=output, at=now)
    other = _read_claim(path, reader)
    return other is not None and not _is_stale(path, other, reader)


def release_claim(mine: Claim) -> None:
    """Remove the claim if it is from this batch, and the folder with the last claim."""
    path = _path(mine.output)
    with contextlib.suppress(OSError):
        other = _read_claim(path, mine)
        if other is not None and other.is_from_same_batch(mine):
            os.unlink(path)
        os.rmdir(os.path.dirname(path))


def _path(output: str) -> str:
    """Path of a claim: one name for all spellings of an output, short enough for every file system."""
    folder, name = os.path.split(output)
    digest = hashlib.sha256(path_key(name).encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return os.path.join(folder, CLAIMS_FOLDER, f"{digest}.toml")


def _write(path: str, mine: Claim) -> None:
    """Raises OSError; FileExistsError if there is a claim already."""
    folder = os.path.dirname(path)
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder)
        # Everyone who may write the outputs may claim them, whatever this user's umask is.
        os.chmod(folder, stat.S_IMODE(os.stat(os.path.dirname(folder)).st_mode) & 0o777)
    if not stat.S_ISDIR(os.lstat(folder).st_mode):
        raise NotADirectoryError(folder)
    files.write_new(path, msgspec.toml.encode(mine), 0o644)
    with contextlib.suppress(OSError):
        os.chmod(path, 0o644)  # others must be able to read it
    files.sync_folder(folder)


def _read_claim(path: str, mine: Claim) -> Claim | None:
    """The claim at a path. If it cannot be read, a claim by the file's owner and time. None if it is missing, or not a file."""
    try:
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode):
            return None
        with contextlib.suppress(PermissionError, ValueError):
            return msgspec.toml.decode(_read_small_file(path), type=Claim)
    except OSError:
        return None
    owner = f"user {status.st_uid}"
    return msgspec.structs.replace(mine, batch="", state_dir="", job="", owner=owner, host="", at=status.st_mtime)


def _is_stale(path: str, other: Claim, mine: Claim) -> bool:
    """Whether no batch dubs under this claim any more, as far as this machine can see. `mine` was created just now."""
    says_nothing = not other.batch and os.access(path, os.R_OK)
    if mine.at - other.at > (UNREADABLE_CLAIM_GRACE_SECONDS if says_nothing else CLAIM_LIFETIME_SECONDS):
        return True
    return other.host == mine.host and _has_ended(other)


def _has_ended(other: Claim) -> bool:
    """Whether a batch of this machine is gone, or no longer works on the dub. If its state cannot be read, it may."""
    try:
        os.stat(other.state_dir)
        job = decode_job(
            _read_small_file(os.path.join(other.state_dir, "jobs", f"{os.path.basename(other.job)}.toml")).decode()
        )
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError, ProblemError):
        return False
    dub = job.dubs.get(other.language)
    return dub is None or dub.state not in OPEN_STATES | {DubState.UNKNOWN}


def _read_small_file(path: str) -> bytes:
    """Raises OSError or ValueError. Others may have put anything there: it does not wait for a pipe, nor follow a link."""
    handle = os.open(path, _READ)
    with open(handle, "rb", buffering=0) as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_STATE_FILE_BYTES:
            raise ValueError("not a small file")
        return file.readall()
