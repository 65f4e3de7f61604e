import hashlib
from base64 import b64encode
from typing import Any
from uuid import uuid4

import pytest

from synthdub_tui.sandbox import Failure
from tests.sandbox.conftest import Caller, Make
from tests.sandbox.openapi_check import check

ASSET = "/v2/assets/{user_media_asset_id}"


def get(caller: Caller, asset: str) -> dict[str, Any]:
    answer = caller.http.get(f"/v2/assets/{asset}")
    assert answer.status_code == 200
    check(answer, "GET", ASSET)
    document: dict[str, Any] = answer.json()
    return document


@pytest.mark.parametrize("content_type", ["video/mp4", "video/webm", "video/quicktime"])
def test_an_asset_from_creation_to_ready(caller: Caller, content_type: str) -> None:
    answer = caller.new_asset(contentType=content_type)
    assert answer.status_code == 201
    check(answer, "POST", "/v2/assets")
    asset = answer.json()
    assert get(caller, asset["id"])["status"] == "awaiting_upload"
    caller.upload(asset, b"the bytes")
    document = get(caller, asset["id"])
    assert (document["status"], document["metadata"]) == ("processing", {"detectedLanguage": None})
    caller.sandbox.advance(60)
    document = get(caller, asset["id"])
    assert (document["status"], document["metadata"]) == ("ready", {"detectedLanguage": "en"})
    assert (document["title"], document["contentType"]) == ("intro", content_type)
    assert caller.sandbox.source_file(asset["id"]).read_bytes() == b"the bytes"


def test_title_has_a_default(caller: Caller) -> None:
    body = {"contentType": "video/mp4", "configuration": {"name": "dubbing"}}
    asset = caller.http.post("/v2/assets", json=body).json()
    assert get(caller, asset["id"])["title"] == "Untitled"


def test_language_is_detected_only_if_asked_for(caller: Caller) -> None:
    asset = caller.uploaded(configuration={"name": "dubbing", "detectLanguage": False})
    assert get(caller, asset)["metadata"] == {"detectedLanguage": None}


def test_an_upload_that_never_finished_stays_awaiting(caller: Caller) -> None:
    asset = caller.asset()
    started = caller.signed("POST", asset, "?uploads")
    upload = started.text.partition("<UploadId>")[2].partition("<")[0]
    assert caller.signed("PUT", asset, f"?partNumber=1&uploadId={upload}", b"half").status_code == 200
    caller.sandbox.advance(7 * 86400)
    assert get(caller, asset["id"])["status"] == "awaiting_upload"


@pytest.mark.parametrize(
    "changes",
    [
        {"contentType": "video/x-msvideo"},
        {"contentType": 1},
        {"contentType": None},
        {"configuration": None},
        {"configuration": {"name": "avatar"}},
        {"configuration": {"name": "dubbing", "detectLanguage": "yes"}},
        {"contentLength": "12"},
        {"contentMD5": 12},
        {"title": "x" * 257},
        {"surprise": True},
    ],
)
def test_wrong_requests(caller: Caller, changes: dict[str, Any]) -> None:
    answer = caller.new_asset(**changes)
    assert answer.status_code == 400
    check(answer, "POST", "/v2/assets")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff"])
def test_bodies_that_are_no_request(caller: Caller, body: bytes) -> None:
    answer = caller.http.post("/v2/assets", content=body)
    assert answer.status_code == 400
    check(answer, "POST", "/v2/assets")


def test_the_longest_title(caller: Caller) -> None:
    assert caller.new_asset(title="x" * 256).status_code == 201


def test_the_guide_says_415(make: Make) -> None:
    assert make(style="guide").new_asset(contentType="video/x-msvideo").status_code == 415


def test_unknown_asset(caller: Caller) -> None:
    answer = caller.http.get(f"/v2/assets/{uuid4()}")
    assert answer.status_code == 404
    check(answer, "GET", ASSET)


@pytest.mark.parametrize("identity", ["not-a-uuid", "123"])
def test_id_that_is_none(caller: Caller, identity: str) -> None:
    answer = caller.http.get(f"/v2/assets/{identity}")
    assert answer.status_code == 400
    check(answer, "GET", ASSET)


def test_a_project_is_no_asset(caller: Caller) -> None:
    assert caller.http.get(f"/v2/assets/{caller.project('fr-FR')}").status_code == 400


BODY = b"exactly this"


@pytest.mark.parametrize(
    ("promise", "status"),
    [
        ({"contentLength": len(BODY)}, "ready"),
        ({"contentLength": len(BODY) + 1}, "error"),
        ({"contentMD5": hashlib.md5(BODY).hexdigest()}, "ready"),
        ({"contentMD5": b64encode(hashlib.md5(BODY).digest()).decode()}, "ready"),
        ({"contentMD5": hashlib.md5(b"that").hexdigest()}, "error"),
    ],
)
def test_what_was_promised_is_verified(caller: Caller, promise: dict[str, Any], status: str) -> None:
    asset = caller.asset(**promise)
    caller.upload(asset, BODY)
    caller.sandbox.advance(60)
    document = get(caller, asset["id"])
    assert document["status"] == status
    assert document["errorCode"] == ("asset_upload" if status == "error" else None)


def test_an_asset_that_fails(make: Make) -> None:
    caller = make(failures=(Failure("asset", "language_detect", title="in*"),))
    document = get(caller, caller.uploaded())
    assert (document["status"], document["errorCode"]) == ("error", "language_detect")


@pytest.mark.parametrize("key", ["", "wrong", "Bearer sandbox-key"])
@pytest.mark.parametrize(("style", "status"), [("reference", 403), ("guide", 401)])
def test_wrong_key(make: Make, key: str, style: str, status: int) -> None:
    caller = make(style=style)
    caller.http.headers["Authorization"] = key
    for answer in (
        caller.new_asset(),
        caller.http.get(f"/v2/assets/{uuid4()}"),
        caller.dub(str(uuid4()), "fr-FR"),
        caller.http.get(f"/v2/dubbing/{uuid4()}"),
        caller.http.put(f"/v2/dubbing/{uuid4()}", json={"targetLanguages": ["fr-FR"]}),
    ):
        assert answer.status_code == status
        assert set(answer.json()) == {"error", "context"}


def test_unknown_paths(caller: Caller) -> None:
    assert caller.http.get("/v2/dubbing").status_code == 404
    assert caller.http.delete(f"/v2/dubbing/{uuid4()}").status_code == 404
