import hashlib
from base64 import b64encode
from typing import Any
from uuid import uuid4

import pytest

from synthdub_tui.sandbox import SimulatedFailure
from tests.sandbox.conftest import ApiCaller, MakeCaller
from tests.sandbox.openapi_check import check_response

ASSET_PATH = "/v2/assets/{user_media_asset_id}"


def get_asset(caller: ApiCaller, asset: str) -> dict[str, Any]:
    answer = caller.api_client.get(f"/v2/assets/{asset}")
    assert answer.status_code == 200
    check_response(answer, "GET", ASSET_PATH)
    document: dict[str, Any] = answer.json()
    return document


@pytest.mark.parametrize("content_type", ["video/mp4", "video/webm", "video/quicktime"])
def test_an_asset_from_creation_to_ready(caller: ApiCaller, content_type: str) -> None:
    answer = caller.post_asset(contentType=content_type)
    assert answer.status_code == 201
    check_response(answer, "POST", "/v2/assets")
    asset = answer.json()
    assert get_asset(caller, asset["id"])["status"] == "awaiting_upload"
    caller.upload(asset, b"the bytes")
    document = get_asset(caller, asset["id"])
    assert (document["status"], document["metadata"]) == ("processing", {"detectedLanguage": None})
    caller.sandbox.advance(60)
    document = get_asset(caller, asset["id"])
    assert (document["status"], document["metadata"]) == ("ready", {"detectedLanguage": "en"})
    assert (document["title"], document["contentType"]) == ("intro", content_type)
    assert caller.sandbox.source_file(asset["id"]).read_bytes() == b"the bytes"


def test_title_has_a_default(caller: ApiCaller) -> None:
    body = {"contentType": "video/mp4", "configuration": {"name": "dubbing"}}
    asset = caller.api_client.post("/v2/assets", json=body).json()
    assert get_asset(caller, asset["id"])["title"] == "Untitled"


def test_language_is_detected_only_if_asked_for(caller: ApiCaller) -> None:
    asset = caller.upload_new_asset(configuration={"name": "dubbing", "detectLanguage": False})
    assert get_asset(caller, asset)["metadata"] == {"detectedLanguage": None}


def test_an_upload_that_never_finished_stays_awaiting(caller: ApiCaller) -> None:
    asset = caller.create_asset()
    started = caller.send_signed("POST", asset, "?uploads")
    upload = started.text.partition("<UploadId>")[2].partition("<")[0]
    assert caller.send_signed("PUT", asset, f"?partNumber=1&uploadId={upload}", b"half").status_code == 200
    caller.sandbox.advance(7 * 86400)
    assert get_asset(caller, asset["id"])["status"] == "awaiting_upload"


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
def test_wrong_requests(caller: ApiCaller, changes: dict[str, Any]) -> None:
    answer = caller.post_asset(**changes)
    assert answer.status_code == 400
    check_response(answer, "POST", "/v2/assets")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff"])
def test_bodies_that_are_no_request(caller: ApiCaller, body: bytes) -> None:
    answer = caller.api_client.post("/v2/assets", content=body)
    assert answer.status_code == 400
    check_response(answer, "POST", "/v2/assets")


def test_the_longest_title(caller: ApiCaller) -> None:
    assert caller.post_asset(title="x" * 256).status_code == 201


def test_the_guide_says_415(make_caller: MakeCaller) -> None:
    assert make_caller(style="guide").post_asset(contentType="video/x-msvideo").status_code == 415


def test_unknown_asset(caller: ApiCaller) -> None:
    answer = caller.api_client.get(f"/v2/assets/{uuid4()}")
    assert answer.status_code == 404
    check_response(answer, "GET", ASSET_PATH)


@pytest.mark.parametrize("identity", ["not-a-uuid", "123"])
def test_id_that_is_none(caller: ApiCaller, identity: str) -> None:
    answer = caller.api_client.get(f"/v2/assets/{identity}")
    assert answer.status_code == 400
    check_response(answer, "GET", ASSET_PATH)


def test_a_project_is_no_asset(caller: ApiCaller) -> None:
    assert caller.api_client.get(f"/v2/assets/{caller.create_project('fr-FR')}").status_code == 400


UPLOAD_BODY = b"exactly this"


@pytest.mark.parametrize(
    ("promise", "status"),
    [
        ({"contentLength": len(UPLOAD_BODY)}, "ready"),
        ({"contentLength": len(UPLOAD_BODY) + 1}, "error"),
        ({"contentMD5": hashlib.md5(UPLOAD_BODY).hexdigest()}, "ready"),
        ({"contentMD5": b64encode(hashlib.md5(UPLOAD_BODY).digest()).decode()}, "ready"),
        ({"contentMD5": hashlib.md5(b"that").hexdigest()}, "error"),
    ],
)
def test_what_was_promised_is_verified(caller: ApiCaller, promise: dict[str, Any], status: str) -> None:
    asset = caller.create_asset(**promise)
    caller.upload(asset, UPLOAD_BODY)
    caller.sandbox.advance(60)
    document = get_asset(caller, asset["id"])
    assert document["status"] == status
    assert document["errorCode"] == ("asset_upload" if status == "error" else None)


def test_an_asset_that_fails(make_caller: MakeCaller) -> None:
    caller = make_caller(failures=(SimulatedFailure("asset", "language_detect", title="in*"),))
    document = get_asset(caller, caller.upload_new_asset())
    assert (document["status"], document["errorCode"]) == ("error", "language_detect")


@pytest.mark.parametrize("key", ["", "wrong", "Bearer sandbox-key"])
@pytest.mark.parametrize(("style", "status"), [("reference", 403), ("guide", 401)])
def test_wrong_key(make_caller: MakeCaller, key: str, style: str, status: int) -> None:
    caller = make_caller(style=style)
    caller.api_client.headers["Authorization"] = key
    for answer in (
        caller.post_asset(),
        caller.api_client.get(f"/v2/assets/{uuid4()}"),
        caller.post_dubbing(str(uuid4()), "fr-FR"),
        caller.api_client.get(f"/v2/dubbing/{uuid4()}"),
        caller.api_client.put(f"/v2/dubbing/{uuid4()}", json={"targetLanguages": ["fr-FR"]}),
    ):
        assert answer.status_code == status
        assert set(answer.json()) == {"error", "context"}


def test_unknown_paths(caller: ApiCaller) -> None:
    assert caller.api_client.get("/v2/dubbing").status_code == 404
    assert caller.api_client.delete(f"/v2/dubbing/{uuid4()}").status_code == 404
