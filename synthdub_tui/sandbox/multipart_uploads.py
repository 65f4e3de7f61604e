"""Objects and multipart uploads on disk: parts, completion, abort. Contains no HTTP."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import uuid4

from synthdub_tui.sandbox.s3_errors import S3Error
from synthdub_tui.sandbox.service_state import object_path
from synthdub_tui.sandbox.upload_body import ReceivedBody

MIN_PART_BYTES: Final = 5 * 1024**2
"""Smallest size in bytes of a part that is not the last, as in S3."""


@dataclass(frozen=True)
class Object:
    """A complete object."""

    path: Path
    size: int
    etag: str
    stored: float


@dataclass(frozen=True)
class ListedPart:
    """A part as the client lists it on completion. Checksums that it does not list are not compared."""

    number: int
    etag: str
    checksums: dict[str, str]


@dataclass(frozen=True)
class MultipartUpload:
    """A multipart upload in progress."""

    id: str
    key: str
    started: float
    folder: Path
    parts: dict[int, tuple[ReceivedBody, float]] = field(default_factory=dict)

    def part_path(self, number: int) -> Path:
        return self.folder / f"{number:05d}"


class UploadStore:
    """All objects and multipart uploads, below one folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.objects: dict[str, Object] = {}
        self.open_uploads: dict[str, MultipartUpload] = {}
        self._completed: dict[str, tuple[str, str]] = {}  # upload id → key and ETag, for repeated completions
        for folder in ("objects", "parts", "incoming"):
            (root / folder).mkdir(parents=True, exist_ok=True)

    def new_incoming_path(self) -> Path:
        """A new path for a body that is not checked yet."""
        return self._root / "incoming" / uuid4().hex

    def start(self, key: str, now: float) -> MultipartUpload:
        identity = uuid4().hex
        upload = MultipartUpload(identity, key, now, self._root / "parts" / identity)
        upload.folder.mkdir()
        self.open_uploads[identity] = upload
        return upload

    def find(self, identity: str, key: str) -> MultipartUpload:
        upload = self.open_uploads.get(identity)
        if upload is None or upload.key != key:
            raise S3Error("NoSuchUpload", "The specified multipart upload does not exist.", UploadId=identity)
        return upload

    def add_part(self, upload: MultipartUpload, number: int, path: Path, received: ReceivedBody, now: float) -> None:
        """Add a checked body as a part. Raises S3Error("NoSuchUpload") if the upload has ended meanwhile."""
        if upload.id not in self.open_uploads:
            path.unlink()
            raise S3Error("NoSuchUpload", "The specified multipart upload does not exist.", UploadId=upload.id)
        path.replace(upload.part_path(number))
        upload.parts[number] = (received, now)

    def put(self, key: str, path: Path, received: ReceivedBody, now: float) -> Object:
        """Store a checked body as an object."""
        target = object_path(self._root, key)
        path.replace(target)
        self.objects[key] = Object(target, received.size, f'"{received.md5}"', now)
        return self.objects[key]

    def abort(self, upload: MultipartUpload) -> None:
        del self.open_uploads[upload.id]
        shutil.rmtree(upload.folder)

    def etag_if_completed(self, identity: str, key: str) -> str | None:
        """The ETag, if that upload was completed already: S3 gives a repeated completion the same answer."""
        known = self._completed.get(identity)
        return known[1] if known and known[0] == key else None

    async def complete(self, upload: MultipartUpload, wanted: list[ListedPart], now: float) -> Object:
        """Join the parts. Raises S3Error if the list does not match them."""
        for number, part in enumerate(wanted):
            _check_part(upload, part, last=number == len(wanted) - 1)
        numbers = [part.number for part in wanted]
        if not numbers or numbers != sorted(set(numbers)):
            raise S3Error("InvalidPartOrder", "The list of parts was not in ascending order.")
        digests = b"".join(bytes.fromhex(upload.parts[number][0].md5) for number in numbers)
        etag = f'"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(numbers)}"'
        del self.open_uploads[upload.id]
        target = object_path(self._root, upload.key)
        joined = self.new_incoming_path()
        await asyncio.to_thread(_join, [upload.part_path(number) for number in numbers], joined)
        joined.replace(target)
        shutil.rmtree(upload.folder)
        self._completed[upload.id] = (upload.key, etag)
        size = sum(upload.parts[number][0].size for number in numbers)
        self.objects[upload.key] = Object(target, size, etag, now)
        return self.objects[upload.key]


def _check_part(upload: MultipartUpload, wanted: ListedPart, last: bool) -> None:
    have = upload.parts.get(wanted.number)
    if have is None or have[0].md5 != wanted.etag.strip('"'):
        raise S3Error("InvalidPart", "One or more of the specified parts could not be found.")
    if any(have[0].checksums.get(name, value) != value for name, value in wanted.checksums.items()):
        raise S3Error("InvalidPart", "The checksum of a part does not match.")
    if not last and have[0].size < MIN_PART_BYTES:
        message = "Your proposed upload is smaller than the minimum allowed size"
        raise S3Error("EntityTooSmall", message, ProposedSize=str(have[0].size), MinSizeAllowed=str(MIN_PART_BYTES))


def _join(parts: list[Path], target: Path) -> None:
    """Join all parts into one file. Each part is removed once it is copied, so that disk use hardly grows."""
    with target.open("wb") as out:
        for part in parts:
            with part.open("rb") as source:
                shutil.copyfileobj(source, out, 1024 * 1024)
            part.unlink()
