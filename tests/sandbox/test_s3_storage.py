"""What boto3 does not send by itself: forged, late, chunked, and plainly wrong requests to storage."""

import base64
import hashlib
import re
import time
import zlib
from datetime import UTC, datetime
from typing import Any

import boto3
import httpx
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from synthdub_tui.sandbox.awschunked import Decoder
from synthdub_tui.sandbox.checksums import CHECKSUMS
from synthdub_tui.sandbox.s3_errors import S3Error
from tests.sandbox.conftest import ApiCaller, MakeCaller

MIB = 1024 * 1024


def status_and_code(answer: httpx.Response) -> tuple[int, str]:
    found = re.search("<Code>(.*?)</Code>", answer.text)
    assert found is not None, answer.text
    return answer.status_code, found[1]


def test_wrong_region(caller: ApiCaller) -> None:
    answer = caller.send_signed("PUT", caller.create_asset(), body=b"x", region="us-east-1")
    assert status_and_code(answer) == (400, "AuthorizationHeaderMalformed")
    assert "<Region>eu-west-1</Region>" in answer.text


def test_boto3_finds_the_region(caller: ApiCaller) -> None:
    """As against S3: it reads the region from the error and signs again."""
    asset = caller.create_asset()
    given = asset["uploadCredentials"]
    boto3_client(caller, asset, region="us-east-1").put_object(Bucket=given["bucket"], Key=given["key"], Body=b"x")
    answers = [record.status for record in caller.sandbox.journal if record.endpoint == "S3 PutObject"]
    assert answers == [400, 200]


def test_wrong_secret_token_and_key(caller: ApiCaller) -> None:
    asset, other = caller.create_asset(), caller.create_asset()["uploadCredentials"]
    assert status_and_code(caller.send_signed("PUT", asset, secretAccessKey="x")) == (403, "SignatureDoesNotMatch")
    assert status_and_code(caller.send_signed("PUT", asset, sessionToken=other["sessionToken"])) == (400, "InvalidToken")
    assert status_and_code(caller.send_signed("PUT", asset, accessKeyId="ASIAAAAAAAAAAAAAAAAA")) == (403, "InvalidAccessKeyId")
    assert status_and_code(caller.send_signed("PUT", asset, key=other["key"])) == (403, "AccessDenied")
    assert status_and_code(caller.send_signed("PUT", asset, bucket="another")) == (403, "AccessDenied")


def test_no_signature(caller: ApiCaller) -> None:
    given = caller.create_asset()["uploadCredentials"]
    url = f"{caller.sandbox.s3_url}/{given['bucket']}/{given['key']}"
    assert status_and_code(caller.plain_client.put(url, content=b"x")) == (403, "AccessDenied")
    headers = {"Authorization": "sandbox-key"}
    assert status_and_code(caller.plain_client.put(url, content=b"x", headers=headers)) == (400, "AuthorizationHeaderMalformed")


def test_expiry(make_caller: MakeCaller) -> None:
    caller = make_caller(upload_credentials_seconds=20.0)
    asset = caller.create_asset()
    assert caller.send_signed("PUT", asset, body=b"x").status_code == 200
    caller.sandbox.advance(20)
    assert status_and_code(caller.send_signed("PUT", asset, body=b"x")) == (400, "ExpiredToken")


def test_expiry_in_the_middle_of_a_multipart_upload(make_caller: MakeCaller) -> None:
    caller = make_caller(upload_credentials_seconds=20.0)
    asset = caller.create_asset()
    upload = start_upload(caller, asset)
    assert caller.send_signed("PUT", asset, f"?partNumber=1&uploadId={upload}", b"x").status_code == 200
    caller.sandbox.advance(20)
    assert status_and_code(caller.send_signed("PUT", asset, f"?partNumber=2&uploadId={upload}", b"x")) == (400, "ExpiredToken")


def test_unsigned_header(caller: ApiCaller) -> None:
    asset = caller.create_asset()
    given = asset["uploadCredentials"]
    url = f"{caller.sandbox.s3_url}/{given['bucket']}/{given['key']}"
    request = AWSRequest("PUT", url, data=b"x")
    credentials = Credentials(given["accessKeyId"], given["secretAccessKey"], given["sessionToken"])
    S3SigV4Auth(credentials, "s3", "eu-west-1").add_auth(request)
    headers = {**dict(request.headers.items()), "x-amz-acl": "public-read"}
    assert status_and_code(caller.plain_client.put(url, headers=headers, content=b"x")) == (403, "AccessDenied")


def test_skewed_clock(caller: ApiCaller, monkeypatch: pytest.MonkeyPatch) -> None:
    late = datetime.fromtimestamp(time.time() - 3600, UTC).replace(tzinfo=None)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: late)
    assert status_and_code(caller.send_signed("PUT", caller.create_asset(), body=b"x")) == (403, "RequestTimeTooSkewed")


def test_body_and_hash_differ(caller: ApiCaller) -> None:
    asset = caller.create_asset()
    wrong = {"X-Amz-Content-SHA256": hashlib.sha256(b"other").hexdigest()}
    assert status_and_code(caller.send_signed("PUT", asset, body=b"x", headers=wrong)) == (400, "XAmzContentSHA256Mismatch")
    assert caller.sandbox.storage.uploads.objects == {}
    assert not list((caller.sandbox.root / "incoming").iterdir())


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({"Content-MD5": "AAAAAAAAAAAAAAAAAAAAAA=="}, "BadDigest"),
        ({"Content-MD5": "?"}, "InvalidDigest"),
        ({"x-amz-checksum-crc32": "AAAAAA=="}, "BadDigest"),
        ({"x-amz-checksum-sha256": "AAAAAA=="}, "BadDigest"),
        ({"x-amz-checksum-md6": "AAAAAA=="}, "InvalidRequest"),
        ({"X-Amz-Content-SHA256": "STREAMING-NONSENSE"}, "InvalidRequest"),
    ],
)
def test_wrong_digests(caller: ApiCaller, headers: dict[str, str], error: str) -> None:
    assert status_and_code(caller.send_signed("PUT", caller.create_asset(), body=b"x", headers=headers)) == (400, error)


def start_upload(caller: ApiCaller, asset: dict[str, Any]) -> str:
    answer = caller.send_signed("POST", asset, "?uploads")
    assert answer.status_code == 200
    return answer.text.partition("<UploadId>")[2].partition("<")[0]


def complete_upload(caller: ApiCaller, asset: dict[str, Any], upload: str, *parts: tuple[int, str]) -> httpx.Response:
    inner = "".join(f"<Part><PartNumber>{n}</PartNumber><ETag>{tag}</ETag></Part>" for n, tag in parts)
    body = f"<CompleteMultipartUpload>{inner}</CompleteMultipartUpload>".encode()
    return caller.send_signed("POST", asset, f"?uploadId={upload}", body)


def test_completions_that_do_not_fit(caller: ApiCaller) -> None:
    asset = caller.create_asset()
    upload = start_upload(caller, asset)
    tags = []
    for number in (1, 2):
        part = caller.send_signed("PUT", asset, f"?partNumber={number}&uploadId={upload}", bytes(5 * MIB))
        tags.append(part.headers["etag"])
    one, two = (1, tags[0]), (2, tags[1])
    assert status_and_code(complete_upload(caller, asset, upload, two, one)) == (400, "InvalidPartOrder")
    assert status_and_code(complete_upload(caller, asset, upload)) == (400, "InvalidPartOrder")
    assert status_and_code(complete_upload(caller, asset, upload, one, (3, tags[0]))) == (400, "InvalidPart")
    assert status_and_code(caller.send_signed("POST", asset, f"?uploadId={upload}", b"<not xml")) == (400, "MalformedXML")
    assert status_and_code(caller.send_signed("POST", asset, f"?uploadId={upload}", b"<a><b/></a>")) == (400, "MalformedXML")
    assert status_and_code(complete_upload(caller, asset, "unknown", one)) == (404, "NoSuchUpload")
    first = complete_upload(caller, asset, upload, one, two)
    again = complete_upload(caller, asset, upload, one, two)
    assert (first.status_code, first.text) == (200, again.text)
    assert caller.sandbox.source_file(asset["id"]).stat().st_size == 10 * MIB
    assert not list((caller.sandbox.root / "parts").iterdir())


@pytest.mark.parametrize("number", ["0", "10001", "x"])
def test_part_numbers(caller: ApiCaller, number: str) -> None:
    asset = caller.create_asset()
    answer = caller.send_signed("PUT", asset, f"?partNumber={number}&uploadId={start_upload(caller, asset)}", b"x")
    assert status_and_code(answer) == (400, "InvalidArgument")


def test_other_operations(caller: ApiCaller) -> None:
    asset = caller.create_asset()
    assert status_and_code(caller.send_signed("GET", asset, "?acl")) == (501, "NotImplemented")
    assert status_and_code(caller.send_signed("PUT", asset, "?tagging", b"x")) == (501, "NotImplemented")


def boto3_client(caller: ApiCaller, asset: dict[str, Any], region: str = "eu-west-1") -> Any:
    given = asset["uploadCredentials"]
    return boto3.client(
        "s3",
        endpoint_url=caller.sandbox.s3_url,
        region_name=region,
        aws_access_key_id=given["accessKeyId"],
        aws_secret_access_key=given["secretAccessKey"],
        aws_session_token=given["sessionToken"],
    )


def test_lists(caller: ApiCaller) -> None:
    asset = caller.create_asset()
    start_upload(caller, caller.create_asset())
    upload = start_upload(caller, asset)
    for number in range(1, 6):
        caller.send_signed("PUT", asset, f"?partNumber={number}&uploadId={upload}", b"x" * number)
    s3, given = boto3_client(caller, asset), asset["uploadCredentials"]
    pages = s3.get_paginator("list_parts").paginate(
        Bucket=given["bucket"], Key=given["key"], UploadId=upload, PaginationConfig={"PageSize": 2}
    )
    assert [(p["PartNumber"], p["Size"]) for page in pages for p in page["Parts"]] == [(n, n) for n in range(1, 6)]
    uploads = s3.list_multipart_uploads(Bucket=given["bucket"], Prefix=given["key"])["Uploads"]
    assert [(each["Key"], each["UploadId"]) for each in uploads] == [(given["key"], upload)]
    wrong = caller.send_signed("GET", asset, f"?max-parts=many&uploadId={upload}")
    assert status_and_code(wrong) == (400, "InvalidArgument")
    with pytest.raises(s3.exceptions.ClientError, match="AccessDenied"):
        s3.list_multipart_uploads(Bucket=given["bucket"])


# -- aws-chunked ------------------------------------------------------------------------------------------------------


def crc32(data: bytes) -> str:
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


def put_chunked(caller: ApiCaller, asset: dict[str, Any], payload: str, body: bytes, size: int, **more: str) -> httpx.Response:
    headers = {
        "X-Amz-Content-SHA256": payload,
        "Content-Encoding": "aws-chunked",
        "x-amz-decoded-content-length": str(size),
        **{name.replace("_", "-"): value for name, value in more.items()},
    }
    return caller.send_signed("PUT", asset, body=body, headers=headers)


@pytest.mark.parametrize(("sent", "status"), [(b"hello world", 200), (b"hello w0rld", 400)])
def test_unsigned_chunks_with_trailer(caller: ApiCaller, sent: bytes, status: int) -> None:
    asset = caller.create_asset()
    body = b"5\r\n" + sent[:5] + b"\r\n6\r\n" + sent[5:] + b"\r\n0\r\nx-amz-checksum-crc32:%b\r\n\r\n"
    body %= crc32(b"hello world").encode()
    answer = put_chunked(caller, asset, "STREAMING-UNSIGNED-PAYLOAD-TRAILER", body, 11, x_amz_trailer="x-amz-checksum-crc32")
    assert answer.status_code == status
    if status == 200:
        assert caller.sandbox.source_file(asset["id"]).read_bytes() == sent
        assert answer.headers["x-amz-checksum-crc32"] == crc32(sent)
    else:
        assert status_and_code(answer) == (400, "BadDigest")


@pytest.mark.parametrize("body", [b"5\r\nhello\r\n", b"5\r\nhelloXX0\r\n\r\n", b"zz\r\n", b"5\r\nhello\r\n0\r\n\r\n"])
def test_broken_chunks(caller: ApiCaller, body: bytes) -> None:
    """Unfinished, not separated, not a size, and another number of bytes than announced."""
    answer = put_chunked(caller, caller.create_asset(), "STREAMING-UNSIGNED-PAYLOAD-TRAILER", body, 6)
    assert status_and_code(answer) == (400, "IncompleteBody")


def chunk_signer(credentials: Credentials, timestamp: str, region: str) -> tuple[Any, str]:
    auth = S3SigV4Auth(credentials, "s3", region)
    request = AWSRequest("PUT", "http://host/")
    request.context["timestamp"] = timestamp
    return lambda text: auth.signature(text, request), auth.credential_scope(request)


SEED_SIGNATURE = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
EXAMPLE_CHUNKS = (
    ("10000", b"a" * 65536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"),
    ("400", b"a" * 1024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"),
    ("0", b"", "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"),
)
"""The example of the S3 API reference, "Transferring Payload in Multiple Chunks"."""


@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_signed_chunks_of_the_reference(step: int) -> None:
    body = b"".join(f"{size};chunk-signature={mark}\r\n".encode() + data + b"\r\n" for size, data, mark in EXAMPLE_CHUNKS)
    decoder = example_decoder()
    data = b"".join(piece for at in range(0, len(body), step) for piece in decoder.feed(body[at : at + step]))
    assert decoder.done
    assert data == b"a" * 66560


def test_a_changed_byte_in_signed_chunks() -> None:
    size, data, mark = EXAMPLE_CHUNKS[0]
    with pytest.raises(S3Error, match="SignatureDoesNotMatch"):
        list(example_decoder().feed(f"{size};chunk-signature={mark}\r\n".encode() + data[:-1] + b"b\r\n"))


def example_decoder() -> Decoder:
    credentials = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    sign, scope = chunk_signer(credentials, "20130524T000000Z", "us-east-1")
    return Decoder(sign, "20130524T000000Z", scope, SEED_SIGNATURE)


@pytest.mark.parametrize("spoiled", [False, True])
def test_signed_trailer(spoiled: bool) -> None:
    sign, scope = chunk_signer(Credentials("key", "secret"), "20260101T000000Z", "eu-west-1")
    start = f"20260101T000000Z\n{scope}\n"
    empty = hashlib.sha256(b"").hexdigest()
    first = sign(f"AWS4-HMAC-SHA256-PAYLOAD\n{start}seed\n{empty}\n{hashlib.sha256(b'hello').hexdigest()}")
    last = sign(f"AWS4-HMAC-SHA256-PAYLOAD\n{start}{first}\n{empty}\n{empty}")
    trailer = f"x-amz-checksum-crc32:{crc32(b'hello')}"
    digest = hashlib.sha256(f"{trailer}\n".encode()).hexdigest()
    mark = sign(f"AWS4-HMAC-SHA256-TRAILER\n{start}{last}\n{digest}")
    if spoiled:
        trailer = trailer.replace("crc32:", "crc32:A")
    body = (
        f"5;chunk-signature={first}\r\nhello\r\n0;chunk-signature={last}\r\n{trailer}\r\nx-amz-trailer-signature:{mark}\r\n\r\n"
    )
    decoder = Decoder(sign, "20260101T000000Z", scope, "seed")
    if spoiled:
        with pytest.raises(S3Error, match="SignatureDoesNotMatch"):
            list(decoder.feed(body.encode()))
        return
    assert b"".join(decoder.feed(body.encode())) == b"hello"
    assert decoder.done
    assert decoder.trailers == {"x-amz-checksum-crc32": crc32(b"hello")}


@pytest.mark.parametrize(
    ("name", "expected"),
    [("crc32", "cbf43926"), ("crc32c", "e3069283"), ("crc64nvme", "ae8b14860a799888")],
)
def test_check_values(name: str, expected: str) -> None:
    """Of "123456789", as the catalogue of CRCs has them."""
    checksum = CHECKSUMS[name]()
    checksum.update(b"1234")
    checksum.update(b"56789")
    assert checksum.digest().hex() == expected
