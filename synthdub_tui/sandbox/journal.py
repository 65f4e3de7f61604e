"""A journal of the sandbox's requests and their results, for tests and users. It never contains a key, signature or token."""

from __future__ import annotations

from pathlib import Path

import msgspec


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """One request, recorded after it was processed and before its answer is sent.

    `status` is the answer's, 0 if there was none. `fault` is the kind of the fault that affected it, or "disconnected".
    `billed`: languages for which the request started paid work.
    """

    time: float
    endpoint: str
    method: str
    path: str
    status: int
    asset: str = ""
    project: str = ""
    languages: tuple[str, ...] = ()
    billed: tuple[str, ...] = ()
    bytes_in: int = 0
    bytes_out: int = 0
    fault: str = ""


class Journal:
    """Keeps records in memory, and in a file with one JSON object per line."""

    def __init__(self, path: Path) -> None:
        self.records: list[Record] = []
        self._file = path.open("ab", buffering=0)

    def add(self, record: Record) -> None:
        self.records.append(record)
        self._file.write(msgspec.json.encode(record) + b"\n")

    def close(self) -> None:
        self._file.close()
