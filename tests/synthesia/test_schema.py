"""Tolerant reading: what is understood, what is refused, and that nothing else can happen."""

from __future__ import annotations

import contextlib
import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthdub_tui.synthesia import schema
from synthdub_tui.synthesia.errors import BadAnswer, Refused
from synthdub_tui.synthesia.schema import (
    AssetStatus,
    LanguageState,
    LocalesAdded,
    ProjectStatus,
    read_asset,
    read_asset_created,
    read_error,
    read_locales_added,
    read_project,
    read_project_id,
)

URL = "https://bucket.example/video.mp4?X-Amz-Signature=hidden"
ENTRY = {
    "id": "8b7e0d7e-7a2c-4a62-9f0b-000000000001",
    "title": "T",
    "description": "",
    "language": "fr-FR",
    "status": "complete",
    "createdAt": 1,
    "visibility": "private",
    "download": URL,
    "thumbnail": {"image": URL, "gif": None},
    "captions": {"srt": URL, "vtt": URL},
}
CREDENTIALS = {
    "accessKeyId": "AKIA",
    "secretAccessKey": "s3cr3t/+=",
    "sessionToken": "t0k3n==",
    "bucket": "b",
    "key": "a/k é.mp4",
}
CREATED = {"id": "a-1", "uploadUrl": None, "uploadCredentials": CREDENTIALS}
ASSET = {"id": "a-1", "title": "T", "status": "ready", "metadata": {"detectedLanguage": "en"}, "errorCode": None}
PROJECT = {"id": "p-1", "status": "complete", "dubbedAssets": [ENTRY]}
PROJECT_ID = {"createdImportedAsset": {"id": "p-1"}}
ADDED = {"createdDubbedAssets": [ENTRY], "dubbedErrors": [{"language": "xx", "error": "no"}]}


def one(**changes: object) -> dict[str, object]:
    """The valid entry with changes; None leaves the field out."""
    entry = ENTRY | changes
    return {name: value for name, value in entry.items() if value is not None}


# -- projects ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("uploading", ProjectStatus.RUNNING),
        ("in_progress", ProjectStatus.RUNNING),
        ("IN-PROGRESS", ProjectStatus.RUNNING),
        ("something new", ProjectStatus.RUNNING),
        ("complete", ProjectStatus.COMPLETE),
        ("COMPLETE", ProjectStatus.COMPLETE),
        (" Completed ", ProjectStatus.COMPLETE),
        ("error", ProjectStatus.ERROR),
        ("failed", ProjectStatus.ERROR),
        ("rejected", ProjectStatus.ERROR),
        ("Cancelled", ProjectStatus.ERROR),
        ("canceled", ProjectStatus.ERROR),
    ],
)
def test_project_status(word: str, status: ProjectStatus) -> None:
    assert read_project({"id": "p-1", "status": word}).status is status


@pytest.mark.parametrize("name", ["dubbedAssets", "dubbedVideos", "dubbed"])
@pytest.mark.parametrize("language", ["language", "locale"])
@pytest.mark.parametrize("url", ["download", "downloadUrl", "url"])
def test_other_names_of_the_guide(name: str, language: str, url: str) -> None:
    info = read_project({"status": "complete", "dubbedAssets": None, name: [{"id": 7, language: "fr-FR", url: URL}]})
    (found,) = info.languages
    assert (found.language, found.video, found.state, found.download) == ("fr-FR", "7", LanguageState.COMPLETE, URL)


@pytest.mark.parametrize(
    ("entry", "project", "state", "code"),
    [
        (one(), "in_progress", "complete", ""),
        (one(status=None), "in_progress", "complete", ""),
        (one(status="COMPLETED"), "in_progress", "complete", ""),
        (one(download=None), "complete", "running", ""),  # complete, but no download URL: keep polling
        (one(download="javascript:alert(1)"), "complete", "running", ""),
        (one(download="https://x/\x1b[2J"), "complete", "running", ""),
        (one(download=["https://x"]), "complete", "running", ""),
        (one(download=None, downloadUrl=URL), "complete", "complete", ""),
        (one(status="in_progress"), "in_progress", "running", ""),
        (one(status="in_progress"), "complete", "running", ""),
        (one(status="finished"), "in_progress", "running", ""),
        (one(status="finished"), "complete", "complete", ""),
        (one(status="error", errorCode="moderation"), "complete", "error", "moderation"),
        (one(status="ERROR"), "complete", "error", "processing_error"),
        (one(status="rejected"), "complete", "error", "moderation"),
        (one(status="Content-Rejected"), "in_progress", "error", "moderation"),
        (one(status="rejected", errorCode="invalid_target_language"), "complete", "error", "invalid_target_language"),
        (one(status="canceled"), "in_progress", "error", "cancelled_by_service"),
        (one(status="Cancelled", errorCode="processing_error"), "in_progress", "error", "processing_error"),
        (one(status=None, download=None, errorCode="moderation"), "in_progress", "error", "moderation"),
        (one(status=["complete"]), "in_progress", "complete", ""),
        (one(captions="none", thumbnail=[1]), "in_progress", "complete", ""),
    ],
)
def test_language_states(entry: dict[str, object], project: str, state: str, code: str) -> None:
    (found,) = read_project({"status": project, "dubbedAssets": [entry]}).languages
    assert (found.state, found.error_code) == (state, code)


def test_captions_and_thumbnail() -> None:
    (found,) = read_project(PROJECT).languages
    assert found.srt == found.vtt == found.image == URL
    (bare,) = read_project({"status": "complete", "dubbedAssets": [one(captions={"srt": None})]}).languages
    assert bare.srt == bare.vtt == ""


def test_entries_that_are_none_are_skipped() -> None:
    entries = [None, 1, "fr-FR", [], {}, {"language": "../../etc"}, {"language": ["fr"]}, {"language": "x" * 999}, ENTRY]
    assert [entry.language for entry in read_project({"status": "complete", "dubbedAssets": entries}).languages] == ["fr-FR"]


def test_a_failed_project_has_a_code() -> None:
    assert read_project({"status": "error", "errorCode": "moderation"}).error_code == "moderation"
    assert read_project({"id": "p", "status": "error"}).error_code == "processing_error"
    assert read_project({"id": "p", "status": "rejected"}).error_code == "moderation"
    assert read_project({"id": "p", "status": "canceled"}).error_code == "cancelled_by_service"
    assert read_project({"status": "complete", "errorCode": "moderation"}).error_code == ""
    long = read_project({"status": "error", "errorCode": "x\x1b[31m" + "y" * 9999}).error_code
    assert len(long) <= 100 and long.isprintable()


@pytest.mark.parametrize(
    "answer",
    [
        {"status": "error", "message": "upstream timeout"},
        {"status": "error", "error": "upstream timeout"},
        {"status": "error"},
        {"status": "fail", "dubbedAssets": []},
        {"status": "ok"},
        {"status": "rejected"},
    ],
)
def test_an_answer_without_anything_of_a_project_is_none(answer: dict[str, object]) -> None:
    with pytest.raises(BadAnswer):
        read_project(answer)


@pytest.mark.parametrize(
    ("said", "quoted"),
    [
        ("https://x.test/a b.mp4", "https://x.test/a%20b.mp4"),
        ("https://x.test/é.mp4?n=é", "https://x.test/%C3%A9.mp4?n=%C3%A9"),
        ('https://x.test/a|b"<c>{d}^`\\.mp4', "https://x.test/a%7Cb%22%3Cc%3E%7Bd%7D%5E%60%5C.mp4"),
        ("https://x.test/100%.mp4", "https://x.test/100%25.mp4"),
        ("https://x.test/a%20b%2f.mp4?X-Sig=a%2Fb+c/d==&t=1~2", "https://x.test/a%20b%2f.mp4?X-Sig=a%2Fb+c/d==&t=1~2"),
        (" https://x.test/a.mp4 ", "https://x.test/a.mp4"),
        ("https://x.test", "https://x.test"),
        ("https://x.test/a\nb", ""),
        ("https://x .test/a", ""),
        ("https://x.test/\ud800", ""),
        ("ftp://x.test/a", ""),
        ("https://x.test/" + "a" * 20_000, ""),
    ],
)
def test_addresses_are_quoted_as_clients_do_and_what_is_quoted_stays(said: str, quoted: str) -> None:
    (found,) = read_project({"status": "complete", "dubbedAssets": [one(download=said)]}).languages
    assert found.download == quoted


@pytest.mark.parametrize(
    ("entry", "oddity"),
    [
        (one(), ""),
        (one(status="in_progress"), ""),
        (one(status="on_hold"), "on_hold"),
        (one(download=None), "complete, without an address to download from"),
    ],
)
def test_what_is_odd_about_a_language_is_told(entry: dict[str, object], oddity: str) -> None:
    (found,) = read_project({"status": "in_progress", "dubbedAssets": [entry]}).languages
    assert found.oddity == oddity
    assert read_project({"id": "p", "status": "on_hold"}).oddity == "on_hold"


def test_a_project_without_a_status() -> None:
    assert read_project({"dubbedAssets": [ENTRY]}).status is ProjectStatus.RUNNING
    for answer in ({}, {"id": "p"}, {"status": None}, {"status": 5, "dubbedAssets": []}, [], None, 3, "complete"):
        with pytest.raises(BadAnswer):
            read_project(answer)


# -- assets and submissions --------------------------------------------------------------------------------------------


def test_asset_created() -> None:
    created = read_asset_created(CREATED)
    assert created.id == "a-1" and created.credentials.key == "a/k é.mp4"
    assert read_asset_created(CREATED | {"id": 42}).id == "42"


@pytest.mark.parametrize(
    "changes",
    [
        {"id": None},
        {"id": "../../admin"},
        {"id": "x" * 129},
        {"id": True},
        {"id": -1},
        {"uploadCredentials": None},
        {"uploadCredentials": []},
        *({"uploadCredentials": CREDENTIALS | {name: wrong}} for name in CREDENTIALS for wrong in (None, "", 5, "a\nb")),
    ],
)
def test_asset_created_without_its_parts(changes: dict[str, object]) -> None:
    with pytest.raises(BadAnswer) as caught:
        read_asset_created(CREATED | changes)
    assert "s3cr3t" not in repr(caught.value) + str(caught.value)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (AssetStatus.READY, "en", "")),
        ({"status": "Awaiting_Upload"}, (AssetStatus.AWAITING_UPLOAD, "en", "")),
        ({"status": "awaiting upload"}, (AssetStatus.AWAITING_UPLOAD, "en", "")),
        ({"status": "PROCESSING", "metadata": None}, (AssetStatus.PROCESSING, "", "")),
        ({"status": "transcoding"}, (AssetStatus.OTHER, "en", "")),
        ({"status": "error", "errorCode": "language_detect"}, (AssetStatus.ERROR, "en", "language_detect")),
        ({"metadata": {"detectedLanguage": None}}, (AssetStatus.READY, "", "")),
        ({"metadata": {"detectedLanguage": {"code": "en"}}}, (AssetStatus.READY, "", "")),
    ],
)
def test_asset(changes: dict[str, object], expected: tuple[AssetStatus, str, str]) -> None:
    info = read_asset(ASSET | changes)
    assert (info.status, info.language, info.error_code) == expected


@pytest.mark.parametrize("status", [None, "", 7, {}])
def test_asset_without_status(status: object) -> None:
    with pytest.raises(BadAnswer):
        read_asset(ASSET | {"status": status})


def test_project_id() -> None:
    assert read_project_id(PROJECT_ID) == "p-1"
    assert read_project_id({"createdImportedAsset": {"id": 5, "more": 1}}) == "5"
    for answer in ({}, {"createdImportedAsset": None}, {"createdImportedAsset": {}}, {"createdImportedAsset": {"id": "a b"}}):
        with pytest.raises(BadAnswer):
            read_project_id(answer)


def test_locales_added() -> None:
    added = read_locales_added(ADDED)
    assert not added.nothing_new and [entry.language for entry in added.created] == ["fr-FR"]
    assert added.refused == (("xx", "no"),)
    errors = [{"locale": "de-DE", "error": None}, {"error": "all of it"}, None]
    assert read_locales_added({"dubbedErrors": errors}) == LocalesAdded(False, (), (("de-DE", ""), ("", "all of it")))
    with pytest.raises(BadAnswer):
        read_locales_added({"id": "p-1"})


# -- errors, words, secrets --------------------------------------------------------------------------------------------


def test_error_bodies() -> None:
    assert read_error(b'{"error": "E", "context": "why"}').words == "E; why"
    assert read_error(b'{"message": "Forbidden"}').words == "Forbidden"
    body = json.dumps({"dubbedErrors": [{"language": "xx-XX", "error": "bad"}]}).encode()
    assert read_error(body).languages == (("xx-XX", "bad"),) and read_error(body).words == "xx-XX: bad"
    for nothing in (b"", b"<html>", b"[]", b'{"error": 5}', b"\xff\xfe", b"[" * 100_000):
        assert read_error(nothing) == schema.ErrorBody()


def test_words_are_short_plain_and_without_signatures() -> None:
    said = schema.words(f"broken \x1b[31m {URL} and\nmore " + "x" * 10_000)
    assert len(said) <= 300 and said.isprintable()
    assert "hidden" not in said and "https://bucket.example/video.mp4" in said
    assert schema.words(None) == schema.words({"a": 1}) == ""


def test_secrets_stay_out_of_reprs() -> None:
    shown = repr(read_asset_created(CREATED)) + repr(read_project(PROJECT)) + repr(read_locales_added(ADDED))
    for secret in ("AKIA", "s3cr3t", "t0k3n", "Signature", "bucket.example"):
        assert secret not in shown


# -- bytes -------------------------------------------------------------------------------------------------------------


def test_decode() -> None:
    assert schema.decode(b'\xef\xbb\xbf {"a": 1}') == {"a": 1}
    for body in (b"", b"{", b"<html>", b'{"a": 1} x', b'"\xff"', b"[" * 1_000_000, b'{"a":' * 200_000, b"1" * 100_000):
        with pytest.raises(BadAnswer):
            schema.decode(body)


def test_odd_values_of_unneeded_fields() -> None:
    odd = b'{"createdImportedAsset": {"id": "p-1"}, "title": "\\ud800", "size": 99999999999999999999999, "x": NaN}'
    assert read_project_id(schema.decode(odd)) == "p-1"
    assert schema.read_error(b'{"error": "\\ud800"}').words.isprintable()


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_any_bytes(body: bytes) -> None:
    read_error(body)
    with contextlib.suppress(BadAnswer):
        schema.decode(body)


scalars = st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20) | st.sampled_from(["error", URL, ""])
names = st.sampled_from([*ENTRY, *CREATED, *CREDENTIALS, *ADDED, "dubbedVideos", "locale", "url", "metadata", "error"])
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=5), max_leaves=20
)
READERS = (read_asset_created, read_asset, read_project_id, read_project, read_locales_added)


def read_all(data: object) -> None:
    for reader in READERS:
        try:
            repr(reader(data))
        except BadAnswer as error:
            assert error.code == "service_answer" and str(error)


@given(anything)
@settings(deadline=None, max_examples=150)
def test_any_json(data: object) -> None:
    read_all(data)


def paths(value: object, here: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here] + [path for key, item in inner for path in paths(item, (*here, key))]


@given(st.sampled_from([CREATED, ASSET, PROJECT, PROJECT_ID, ADDED]), st.data(), anything)
@settings(deadline=None, max_examples=150)
def test_any_part_replaced_by_anything(valid: dict[str, object], data: st.DataObject, strange: object) -> None:
    path = data.draw(st.sampled_from(paths(valid)))
    damaged: object = {"": copy.deepcopy(valid)}
    spot = damaged
    for key in ("", *path)[:-1]:
        spot = spot[key]  # type: ignore[index]
    spot[("", *path)[-1]] = strange  # type: ignore[index]
    read_all(damaged[""])  # type: ignore[index]


# -- building ----------------------------------------------------------------------------------------------------------

OPTIONS: dict[str, object] = {"targets": ["fr-FR"], "lipsync": False, "video_duration": "adaptive", "visibility": "private"}
DUBBING: dict[str, object] = OPTIONS | {"title": "T", "asset": "a-1", "source_language": "en"}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"title": "x" * 257}, "title_too_long"),
        ({"asset": ""}, "request_refused"),
        ({"asset": "../x"}, "request_refused"),
        ({"source_language": "auto!"}, "language_refused"),
        ({"targets": []}, "request_refused"),
        ({"targets": ["fr-FR", "fr-FR"]}, "request_refused"),
        ({"targets": ["fr-FR", "../x"]}, "language_refused"),
        ({"video_duration": "short"}, "request_refused"),
        ({"visibility": "all"}, "request_refused"),
    ],
)
def test_a_wrong_request_is_not_built(changes: dict[str, object], code: str) -> None:
    with pytest.raises(Refused) as caught:
        schema.dubbing_request(**(DUBBING | changes))  # type: ignore[arg-type]
    assert (caught.value.code, caught.value.status) == (code, 0)


def test_a_wrong_asset_request_is_not_built() -> None:
    for changes, code in (({"content_type": "image/png"}, "media_type"), ({"size": 0}, "source_empty")):
        with pytest.raises(Refused) as caught:
            schema.asset_request(**({"title": "T", "content_type": "video/mp4", "size": 1} | changes))  # type: ignore[arg-type]
        assert caught.value.code == code


def test_titles() -> None:
    built = json.loads(schema.dubbing_request(**(DUBBING | {"title": "caf\udce9 ☕"})))  # type: ignore[arg-type]
    assert built["title"] == "caf? ☕"
    built = json.loads(schema.asset_request(title="", content_type="video/mp4", size=1))
    assert built["title"] == "Untitled"


@pytest.mark.parametrize(
    "said",
    [{"errorCode": "content_moderation"}, {"errorCode": "unknown", "error": "The script was flagged"}, {"error": "MODERATION"}],
)
def test_moderation_has_one_code_in_projects_languages_and_assets(said: dict[str, str]) -> None:
    failed = {"id": "p-1", "status": "error", **said}
    assert read_project(failed).error_code == "moderation"
    (entry,) = read_project({"status": "complete", "dubbedAssets": [{"language": "fr-FR", **failed}]}).languages
    assert entry.error_code == "moderation"
    assert read_asset(failed).error_code == "moderation"
