"""What the files of jobs said when they were last read or written, so that a start need not read thousands of them as TOML.

Only the files count. Each is read all the same, and what is kept here is taken only where it was made from those very bytes,
told by their SHA-256; without the cache, or with an old or damaged one, a start just takes longer. So it is not synced.

A piece of the file is its length, its CRC-32, and some jobs as MessagePack. In pieces, since the whole may be 60 MB.
"""

from __future__ import annotations

import contextlib
import itertools
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

import msgspec

from synthdub_tui import __version__
from synthdub_tui.jobs.model import SCHEMA, Job
from synthdub_tui.jobs.sharing import share
from synthdub_tui.store import durable

PIECE: Final = 200
"""Jobs in a piece."""

PIECE_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of a piece at most: 200 jobs of all languages have some 10 MB."""

_HEAD: Final = struct.Struct("<II")


class Known(NamedTuple):
    """A job, and the digest of the file that says so."""

    digest: bytes
    job: Job


class _Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    name: str
    digest: bytes
    job: Job


_FORMAT: Final = f"{__version__} {SCHEMA}".encode()
"""Another program may understand the same file otherwise."""

_decoder: Final = msgspec.msgpack.Decoder(list[_Entry])


def digest(data: bytes) -> bytes:
    """Tells whether a file is the same."""
    import hashlib  # noqa: PLC0415 - commands that look at a small batch start faster without

    return hashlib.sha256(data).digest()[:16]


def read(path: str) -> dict[str, Known]:
    """What is known of files by their names. Less, or nothing, where the cache cannot be used."""
    found: dict[str, Known] = {}
    with contextlib.suppress(OSError, ValueError, RecursionError), open(path, "rb") as file:
        if file.readline().rstrip(b"\n") != _FORMAT:
            return found
        while head := file.read(_HEAD.size):
            size, checksum = _HEAD.unpack(head) if len(head) == _HEAD.size else (PIECE_LIMIT, 0)
            piece = file.read(size) if size < PIECE_LIMIT else b""
            if len(piece) != size or zlib.crc32(piece) != checksum:
                break
            entries = _decoder.decode(piece)
            share(entry.job for entry in entries)
            found.update((entry.name, Known(entry.digest, entry.job)) for entry in entries)
    return found


def write(path: str, known: Mapping[str, Known]) -> None:
    """Replace the cache. Raises OSError."""
    durable.write_unsynced(path, itertools.chain((_FORMAT + b"\n",), _pieces(known.items())))


def _pieces(known: Iterable[tuple[str, Known]]) -> Iterator[bytes]:
    entries = (_Entry(name, at.digest, at.job) for name, at in known)
    while piece := list(itertools.islice(entries, PIECE)):
        data = msgspec.msgpack.encode(piece)
        yield _HEAD.pack(len(data), zlib.crc32(data)) + data
