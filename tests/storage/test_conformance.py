"""What an upload relies on, held against our sandbox and against an S3 that is not ours."""

import hashlib
import random
from pathlib import Path

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from tests.storage.conftest import Store, Ticket, altered

MIB = 1024 * 1024


def make_file(folder: Path, size: int) -> Path:
    path = folder / "source.mp4"
    path.write_bytes(random.Random(size).randbytes(size))
    return path


def code_of(error: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    response = error.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


@pytest.mark.parametrize("size", [0, 1, 100_000, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1, 21 * MIB])
def test_upload_with_boto3_defaults(store: Store, ticket: Ticket, tmp_path: Path, size: int) -> None:
    path = make_file(tmp_path, size)
    ticket.client().upload_file(str(path), ticket.bucket, ticket.key, ExtraArgs={"ContentType": "video/mp4"})
    assert store.content(ticket) == path.read_bytes()
    assert store.pending(ticket) == 0


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
def test_upload_with_chosen_checksum(store: Store, ticket: Ticket, tmp_path: Path, algorithm: str) -> None:
    path = make_file(tmp_path, 12 * MIB)
    extra = {"ChecksumAlgorithm": algorithm}
    config = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB)
    ticket.client().upload_file(str(path), ticket.bucket, ticket.key, ExtraArgs=extra, Config=config)
    assert store.content(ticket) == path.read_bytes()


def test_small_put(store: Store, ticket: Ticket) -> None:
    answer = ticket.client().put_object(**ticket.where, Body=b"small", ContentType="video/mp4")
    assert answer["ETag"] == f'"{hashlib.md5(b"small").hexdigest()}"'
    assert store.content(ticket) == b"small"
    head = ticket.client().head_object(**ticket.where)
    assert (head["ContentLength"], head["ETag"]) == (5, answer["ETag"])


def test_put_without_checksum(store: Store, ticket: Ticket) -> None:
    client = ticket.client(request_checksum_calculation="when_required")
    client.put_object(**ticket.where, Body=b"plain")
    assert store.content(ticket) == b"plain"


def test_parts_in_any_order_and_again(store: Store, ticket: Ticket) -> None:
    client = ticket.client()
    upload = client.create_multipart_upload(**ticket.where)["UploadId"]
    first, second = b"a" * (5 * MIB), b"b" * 10

    def send(number: int, body: bytes) -> str:
        part = client.upload_part(**ticket.where, UploadId=upload, PartNumber=number, Body=body)
        return str(part["ETag"])

    last = send(2, second)
    send(1, b"x" * (5 * MIB))
    again = send(1, first)
    listed = client.list_parts(**ticket.where, UploadId=upload)["Parts"]
    sizes = {part["PartNumber"]: part["Size"] for part in listed}  # SeaweedFS lists a part again that was sent again
    assert sizes == {1: len(first), 2: len(second)}
    assert store.content(ticket) is None
    parts = [{"PartNumber": 1, "ETag": again}, {"PartNumber": 2, "ETag": last}]
    done = client.complete_multipart_upload(**ticket.where, UploadId=upload, MultipartUpload={"Parts": parts})
    digests = hashlib.md5(first).digest() + hashlib.md5(second).digest()
    assert done["ETag"] == f'"{hashlib.md5(digests).hexdigest()}-2"'
    assert store.content(ticket) == first + second


def test_abort_leaves_nothing(store: Store, ticket: Ticket) -> None:
    client = ticket.client()
    upload = client.create_multipart_upload(**ticket.where)["UploadId"]
    client.upload_part(**ticket.where, UploadId=upload, PartNumber=1, Body=b"part")
    assert store.pending(ticket) == 1
    client.abort_multipart_upload(**ticket.where, UploadId=upload)
    assert store.pending(ticket) == 0
    assert store.content(ticket) is None
    with pytest.raises(ClientError) as error:
        client.upload_part(**ticket.where, UploadId=upload, PartNumber=2, Body=b"late")
    assert code_of(error) == ("NoSuchUpload", 404)


def test_wrong_etag_on_completion(store: Store, ticket: Ticket) -> None:
    client = ticket.client()
    upload = client.create_multipart_upload(**ticket.where)["UploadId"]
    client.upload_part(**ticket.where, UploadId=upload, PartNumber=1, Body=b"part")
    parts = [{"PartNumber": 1, "ETag": f'"{"0" * 32}"'}]
    with pytest.raises(ClientError) as error:
        client.complete_multipart_upload(**ticket.where, UploadId=upload, MultipartUpload={"Parts": parts})
    assert code_of(error) == ("InvalidPart", 400)
    assert store.content(ticket) is None


def test_small_part_in_the_middle(store: Store, ticket: Ticket) -> None:
    client = ticket.client()
    upload = client.create_multipart_upload(**ticket.where)["UploadId"]
    sent = [client.upload_part(**ticket.where, UploadId=upload, PartNumber=n, Body=b"tiny") for n in (1, 2)]
    parts = [{"PartNumber": n, "ETag": part["ETag"]} for n, part in enumerate(sent, 1)]
    with pytest.raises(ClientError) as error:
        client.complete_multipart_upload(**ticket.where, UploadId=upload, MultipartUpload={"Parts": parts})
    assert code_of(error) == ("EntityTooSmall", 400)


def test_other_key_is_denied(store: Store, ticket: Ticket) -> None:
    other = altered(ticket, key=store.ticket().key)
    with pytest.raises(ClientError) as error:
        other.client().put_object(**other.where, Body=b"intruder")
    assert code_of(error) == ("AccessDenied", 403)
    with pytest.raises(ClientError) as error:
        other.client().create_multipart_upload(**other.where)
    assert code_of(error) == ("AccessDenied", 403)
    assert store.content(other) is None


def test_expired_token(store: Store) -> None:
    late = store.ticket(expired=True)
    with pytest.raises(ClientError) as error:
        late.client().put_object(**late.where, Body=b"late")
    assert code_of(error) == store.says_expired
    assert store.content(late) is None


def test_bad_signature(store: Store, ticket: Ticket) -> None:
    forged = altered(ticket, secret_key="not-the-secret")
    with pytest.raises(ClientError) as error:
        forged.client().put_object(**forged.where, Body=b"forged")
    assert code_of(error) == ("SignatureDoesNotMatch", 403)


def test_unknown_access_key(store: Store, ticket: Ticket) -> None:
    stranger = altered(ticket, access_key="ASIAABCDEFABCDEFABCD", token="")
    with pytest.raises(ClientError) as error:
        stranger.client().put_object(**stranger.where, Body=b"stranger")
    assert code_of(error) == ("InvalidAccessKeyId", 403)


def test_wrong_checksum(store: Store, ticket: Ticket) -> None:
    with pytest.raises(ClientError) as error:
        ticket.client().put_object(**ticket.where, Body=b"body", ChecksumCRC32="AAAAAA==")
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert store.content(ticket) is None


def test_wrong_md5(store: Store, ticket: Ticket) -> None:
    with pytest.raises(ClientError) as error:
        ticket.client().put_object(**ticket.where, Body=b"body", ContentMD5="1B2M2Y8AsgTpgAmY7PhCfg==")
    assert code_of(error) == ("BadDigest", 400)
