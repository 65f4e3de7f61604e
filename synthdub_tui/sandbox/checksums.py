"""The checksums of the S3 protocol, each with the interface of hashlib."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from functools import cache
from typing import Final, Protocol


class Checksum(Protocol):
    """A checksum that is updated piece by piece."""

    def update(self, data: bytes, /) -> None: ...

    def digest(self) -> bytes: ...


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


class _Reflected:
    """A reflected CRC with all ones as initial value and final XOR. Slow; only clients with awscrt use it."""

    def __init__(self, polynomial: int, size: int) -> None:
        self._table = _table(polynomial)
        self._size = size
        self._value = self._ones = (1 << 8 * size) - 1

    def update(self, data: bytes) -> None:
        value, table = self._value, self._table
        for byte in data:
            value = table[(value ^ byte) & 0xFF] ^ (value >> 8)
        self._value = value

    def digest(self) -> bytes:
        return (self._value ^ self._ones).to_bytes(self._size, "big")


@cache
def _table(polynomial: int) -> tuple[int, ...]:
    def entry(value: int) -> int:
        for _ in range(8):
            value = value >> 1 ^ (polynomial if value & 1 else 0)
        return value

    return tuple(entry(byte) for byte in range(256))


CHECKSUMS: Final[dict[str, Callable[[], Checksum]]] = {
    "crc32": _Crc32,
    "crc32c": lambda: _Reflected(0x82F63B78, 4),
    "crc64nvme": lambda: _Reflected(0x9A6C9329AC4BC9B5, 8),
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "sha256": hashlib.sha256,
}
"""Checksums by the last part of the header `x-amz-checksum-…`."""
