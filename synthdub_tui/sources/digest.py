"""Digests of file contents: two files with the same digest have the same content, wherever they are.

A content is cut into ranges that are hashed separately. So the parts of an upload can be digested while they are read, in any
order and in several threads. The hash is XXH3 with 128 bits: it costs about a hundredth of an upload's CPU time, SHA-256 a
quarter (`python -m tests.benchmarks.source_digest`). It recognises equal contents; it is no protection against a forged file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from xxhash import xxh3_128

from synthdub_tui.errors import SynthdubError
from synthdub_tui.sources.same_file import FileStamp, same_version

DIGEST_RANGE_BYTES: Final = 32 * 1024 * 1024
"""Bytes that are hashed together. They are part of a digest's meaning: another number needs another prefix than
`DIGEST_PREFIX`."""

READ_CHUNK_BYTES: Final = 1024 * 1024
"""Bytes of one read, if a file is read only for its digest."""

FINGERPRINT_END_BYTES: Final = 64 * 1024
"""Bytes at the beginning and at the end of a file that make its fingerprint."""

DIGEST_PREFIX: Final = "xxh3:"
FINGERPRINT_PREFIX: Final = "ends:"


class FileChangedError(SynthdubError):
    """The file is not the one whose digest was wanted, or it changed meanwhile."""


class DigestCancelledError(SynthdubError):
    """The caller stopped the reading."""


class RangeDigests:
    """The digest of a content of `size` bytes, fed by any number of readers, in any order, in threads.

    A range counts once a reader has passed it from its first byte to its last. If a part is read for its checksum, then sent,
    then sent again, the first read counts, and the others cost nothing: a file that changes in between ends the upload.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._ranges: dict[int, bytes] = {}  # by offset; one assignment to a dict needs no lock

    def hasher_at(self, offset: int) -> RangeHasher:
        """A reader for consecutive bytes from `offset` on."""
        return RangeHasher(self._size, offset, self._ranges)

    def result(self) -> str:
        """The digest; empty unless every range was read whole."""
        offsets = range(0, self._size, DIGEST_RANGE_BYTES)
        found = [self._ranges.get(offset, b"") for offset in offsets]
        if not all(found):
            return ""
        return DIGEST_PREFIX + xxh3_128(self._size.to_bytes(8, "big") + b"".join(found)).hexdigest()


class RangeHasher:
    """One pass over a content, in order. Used by one thread at a time."""

    def __init__(self, size: int, offset: int, ranges: dict[int, bytes]) -> None:
        self._size = size
        self._offset = offset
        self._ranges = ranges
        self._enter_range()

    def update(self, data: bytes) -> None:
        """Digest the next bytes. Bytes beyond the size do not count."""
        if len(data) < self._end - self._offset:  # nearly always; called for every 64 KiB
            self._hash_piece(data)
            return
        rest = memoryview(data)
        while rest and self._offset < self._size:
            piece = rest[: self._end - self._offset]
            self._hash_piece(piece)
            if self._offset == self._end:
                self._leave_range()
            rest = rest[len(piece) :]

    def _enter_range(self) -> None:
        self._start = self._offset - self._offset % DIGEST_RANGE_BYTES
        self._end = min(self._start + DIGEST_RANGE_BYTES, self._size)
        wanted = self._offset == self._start and self._start not in self._ranges
        self._hash = xxh3_128() if wanted else None

    def _hash_piece(self, piece: bytes | memoryview) -> None:
        self._offset += len(piece)
        if self._hash is not None:
            self._hash.update(piece)

    def _leave_range(self) -> None:
        if self._hash is not None:
            self._ranges[self._start] = self._hash.digest()
        self._enter_range()


def compute_digest(
    file: str | int,
    *,
    size: int,
    progress: Callable[[int], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> str:
    """The digest of a file of `size` bytes. Reads it now: a gigabyte takes seconds, more over a network.

    `file` is a path, or a descriptor, whose position stays. `stop` is called before every mebibyte: true ends the reading.
    `progress` is called after it with the bytes read so far. Raises OSError; `FileChangedError` if the file has another size or
    changes meanwhile; `DigestCancelledError`.
    """
    with _open_descriptor(file) as fd:
        before = _stamp(fd)
        if before.size != size:
            raise FileChangedError(f"{size} bytes became {before.size}")
        digest = _read_whole(fd, size, progress, stop)
        if not same_version(before, _stamp(fd)):
            raise FileChangedError("it changed while it was read")
    return digest


def _read_whole(fd: int, size: int, progress: Callable[[int], None] | None, stop: Callable[[], bool] | None) -> str:
    digests = RangeDigests(size)
    reader = digests.hasher_at(0)
    at = 0
    while at < size:
        if stop is not None and stop():
            raise DigestCancelledError
        data = os.pread(fd, min(READ_CHUNK_BYTES, size - at), at)
        if not data:
            raise FileChangedError("it became shorter while it was read")
        reader.update(data)
        at += len(data)
        if progress is not None:
            progress(at)
    return digests.result()


def compute_fingerprint(file: str | int) -> str:
    """A text that tells files apart without reading them whole: of the size, and the first and last 64 KiB. Raises OSError.

    `file` is a path, or a descriptor, whose position stays.
    """
    with _open_descriptor(file) as fd:
        size = os.fstat(fd).st_size
        ends = os.pread(fd, FINGERPRINT_END_BYTES, 0) + os.pread(
            fd, FINGERPRINT_END_BYTES, max(size - FINGERPRINT_END_BYTES, 0)
        )
    return FINGERPRINT_PREFIX + xxh3_128(size.to_bytes(8, "big") + ends).hexdigest()


@contextmanager
def _open_descriptor(file: str | int) -> Iterator[int]:
    if isinstance(file, int):
        yield file
        return
    fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # O_NONBLOCK: opening a pipe would wait for a writer
    try:
        yield fd
    finally:
        os.close(fd)


def _stamp(fd: int) -> FileStamp:
    status = os.fstat(fd)
    return FileStamp(status.st_size, status.st_mtime_ns)
