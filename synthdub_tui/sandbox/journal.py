"""What the sandbox was asked and what it did, for tests and for people. It never holds a key, signature or token."""

from __future__ import annotations

from pathlib import Path

import msgspec


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """One request, written when it was processed, before its answer was sent.

    `status` is that of the answer, 0 if there was none; `fault` names the fault that struck. `billed` are the languages
    for which the request started paid work.
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
    """Records in memory and, one JSON object a line, in a file."""

    def __init__(self, path: Path) -> None:
        self.records: list[Record] = []
        self._file = path.open("ab", buffering=0)

    def add(self, record: Record) -> None:
        self.records.append(record)
        self._file.write(msgspec.json.encode(record) + b"\n")

    def close(self) -> None:
        self._file.close()
