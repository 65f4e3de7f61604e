"""Signed, expiring URLs of results, and their GETs with Range, If-Range and ETag as in S3."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import formatdate
from typing import Final

from botocore.credentials import Credentials

from synthdub_tui.sandbox import media, sigv4
from synthdub_tui.sandbox.http_server import Note, Request, Response, Stream
from synthdub_tui.sandbox.media import MediaContent
from synthdub_tui.sandbox.request_gate import Gate
from synthdub_tui.sandbox.s3_errors import S3Error
from synthdub_tui.sandbox.service_state import RESULT_BUCKET, DubbedVideo, Project, ServiceState

_TYPES: Final = {
    "mp4": "video/mp4",
    "srt": "application/x-subrip",
    "vtt": "text/vtt",
    "png": "image/png",
    "gif": "image/gif",
}
_ENDPOINTS: Final = {"mp4": "download", "srt": "captions", "vtt": "captions"}


@dataclass(frozen=True)
class Links:
    """New signed URLs of one dubbed video."""

    video: str
    srt: str
    vtt: str
    image: str
    gif: str


class Downloads:
    """Creates the URLs and serves them. Keys are `<project>/<language>/<video>.<type>`."""

    def __init__(self, gate: Gate, state: ServiceState) -> None:
        self._gate = gate
        self._state = state
        self._credentials = Credentials("ASIA" + secrets.token_hex(8).upper(), secrets.token_urlsafe(30))
        self.base_url = ""  # URL of the S3 port, known once it listens

    def links(self, project: Project, dub: DubbedVideo) -> Links:
        key = f"{project.id}/{dub.language}/{dub.id}"
        return Links(*(self._sign(f"{key}.{ending}") for ending in ("mp4", "srt", "vtt", "png", "gif")))

    def _sign(self, key: str) -> str:
        seconds = self._gate.config.download_url_seconds
        url = f"{self.base_url}/{RESULT_BUCKET}/{key}"
        return sigv4.presign(url, self._credentials, seconds, self._gate.clock.now())

    def endpoint(self, key: str) -> str:
        """The request's name for faults and the journal."""
        return _ENDPOINTS.get(key.rpartition(".")[2], "thumbnail")

    async def get(self, request: Request) -> Response:
        sigv4.verify_url(request, self._credentials, self._gate.clock.now())
        if request.method not in ("GET", "HEAD"):
            raise S3Error("MethodNotAllowed", "The specified method is not allowed against this resource.")
        identity, language, file = request.path.split("/")[2:]
        project = self._state.projects[identity]
        dub = project.dubs.get(language)
        name, _, ending = file.rpartition(".")
        if dub is None or dub.id != name:
            raise S3Error("NoSuchKey", "The specified key does not exist.")
        content = self._content(project, dub, ending)
        note = Note(project.asset, project.id, (language,))
        return _ranged(request, content, _TYPES[ending], dub.ends_at, note)

    def _content(self, project: Project, dub: DubbedVideo, ending: str) -> MediaContent:
        config = self._gate.config
        if ending == "mp4":
            return media.dubbed_video(project.title, dub.language, config.output_seconds, config.output_padding)
        if ending in ("srt", "vtt"):
            return MediaContent(media.captions(project.title, dub.language, config.output_seconds, ending))
        return MediaContent(media.thumbnail(project.title, dub.language, ending))


@dataclass(frozen=True)
class _Slice(Stream):
    """`length` bytes of a content, from `start`."""

    content: MediaContent
    start: int
    length: int

    @property
    def size(self) -> int:
        return self.length

    def pieces(self) -> Iterator[bytes]:
        return self.content.pieces(self.start, self.length)


def _ranged(request: Request, content: MediaContent, media_type: str, modified: float, note: Note) -> Response:
    last_modified = formatdate(modified, usegmt=True)
    headers = [
        ("Content-Type", media_type),
        ("ETag", content.etag),
        ("Last-Modified", last_modified),
        ("Accept-Ranges", "bytes"),
    ]
    condition = request.headers.get("if-range")
    asked = request.headers.get("range", "")
    if condition not in (None, content.etag, last_modified):
        asked = ""
    try:
        span = _span(asked, content.size)
    except S3Error as error:
        return error.response(request.raw_path, (("Content-Range", f"bytes */{content.size}"),))
    if span is None:
        return Response(200, tuple(headers), _Slice(content, 0, content.size), note)
    start, end = span
    headers.append(("Content-Range", f"bytes {start}-{end}/{content.size}"))
    return Response(206, tuple(headers), _Slice(content, start, end - start + 1), note)


def _span(asked: str, size: int) -> tuple[int, int] | None:
    """First and last byte of the range; None for the whole, also if it is malformed or has several ranges, as in S3.

    Raises S3Error("InvalidRange").
    """
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", asked.strip())
    if match is None or match[1] == match[2] == "":
        return None
    if match[1] == "":
        start, end = max(0, size - int(match[2])), size - 1
    else:
        start, end = int(match[1]), min(int(match[2]) if match[2] else size - 1, size - 1)
        if match[2] and int(match[2]) < start:
            return None
    if start >= size:
        raise S3Error("InvalidRange", "The requested range is not satisfiable", ActualObjectSize=str(size))
    return start, end
