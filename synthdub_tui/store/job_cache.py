"""A cache of the decoded job files, so that a start need not parse thousands of them as TOML.

Only the job files count. Each is still read, and an entry is used only if it was made from the same bytes, by their SHA-256.
Without the cache, or with an old or damaged one, a start only takes longer. So it is not synced.

A piece of the cache is its length, its CRC-32, and some jobs as MessagePack. The cache is split, since the whole may be 60 MB.
"""

from __future__ import annotations

import contextlib
import itertools
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

import msgspec

from synthdub_tui import __version__, files
from synthdub_tui.jobs.model import SCHEMA_VERSION, Job
from synthdub_tui.store.interning import share_equal_values

JOBS_PER_PIECE: Final = 200
"""Jobs in a piece."""

MAX_PIECE_BYTES: Final = 64 * 1024 * 1024
"""Most bytes of a piece: 200 jobs of all languages have about 10 MB."""

_HEAD: Final = struct.Struct("<II")


class CachedJob(NamedTuple):
    """A job, and the digest of its file."""

    digest: bytes
    job: Job


class _Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    name: str
    digest: bytes
    job: Job


_FORMAT: Final = f"{__version__} {SCHEMA_VERSION}".encode()
"""First line of the cache. Another version of the program may read the same job file differently."""

_decoder: Final = msgspec.msgpack.Decoder(list[_Entry])


def content_digest(data: bytes) -> bytes:
    """The first 16 bytes of the SHA-256, which identify a file's content."""
    import hashlib  # noqa: PLC0415 - commands that only read a small batch start faster without

    return hashlib.sha256(data).digest()[:16]


def read_cache(path: str) -> dict[str, CachedJob]:
    """Cached jobs by file name. Fewer, or none, if the cache cannot be used."""
    found: dict[str, CachedJob] = {}
    with contextlib.suppress(OSError, ValueError, RecursionError), open(path, "rb") as file:
        if file.readline().rstrip(b"\n") != _FORMAT:
            return found
        while head := file.read(_HEAD.size):
            size, checksum = _HEAD.unpack(head) if len(head) == _HEAD.size else (MAX_PIECE_BYTES, 0)
            piece = file.read(size) if size < MAX_PIECE_BYTES else b""
            if len(piece) != size or zlib.crc32(piece) != checksum:
                break
            entries = _decoder.decode(piece)
            share_equal_values(entry.job for entry in entries)
            found.update((entry.name, CachedJob(entry.digest, entry.job)) for entry in entries)
    return found


def write_cache(path: str, known: Mapping[str, CachedJob]) -> None:
    """Replace the cache. Raises OSError."""
    files.write_unsynced(path, itertools.chain((_FORMAT + b"\n",), _pieces(known.items())))


def _pieces(known: Iterable[tuple[str, CachedJob]]) -> Iterator[bytes]:
    entries = (_Entry(name, at.digest, at.job) for name, at in known)
    while piece := list(itertools.islice(entries, JOBS_PER_PIECE)):
        data = msgspec.msgpack.encode(piece)
        yield _HEAD.pack(len(data), zlib.crc32(data)) + data
