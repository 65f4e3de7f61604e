"""The test server's S3 storage: multipart and single uploads with an asset's short-lived credentials.

Path-style addressing, signature version 4, region eu-west-1. Errors, limits and the order of checks follow the S3 API
reference as far as boto3 and the vendor's guide depend on them. `downloads.py` has the signed URLs of results.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from email.utils import formatdate
from pathlib import Path
from typing import Final
from urllib.parse import unquote
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from synthdub_tui.sandbox import sigv4
from synthdub_tui.sandbox.downloads import Downloads
from synthdub_tui.sandbox.http_server import Note, Request, Response
from synthdub_tui.sandbox.multipart_uploads import ListedPart, MultipartUpload, Object, UploadStore
from synthdub_tui.sandbox.request_gate import Gate
from synthdub_tui.sandbox.s3_errors import S3Error
from synthdub_tui.sandbox.service_state import BUCKET, RESULT_BUCKET, ServiceState
from synthdub_tui.sandbox.upload_body import receive

_XML: Final = (("Content-Type", "application/xml"),)
_NAMESPACE: Final = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
_MAX_PARTS: Final = 10_000
_NAMES: Final = {
    "CreateMultipartUpload": ("POST", {"uploads"}),
    "CompleteMultipartUpload": ("POST", {"uploadId"}),
    "UploadPart": ("PUT", {"uploadId", "partNumber"}),
    "PutObject": ("PUT", set[str]()),
    "ListParts": ("GET", {"uploadId"}),
    "ListMultipartUploads": ("GET", {"uploads"}),
    "HeadObject": ("HEAD", set[str]()),
    "AbortMultipartUpload": ("DELETE", {"uploadId"}),
}
"""Operations with their method and required query parameters; the first match counts."""


@dataclass(frozen=True)
class _Call:
    """A request with a valid signature for this key."""

    request: Request
    signed: sigv4.Signed
    key: str

    def upload_id(self) -> str:
        return self.request.argument("uploadId") or ""


_Operation = Callable[[_Call], Awaitable[Response]]


class Storage:
    """Answers requests to the S3 port."""

    def __init__(self, gate: Gate, state: ServiceState, downloads: Downloads, root: Path) -> None:
        self._gate = gate
        self._state = state
        self._downloads = downloads
        self.uploads = UploadStore(root)
        self._operations: dict[str, _Operation] = {
            "CreateMultipartUpload": self._create,
            "CompleteMultipartUpload": self._complete,
            "UploadPart": self._upload_part,
            "PutObject": self._put,
            "ListParts": self._list_parts,
            "ListMultipartUploads": self._list_uploads,
            "HeadObject": self._head,
            "AbortMultipartUpload": self._abort,
        }

    async def handle(self, request: Request) -> Response:
        bucket, _, key = unquote(request.raw_path).lstrip("/").partition("/")
        if bucket == RESULT_BUCKET:
            endpoint = self._downloads.endpoint(key)
            return await self._gate.handle(request, endpoint, self._with_error_responses(self._downloads.get))
        name, operation = self._operation(request, key)

        async def answer(request: Request) -> Response:
            signed = sigv4.verify(request, self._state.grant, self._gate.clock.now())
            self._admit(request, signed, bucket, key)
            response = await operation(_Call(request, signed, key))
            asset = key.split("/")[1] if key.count("/") > 1 else ""
            return replace(response, note=Note(asset=asset))

        return await self._gate.handle(request, f"S3 {name}", self._with_error_responses(answer))

    def _with_error_responses(
        self, answer: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def caught(request: Request) -> Response:
            try:
                return await answer(request)
            except S3Error as error:
                return error.response(request.raw_path)

        return caught

    def _operation(self, request: Request, key: str) -> tuple[str, _Operation]:
        names = {name for name, _ in request.query} - {"x-id"}
        name = next((name for name, (method, needs) in _NAMES.items() if method == request.method and needs <= names), "")
        if name == "PutObject" and (names or not key):
            name = ""
        return name or "unknown", self._operations.get(name, self._unknown)

    def _admit(self, request: Request, signed: sigv4.Signed, bucket: str, key: str) -> None:
        """Credentials are for one key; a listing needs that key as prefix. Raises S3Error otherwise."""
        if bucket == BUCKET and key == "" and (request.argument("prefix") or "") == signed.grant.key:
            return
        if bucket != BUCKET or key != signed.grant.key:
            raise S3Error("AccessDenied", "Access Denied")

    async def _unknown(self, call: _Call) -> Response:
        raise S3Error("NotImplemented", "A header or query you provided implies functionality that is not implemented.")

    # -- single -------------------------------------------------------------------------------------------------------

    async def _put(self, call: _Call) -> Response:
        path = self.uploads.new_incoming_path()
        received = await receive(call.request, call.signed, path)
        stored = self.uploads.put(call.key, path, received, self._gate.clock.now())
        await self._report_complete(call.key, stored)
        return Response(200, (("ETag", stored.etag), *received.checksums.items()))

    async def _head(self, call: _Call) -> Response:
        stored = self.uploads.objects.get(call.key)
        if stored is None:
            raise S3Error("NoSuchKey", "The specified key does not exist.")
        modified = formatdate(stored.stored, usegmt=True)
        headers = (("ETag", stored.etag), ("Content-Length", str(stored.size)), ("Last-Modified", modified))
        return Response(200, headers)

    # -- multipart ----------------------------------------------------------------------------------------------------

    async def _create(self, call: _Call) -> Response:
        upload = self.uploads.start(call.key, self._gate.clock.now())
        inner = f"<Bucket>{BUCKET}</Bucket><Key>{escape(call.key)}</Key><UploadId>{upload.id}</UploadId>"
        chosen = [(n, v) for n, v in call.request.headers.items() if n in _CHECKSUM_CHOICE]
        return Response(200, (*_XML, *chosen), _document("InitiateMultipartUploadResult", inner))

    async def _upload_part(self, call: _Call) -> Response:
        number = call.request.argument("partNumber") or ""
        if not number.isdecimal() or not 1 <= int(number) <= _MAX_PARTS:
            raise S3Error("InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive")
        upload = self.uploads.find(call.upload_id(), call.key)
        path = self.uploads.new_incoming_path()
        received = await receive(call.request, call.signed, path)
        self.uploads.add_part(upload, int(number), path, received, self._gate.clock.now())
        return Response(200, (("ETag", f'"{received.md5}"'), *received.checksums.items()))

    async def _complete(self, call: _Call) -> Response:
        etag = self.uploads.etag_if_completed(call.upload_id(), call.key)
        if etag is None:
            upload = self.uploads.find(call.upload_id(), call.key)
            wanted = _wanted(await call.request.body(8 * 1024 * 1024))
            stored = await self.uploads.complete(upload, wanted, self._gate.clock.now())
            await self._report_complete(call.key, stored)
            etag = stored.etag
        inner = f"<Bucket>{BUCKET}</Bucket><Key>{escape(call.key)}</Key><ETag>{escape(etag)}</ETag>"
        return Response(200, _XML, _document("CompleteMultipartUploadResult", inner))

    async def _abort(self, call: _Call) -> Response:
        self.uploads.abort(self.uploads.find(call.upload_id(), call.key))
        return Response(204)

    async def _list_parts(self, call: _Call) -> Response:
        upload = self.uploads.find(call.upload_id(), call.key)
        after = _number(call.request, "part-number-marker", 0)
        most = min(_number(call.request, "max-parts", 1000), 1000)
        numbers = [number for number in sorted(upload.parts) if number > after]
        shown = numbers[:most]
        inner = (
            f"<Bucket>{BUCKET}</Bucket><Key>{escape(call.key)}</Key><UploadId>{upload.id}</UploadId>"
            f"<PartNumberMarker>{after}</PartNumberMarker>"
            f"<NextPartNumberMarker>{shown[-1] if shown else 0}</NextPartNumberMarker><MaxParts>{most}</MaxParts>"
            f"<IsTruncated>{'true' if len(numbers) > most else 'false'}</IsTruncated>"
        )
        return Response(200, _XML, _document("ListPartsResult", inner + "".join(_part(upload, n) for n in shown)))

    async def _list_uploads(self, call: _Call) -> Response:
        inner = "".join(
            f"<Upload><Key>{escape(upload.key)}</Key><UploadId>{upload.id}</UploadId>"
            f"<Initiated>{_iso(upload.started)}</Initiated></Upload>"
            for upload in self.uploads.open_uploads.values()
            if upload.key == call.signed.grant.key
        )
        head = f"<Bucket>{BUCKET}</Bucket><MaxUploads>1000</MaxUploads><IsTruncated>false</IsTruncated>"
        return Response(200, _XML, _document("ListMultipartUploadsResult", head + inner))

    async def _report_complete(self, key: str, stored: Object) -> None:
        """Report to the service that an upload is complete, and whether it has the announced MD5."""
        promised = self._state.announced_md5(key)
        intact = promised is None or promised in await asyncio.to_thread(_md5_spellings, stored.path)
        self._state.finish_upload(key, stored.size, intact, self._gate.clock.now())


_CHECKSUM_CHOICE: Final = ("x-amz-checksum-algorithm", "x-amz-checksum-type")


def _number(request: Request, name: str, default: int) -> int:
    text = request.argument(name) or str(default)
    if not text.isdecimal():
        raise S3Error("InvalidArgument", f"Provided {name} not an integer")
    return int(text)


def _md5_spellings(path: Path) -> tuple[str, str]:
    """A file's MD5 in hexadecimal and base64, since the API reference does not say which form `contentMD5` has."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
    return digest.hexdigest(), base64.b64encode(digest.digest()).decode()


def _wanted(body: bytes | None) -> list[ListedPart]:
    try:
        root = ElementTree.fromstring(body or b"")  # noqa: S314 - from a client that signed it, on this machine
    except ElementTree.ParseError as error:
        raise S3Error("MalformedXML", "The XML you provided was not well-formed.") from error
    parts = []
    for part in root:
        fields = {child.tag.rpartition("}")[2]: child.text or "" for child in part}
        if not fields.get("PartNumber", "").isdecimal() or "ETag" not in fields:
            raise S3Error("MalformedXML", "The XML you provided did not validate against our published schema")
        checksums = {
            f"x-amz-checksum-{name.removeprefix('Checksum').lower()}": value
            for name, value in fields.items()
            if name.startswith("Checksum")
        }
        parts.append(ListedPart(int(fields["PartNumber"]), fields["ETag"], checksums))
    return parts


def _part(upload: MultipartUpload, number: int) -> str:
    received, at = upload.parts[number]
    return (
        f"<Part><PartNumber>{number}</PartNumber><LastModified>{_iso(at)}</LastModified>"
        f"<ETag>&quot;{received.md5}&quot;</ETag><Size>{received.size}</Size></Part>"
    )


def _document(name: str, inner: str) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{name} {_NAMESPACE}>{inner}</{name}>'.encode()


def _iso(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(at))
