import io
import re
import time

import av
import httpx
import pytest

from tests.sandbox.conftest import ApiCaller, MakeCaller


@pytest.fixture
def video_url(caller: ApiCaller) -> str:
    return str(caller.complete_dubs("fr-FR")[0]["download"])


def status_and_code(answer: httpx.Response) -> tuple[int, str]:
    found = re.search("<Code>(.*?)</Code>", answer.text)
    assert found is not None
    return answer.status_code, found[1]


def test_whole(caller: ApiCaller, video_url: str) -> None:
    answer = caller.plain_client.get(video_url)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "video/mp4"
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert answer.headers["accept-ranges"] == "bytes"


def test_ranges(caller: ApiCaller, video_url: str) -> None:
    whole = caller.plain_client.get(video_url).content
    size = len(whole)
    for asked, start, end in (
        ("bytes=0-0", 0, 1),
        ("bytes=100-", 100, size),
        (f"bytes=100-{size + 5}", 100, size),
        ("bytes=-10", size - 10, size),
        (f"bytes=-{size + 10}", 0, size),
    ):
        answer = caller.plain_client.get(video_url, headers={"Range": asked})
        assert answer.status_code == 206
        assert answer.content == whole[start:end]
        assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"


@pytest.mark.parametrize("asked", ["bytes=0-1,5-6", "bytes=9-3", "lines=1-2", "bytes=-"])
def test_ranges_that_get_the_whole(caller: ApiCaller, video_url: str, asked: str) -> None:
    assert caller.plain_client.get(video_url, headers={"Range": asked}).status_code == 200


def test_range_beyond_the_end(caller: ApiCaller, video_url: str) -> None:
    size = len(caller.plain_client.get(video_url).content)
    answer = caller.plain_client.get(video_url, headers={"Range": f"bytes={size}-"})
    assert status_and_code(answer) == (416, "InvalidRange")
    assert answer.headers["content-range"] == f"bytes */{size}"


def test_if_range(caller: ApiCaller, video_url: str) -> None:
    first = caller.plain_client.get(video_url)
    same = caller.plain_client.get(video_url, headers={"Range": "bytes=5-", "If-Range": first.headers["etag"]})
    other = caller.plain_client.get(video_url, headers={"Range": "bytes=5-", "If-Range": '"something else"'})
    assert (same.status_code, other.status_code) == (206, 200)
    assert other.content == first.content


def test_etags_differ_per_language(caller: ApiCaller) -> None:
    tags = {caller.plain_client.get(dub["download"]).headers["etag"] for dub in caller.complete_dubs("fr-FR", "fr-CA", "de")}
    assert len(tags) == 3


def test_a_signed_url_takes_no_key(caller: ApiCaller, video_url: str) -> None:
    answer = caller.plain_client.get(video_url, headers={"Authorization": "sandbox-key"})
    assert status_and_code(answer) == (400, "InvalidArgument")


def test_expiry_and_a_fresh_url(make_caller: MakeCaller) -> None:
    caller = make_caller(download_url_seconds=30)
    project = caller.create_project("fr-FR")
    caller.sandbox.advance(200)
    old = caller.look(project)["dubbedAssets"][0]["download"]
    assert caller.plain_client.get(old).status_code == 200
    caller.sandbox.advance(30)
    assert status_and_code(caller.plain_client.get(old)) == (403, "AccessDenied")
    assert "Request has expired" in caller.plain_client.get(old).text
    fresh = caller.look(project)["dubbedAssets"][0]["download"]
    assert caller.plain_client.get(fresh).status_code == 200


def test_forged_urls(caller: ApiCaller) -> None:
    french, german = (dub["download"] for dub in caller.complete_dubs("fr-FR", "de"))
    path, _, query = french.partition("?")
    assert status_and_code(caller.plain_client.get(f"{german.partition('?')[0]}?{query}")) == (403, "SignatureDoesNotMatch")
    longer = french.replace("X-Amz-Expires=3600", "X-Amz-Expires=36000")
    assert status_and_code(caller.plain_client.get(longer)) == (403, "SignatureDoesNotMatch")
    assert status_and_code(caller.plain_client.get(path)) == (403, "AccessDenied")
    assert status_and_code(caller.plain_client.put(french, content=b"x")) == (403, "SignatureDoesNotMatch")


def test_captions_name_the_language(caller: ApiCaller) -> None:
    (dub,) = caller.complete_dubs("fr-CA")
    srt = caller.plain_client.get(dub["captions"]["srt"])
    vtt = caller.plain_client.get(dub["captions"]["vtt"])
    assert "French (Canada)" in srt.text
    assert "fr-CA" in vtt.text
    assert vtt.text.startswith("WEBVTT\n\n")
    assert re.match(r"1\n00:00:00,000 --> 00:00:0\d,\d{3}\n", srt.text)


@pytest.mark.parametrize("kind", ["image", "gif"])
def test_thumbnails(caller: ApiCaller, kind: str) -> None:
    (dub,) = caller.complete_dubs("fr-FR")
    answer = caller.plain_client.get(dub["thumbnail"][kind])
    with av.open(io.BytesIO(answer.content)) as container:
        (frame,) = container.decode(video=0)
    assert (frame.width, frame.height) == (320, 176)


def test_padding(make_caller: MakeCaller) -> None:
    caller = make_caller(output_padding=3_000_000)
    (dub,) = caller.complete_dubs("fr-FR")
    whole = caller.plain_client.get(dub["download"])
    assert len(whole.content) > 3_000_000
    with av.open(io.BytesIO(whole.content)) as container:
        assert len(list(container.decode(video=0))) == 40
    part = caller.plain_client.get(dub["download"], headers={"Range": "bytes=1500000-2500000"})
    assert part.content == whole.content[1_500_000:2_500_001]


def test_bandwidth(make_caller: MakeCaller) -> None:
    caller = make_caller(output_padding=200_000, bandwidth_down=1_000_000, bandwidth_up=1_000_000)
    (dub,) = caller.complete_dubs("fr-FR")
    start = time.monotonic()
    caller.plain_client.get(dub["download"])
    assert time.monotonic() - start >= 0.2
    asset = caller.create_asset()
    start = time.monotonic()
    caller.upload(asset, bytes(200_000))
    assert time.monotonic() - start >= 0.15


def test_the_journal_lists_downloads(caller: ApiCaller, video_url: str) -> None:
    caller.plain_client.get(video_url, headers={"Range": "bytes=0-99"})
    record = caller.sandbox.journal[-1]
    assert (record.endpoint, record.status, record.bytes_out) == ("download", 206, 100)
    assert record.languages == ("fr-FR",)
