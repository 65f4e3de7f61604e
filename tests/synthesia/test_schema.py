"""Tolerant reading: what is understood, what is refused, and that nothing else can happen."""

from __future__ import annotations

import contextlib
import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthdub_tui.synthesia import schema
from synthdub_tui.synthesia.errors import BadResponseError, RequestRejectedError
from synthdub_tui.synthesia.schema import (
    AssetStatus,
    LanguageStatus,
    LocalesAdded,
    ProjectStatus,
    read_asset,
    read_asset_created,
    read_error,
    read_locales_added,
    read_project,
    read_project_id,
)

SIGNED_URL = "https://bucket.example/video.mp4?X-Amz-Signature=hidden"
LANGUAGE_ENTRY = {
    "id": "8b7e0d7e-7a2c-4a62-9f0b-000000000001",
    "title": "T",
    "description": "",
    "language": "fr-FR",
    "status": "complete",
    "createdAt": 1,
    "visibility": "private",
    "download": SIGNED_URL,
    "thumbnail": {"image": SIGNED_URL, "gif": None},
    "captions": {"srt": SIGNED_URL, "vtt": SIGNED_URL},
}
CREDENTIALS = {
    "accessKeyId": "AKIA",
    "secretAccessKey": "s3cr3t/+=",
    "sessionToken": "t0k3n==",
    "bucket": "b",
    "key": "a/k é.mp4",
}
CREATED_ASSET = {"id": "a-1", "uploadUrl": None, "uploadCredentials": CREDENTIALS}
ASSET_BODY = {"id": "a-1", "title": "T", "status": "ready", "metadata": {"detectedLanguage": "en"}, "errorCode": None}
PROJECT_BODY = {"id": "p-1", "status": "complete", "dubbedAssets": [LANGUAGE_ENTRY]}
CREATED_PROJECT = {"createdImportedAsset": {"id": "p-1"}}
ADDED_LANGUAGES = {"createdDubbedAssets": [LANGUAGE_ENTRY], "dubbedErrors": [{"language": "xx", "error": "no"}]}


def entry_with(**changes: object) -> dict[str, object]:
    """The valid entry with changes; None leaves the field out."""
    entry = LANGUAGE_ENTRY | changes
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
def test_field_names_of_the_guide_are_accepted(name: str, language: str, url: str) -> None:
    info = read_project({"status": "complete", "dubbedAssets": None, name: [{"id": 7, language: "fr-FR", url: SIGNED_URL}]})
    (found,) = info.languages
    assert (found.language, found.video, found.state, found.download) == ("fr-FR", "7", LanguageStatus.COMPLETE, SIGNED_URL)


@pytest.mark.parametrize(
    ("entry", "project", "state", "code"),
    [
        (entry_with(), "in_progress", "complete", ""),
        (entry_with(status=None), "in_progress", "complete", ""),
        (entry_with(status="COMPLETED"), "in_progress", "complete", ""),
        (entry_with(download=None), "complete", "running", ""),  # complete, but no download URL: keep polling
        (entry_with(download="javascript:alert(1)"), "complete", "running", ""),
        (entry_with(download="https://x/\x1b[2J"), "complete", "running", ""),
        (entry_with(download=["https://x"]), "complete", "running", ""),
        (entry_with(download=None, downloadUrl=SIGNED_URL), "complete", "complete", ""),
        (entry_with(status="in_progress"), "in_progress", "running", ""),
        (entry_with(status="in_progress"), "complete", "running", ""),
        (entry_with(status="finished"), "in_progress", "running", ""),
        (entry_with(status="finished"), "complete", "complete", ""),
        (entry_with(status="error", errorCode="moderation"), "complete", "error", "moderation"),
        (entry_with(status="ERROR"), "complete", "error", "processing_error"),
        (entry_with(status="rejected"), "complete", "error", "moderation"),
        (entry_with(status="Content-Rejected"), "in_progress", "error", "moderation"),
        (entry_with(status="rejected", errorCode="invalid_target_language"), "complete", "error", "invalid_target_language"),
        (entry_with(status="canceled"), "in_progress", "error", "cancelled_by_service"),
        (entry_with(status="Cancelled", errorCode="processing_error"), "in_progress", "error", "processing_error"),
        (entry_with(status=None, download=None, errorCode="moderation"), "in_progress", "error", "moderation"),
        (entry_with(status=["complete"]), "in_progress", "complete", ""),
        (entry_with(captions="none", thumbnail=[1]), "in_progress", "complete", ""),
    ],
)
def test_language_states(entry: dict[str, object], project: str, state: str, code: str) -> None:
    (found,) = read_project({"status": project, "dubbedAssets": [entry]}).languages
    assert (found.state, found.error_code) == (state, code)


def test_captions_and_thumbnail() -> None:
    (found,) = read_project(PROJECT_BODY).languages
    assert found.srt == found.vtt == found.image == SIGNED_URL
    (bare,) = read_project({"status": "complete", "dubbedAssets": [entry_with(captions={"srt": None})]}).languages
    assert bare.srt == bare.vtt == ""


def test_invalid_entries_are_skipped() -> None:
    entries = [
        None,
        1,
        "fr-FR",
        [],
        {},
        {"language": "../../etc"},
        {"language": ["fr"]},
        {"language": "x" * 999},
        LANGUAGE_ENTRY,
    ]
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
    with pytest.raises(BadResponseError):
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
    (found,) = read_project({"status": "complete", "dubbedAssets": [entry_with(download=said)]}).languages
    assert found.download == quoted


@pytest.mark.parametrize(
    ("entry", "oddity"),
    [
        (entry_with(), ""),
        (entry_with(status="in_progress"), ""),
        (entry_with(status="on_hold"), "on_hold"),
        (entry_with(download=None), "complete, without an address to download from"),
    ],
)
def test_odd_fields_of_a_language_are_reported(entry: dict[str, object], oddity: str) -> None:
    (found,) = read_project({"status": "in_progress", "dubbedAssets": [entry]}).languages
    assert found.unknown_status == oddity
    assert read_project({"id": "p", "status": "on_hold"}).unknown_status == "on_hold"


def test_a_project_without_a_status() -> None:
    assert read_project({"dubbedAssets": [LANGUAGE_ENTRY]}).status is ProjectStatus.RUNNING
    for answer in ({}, {"id": "p"}, {"status": None}, {"status": 5, "dubbedAssets": []}, [], None, 3, "complete"):
        with pytest.raises(BadResponseError):
            read_project(answer)


# -- assets and submissions --------------------------------------------------------------------------------------------


def test_asset_created() -> None:
    created = read_asset_created(CREATED_ASSET)
    assert created.id == "a-1" and created.credentials.key == "a/k é.mp4"
    assert read_asset_created(CREATED_ASSET | {"id": 42}).id == "42"


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
    with pytest.raises(BadResponseError) as caught:
        read_asset_created(CREATED_ASSET | changes)
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
    info = read_asset(ASSET_BODY | changes)
    assert (info.status, info.language, info.error_code) == expected


@pytest.mark.parametrize("status", [None, "", 7, {}])
def test_asset_without_status(status: object) -> None:
    with pytest.raises(BadResponseError):
        read_asset(ASSET_BODY | {"status": status})


def test_project_id() -> None:
    assert read_project_id(CREATED_PROJECT) == "p-1"
    assert read_project_id({"createdImportedAsset": {"id": 5, "more": 1}}) == "5"
    for answer in ({}, {"createdImportedAsset": None}, {"createdImportedAsset": {}}, {"createdImportedAsset": {"id": "a b"}}):
        with pytest.raises(BadResponseError):
            read_project_id(answer)


def test_locales_added() -> None:
    added = read_locales_added(ADDED_LANGUAGES)
    assert not added.nothing_new and [entry.language for entry in added.created] == ["fr-FR"]
    assert added.refused == (("xx", "no"),)
    errors = [{"locale": "de-DE", "error": None}, {"error": "all of it"}, None]
    assert read_locales_added({"dubbedErrors": errors}) == LocalesAdded(False, (), (("de-DE", ""), ("", "all of it")))
    with pytest.raises(BadResponseError):
        read_locales_added({"id": "p-1"})


# -- errors, words, secrets --------------------------------------------------------------------------------------------


def test_error_bodies() -> None:
    assert read_error(b'{"error": "E", "context": "why"}').message == "E; why"
    assert read_error(b'{"message": "Forbidden"}').message == "Forbidden"
    body = json.dumps({"dubbedErrors": [{"language": "xx-XX", "error": "bad"}]}).encode()
    assert read_error(body).languages == (("xx-XX", "bad"),) and read_error(body).message == "xx-XX: bad"
    for nothing in (b"", b"<html>", b"[]", b'{"error": 5}', b"\xff\xfe", b"[" * 100_000):
        assert read_error(nothing) == schema.ErrorBody()


def test_words_are_short_plain_and_without_signatures() -> None:
    said = schema.clean_message(f"broken \x1b[31m {SIGNED_URL} and\nmore " + "x" * 10_000)
    assert len(said) <= 300 and said.isprintable()
    assert "hidden" not in said and "https://bucket.example/video.mp4" in said
    assert schema.clean_message(None) == schema.clean_message({"a": 1}) == ""


def test_secrets_stay_out_of_reprs() -> None:
    shown = (
        repr(read_asset_created(CREATED_ASSET)) + repr(read_project(PROJECT_BODY)) + repr(read_locales_added(ADDED_LANGUAGES))
    )
    for secret in ("AKIA", "s3cr3t", "t0k3n", "Signature", "bucket.example"):
        assert secret not in shown


# -- bytes -------------------------------------------------------------------------------------------------------------


def test_decode() -> None:
    assert schema.decode(b'\xef\xbb\xbf {"a": 1}') == {"a": 1}
    for body in (b"", b"{", b"<html>", b'{"a": 1} x', b'"\xff"', b"[" * 1_000_000, b'{"a":' * 200_000, b"1" * 100_000):
        with pytest.raises(BadResponseError):
            schema.decode(body)


def test_odd_values_of_unneeded_fields() -> None:
    odd = b'{"createdImportedAsset": {"id": "p-1"}, "title": "\\ud800", "size": 99999999999999999999999, "x": NaN}'
    assert read_project_id(schema.decode(odd)) == "p-1"
    assert schema.read_error(b'{"error": "\\ud800"}').message.isprintable()


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_any_bytes(body: bytes) -> None:
    read_error(body)
    with contextlib.suppress(BadResponseError):
        schema.decode(body)


scalars = (
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20) | st.sampled_from(["error", SIGNED_URL, ""])
)
names = st.sampled_from(
    [*LANGUAGE_ENTRY, *CREATED_ASSET, *CREDENTIALS, *ADDED_LANGUAGES, "dubbedVideos", "locale", "url", "metadata", "error"]
)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=5), max_leaves=20
)
READERS = (read_asset_created, read_asset, read_project_id, read_project, read_locales_added)


def read_all(data: object) -> None:
    for reader in READERS:
        try:
            repr(reader(data))
        except BadResponseError as error:
            assert error.code == "service_answer" and str(error)


@given(anything)
@settings(deadline=None, max_examples=150)
def test_any_json(data: object) -> None:
    read_all(data)


def paths_of(value: object, here: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here] + [path for key, item in inner for path in paths_of(item, (*here, key))]


@given(st.sampled_from([CREATED_ASSET, ASSET_BODY, PROJECT_BODY, CREATED_PROJECT, ADDED_LANGUAGES]), st.data(), anything)
@settings(deadline=None, max_examples=150)
def test_any_part_replaced_by_anything(valid: dict[str, object], data: st.DataObject, strange: object) -> None:
    path = data.draw(st.sampled_from(paths_of(valid)))
    damaged: object = {"": copy.deepcopy(valid)}
    spot = damaged
    for key in ("", *path)[:-1]:
        spot = spot[key]  # type: ignore[index]
    spot[("", *path)[-1]] = strange  # type: ignore[index]
    read_all(damaged[""])  # type: ignore[index]


# -- building ----------------------------------------------------------------------------------------------------------

DUBBING_OPTIONS: dict[str, object] = {
    "targets": ["fr-FR"],
    "lipsync": False,
    "video_duration": "adaptive",
    "visibility": "private",
}
DUBBING_BODY: dict[str, object] = DUBBING_OPTIONS | {"title": "T", "asset": "a-1", "source_language": "en"}


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
    with pytest.raises(RequestRejectedError) as caught:
        schema.encode_dubbing_request(**(DUBBING_BODY | changes))  # type: ignore[arg-type]
    assert (caught.value.code, caught.value.status) == (code, 0)


def test_a_wrong_asset_request_is_not_built() -> None:
    for changes, code in (({"content_type": "image/png"}, "media_type"), ({"size": 0}, "source_empty")):
        with pytest.raises(RequestRejectedError) as caught:
            schema.encode_asset_request(**({"title": "T", "content_type": "video/mp4", "size": 1} | changes))  # type: ignore[arg-type]
        assert caught.value.code == code


def test_titles() -> None:
    built = json.loads(schema.encode_dubbing_request(**(DUBBING_BODY | {"title": "caf\udce9 ☕"})))  # type: ignore[arg-type]
    assert built["title"] == "caf? ☕"
    built = json.loads(schema.encode_asset_request(title="", content_type="video/mp4", size=1))
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
