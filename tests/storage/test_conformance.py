"""What an upload relies on, held against our sandbox and against an S3 that is not ours."""

import hashlib
import random
from pathlib import Path

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from tests.storage.conftest import StorageUnderTest, UploadTicket, change_ticket

MIB = 1024 * 1024


def make_file(folder: Path, size: int) -> Path:
    path = folder / "source.mp4"
    path.write_bytes(random.Random(size).randbytes(size))
    return path


def code_and_status(error: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    response = error.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


@pytest.mark.parametrize("size", [0, 1, 100_000, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1, 21 * MIB])
def test_upload_with_boto3_defaults(storage: StorageUnderTest, ticket: UploadTicket, tmp_path: Path, size: int) -> None:
    path = make_file(tmp_path, size)
    ticket.client().upload_file(str(path), ticket.bucket, ticket.key, ExtraArgs={"ContentType": "video/mp4"})
    assert storage.content(ticket) == path.read_bytes()
    assert storage.count_open_uploads(ticket) == 0


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
def test_upload_with_chosen_checksum(storage: StorageUnderTest, ticket: UploadTicket, tmp_path: Path, algorithm: str) -> None:
    path = make_file(tmp_path, 12 * MIB)
    extra = {"ChecksumAlgorithm": algorithm}
    config = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB)
    ticket.client().upload_file(str(path), ticket.bucket, ticket.key, ExtraArgs=extra, Config=config)
    assert storage.content(ticket) == path.read_bytes()


def test_small_put(storage: StorageUnderTest, ticket: UploadTicket) -> None:
    answer = ticket.client().put_object(**ticket.bucket_and_key, Body=b"small", ContentType="video/mp4")
    assert answer["ETag"] == f'"{hashlib.md5(b"small").hexdigest()}"'
    assert storage.content(ticket) == b"small"
    head = ticket.client().head_object(**ticket.bucket_and_key)
    assert (head["ContentLength"], head["ETag"]) == (5, answer["ETag"])


def test_put_without_checksum(storage: StorageUnderTest, ticket: UploadTicket) -> None:
    client = ticket.client(request_checksum_calculation="when_required")
    client.put_object(**ticket.bucket_and_key, Body=b"plain")
    assert storage.content(ticket) == b"plain"


def test_parts_in_any_order_and_again(storage: StorageUnderTest, ticket: UploadTicket) -> None:
    client = ticket.client()
    upload = client.create_multipart_upload(**ticket.bucket_and_key)["UploadId"]
    first, second = b"a" * (5 * MIB), b"b" * 10

    def send(number: int, body: bytes) -> str:
        part = client.upload_part(**ticket.bucket_and_key, UploadId=upload, PartNumber=number, Body=body)
        return str(part["ETag"])

    last = send(2, second)
    send(1, b"x" * (5 * MIB))
    again = send(1, first)
    listed = client.list_parts(**ticket.bucket_and_key, UploadId=upload)["Parts"]
    sizes = {part["PartNumber"]: part["Size"] for part in listed}  # SeaweedFS lists a part again that was sent again
    assert sizes == {1: len(first), 2: len(second)}
    assert storage.content(ticket) is None
    parts = [{"PartNumber": 1, "ETag": again}, {"PartNumber": 2, "ETag": last}]
    done = client.complete_multipart_upload(**ticket.bucket_and_key, UploadId=upload, MultipartUpload={"Parts": parts})
    digests = hashlib.md5(first).digest() + hashlib.md5(second).digest()
    assert done["ETag"] == f'"{hashlib.md5(digests).hexdigest()}-2"'
    assert storage.content(ticket) == first + second


def test_abort_leaves_nothing(storage: StorageUnderTest, ticket: UploadTicket) -> None:
    client = ticket.client()
    upload = client.create_multipart_upload(**ticket.bucket_and_key)["UploadId"]
    client.upload_part(**ticket.bucket_and_key, UploadId=upload, PartNumber=1, Body=b"part")
    assert storage.count_open_uploads(ticket) == 1
    client.abort_multipart_upload(**ticket.bucket_and_key, UploadId=upload)
    assert storage.count_open_uploads(ticket) == 0
    assert storage.content(ticket) is None
    with pytest.raises(ClientError) as error:
        client.upload_part(**ticket.bucket_and_key, UploadId=upload, PartNumber=2, Body=b"late")
    assert code_and_status(error) == ("NoSuchUpload", 404)


def test_wrong_etag_on_completion(storage: StorageUnderTest, ticket: UploadTicket) -> None:
    client = ticket.client()
    upload = client.create_multipart_upload(**ticket.bucket_and_key)["UploadId"]
    client.upload_part(**ticket.bucket_and_key, UploadId=upload, PartNumber=1, Body=b"part")
    parts = [{"PartNumber": 1, "ETag": f'"{"0" * 32}"'}]
    with pytest.raises(ClientError) as error:
        client.complete_multipart_upload(**ticket.bucket_and_key, UploadId=upload, MultipartUpload={"Parts": parts})
    assert code_and_status(error) == ("InvalidPart", 400)
    assert storage.content(ticket) is None


def test_small_part_in_the_middle(storage: StorageUnderTest, ticket: UploadTicket) -> None:
    client = ticket.client()
    upload = client.create_multipart_upload(**ticket.bucket_and_key)["UploadId"]
    sent = [client.upload_part(**ticket.bucket_and_key, UploadId=upload, PartNumber=n, Body=b"tiny") for n in (1, 2)]
    parts = [{"PartNumber": n, "ETag": part["ETag"]} for n, part in enumerate(sent, 1)]
    with pytest.raises(ClientError) as error:
        client.complete_multipart_upload(**ticket.bucket_and_key, UploadId=upload, MultipartUpload={"Parts": parts})
    assert code_and_status(error) == ("EntityTooSmall", 400)


def test_other_key_is_denied(storage: StorageUnderTest, ticket: UploadTicket) -> None:
    other = change_ticket(ticket, key=storage.ticket().key)
    with pytest.raises(ClientError) as error:
        other.client().put_object(**other.bucket_and_key, Body=b"intruder")
    assert code_and_status(error) == ("AccessDenied", 403)
    with pytest.raises(ClientError) as error:
        other.client().create_multipart_upload(**other.bucket_and_key)
    assert code_and_status(error) == ("AccessDenied", 403)
    assert storage.content(other) is None


def test_expired_token(storage: StorageUnderTest) -> None:
    late = storage.ticket(expired=True)
    with pytest.raises(ClientError) as error:
        late.client().put_object(**late.bucket_and_key, Body=b"late")
    assert code_and_status(error) == storage.expired_error
    assert storage.content(late) is None


def test_bad_signature(storage: StorageUnderTest, ticket: UploadTicket) -> None:
    forged = change_ticket(ticket, secret_key="not-the-secret")
    with pytest.raises(ClientError) as error:
        forged.client().put_object(**forged.bucket_and_key, Body=b"forged")
    assert code_and_status(error) == ("SignatureDoesNotMatch", 403)


def test_unknown_access_key(storage: StorageUnderTest, ticket: UploadTicket) -> None:
    stranger = change_ticket(ticket, access_key="ASIAABCDEFABCDEFABCD", token="")
    with pytest.raises(ClientError) as error:
        stranger.client().put_object(**stranger.bucket_and_key, Body=b"stranger")
    assert code_and_status(error) == ("InvalidAccessKeyId", 403)


def test_wrong_checksum(storage: StorageUnderTest, ticket: UploadTicket) -> None:
    with pytest.raises(ClientError) as error:
        ticket.client().put_object(**ticket.bucket_and_key, Body=b"body", ChecksumCRC32="AAAAAA==")
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert storage.content(ticket) is None


def test_wrong_md5(storage: StorageUnderTest, ticket: UploadTicket) -> None:
    with pytest.raises(ClientError) as error:
        ticket.client().put_object(**ticket.bucket_and_key, Body=b"body", ContentMD5="1B2M2Y8AsgTpgAmY7PhCfg==")
    assert code_and_status(error) == ("BadDigest", 400)
