"""S3's error answers."""

from __future__ import annotations

from typing import Final
from uuid import uuid4
from xml.sax.saxutils import escape

from synthdub_tui.errors import SynthdubError
from synthdub_tui.sandbox.http_server import Response

_STATUS: Final = {
    "AccessDenied": 403,
    "AuthorizationHeaderMalformed": 400,
    "AuthorizationQueryParametersError": 400,
    "BadDigest": 400,
    "EntityTooSmall": 400,
    "EntityTooLarge": 400,
    "ExpiredToken": 400,
    "IncompleteBody": 400,
    "InvalidAccessKeyId": 403,
    "InvalidArgument": 400,
    "InvalidDigest": 400,
    "InvalidPart": 400,
    "InvalidPartOrder": 400,
    "InvalidRange": 416,
    "InvalidRequest": 400,
    "InvalidToken": 400,
    "MalformedXML": 400,
    "MethodNotAllowed": 405,
    "MissingContentLength": 411,
    "NoSuchBucket": 404,
    "NoSuchKey": 404,
    "NoSuchUpload": 404,
    "NotImplemented": 501,
    "RequestTimeTooSkewed": 403,
    "SignatureDoesNotMatch": 403,
    "XAmzContentSHA256Mismatch": 400,
}


class S3Error(SynthdubError):
    """An error as S3 reports it. `more` contains further elements of the answer."""

    def __init__(self, code: str, message: str, **more: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.more = more

    def response(self, path: str, headers: tuple[tuple[str, str], ...] = ()) -> Response:
        request_id = uuid4().hex[:16].upper()
        elements = {"Code": self.code, "Message": self.message, **self.more, "Resource": path, "RequestId": request_id}
        inner = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in elements.items())
        body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{inner}</Error>'.encode()
        common = (("Content-Type", "application/xml"), ("x-amz-request-id", request_id))
        return Response(_STATUS[self.code], (*common, *headers), body)
