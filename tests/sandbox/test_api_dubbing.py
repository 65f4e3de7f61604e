from typing import Any
from uuid import uuid4

import httpx
import pytest

from synthdub_tui.sandbox import Failure
from tests.sandbox.conftest import Caller, Make
from tests.sandbox.openapi_check import check

PROJECT = "/v2/dubbing/{dubbing_project_id}"


def look(caller: Caller, project: str) -> dict[str, Any]:
    answer = caller.http.get(f"/v2/dubbing/{project}")
    assert answer.status_code == 200
    check(answer, "GET", PROJECT)
    document: dict[str, Any] = answer.json()
    return document


def add(caller: Caller, project: str, *languages: str, **changes: Any) -> httpx.Response:
    return caller.http.put(f"/v2/dubbing/{project}", json={"targetLanguages": list(languages), **changes})


def statuses(document: dict[str, Any]) -> dict[str, str]:
    return {dub["language"]: dub["status"] for dub in document["dubbedAssets"]}


def test_a_project_from_creation_to_complete(make: Make) -> None:
    caller = make(dubbing_seconds_by_language={"fr-*": (10, 10), "de": (50, 50)})
    answer = caller.dub(caller.uploaded(), "fr-FR", "de", visibility="public")
    assert answer.status_code == 202
    check(answer, "POST", "/v2/dubbing")
    project = answer.json()["createdImportedAsset"]["id"]
    document = look(caller, project)
    assert (document["status"], statuses(document)) == ("in_progress", {"fr-FR": "in_progress", "de": "in_progress"})
    assert all(set(dub) == {"id", "language", "status"} for dub in document["dubbedAssets"])
    caller.sandbox.advance(10)
    document = look(caller, project)
    assert (document["status"], statuses(document)) == ("in_progress", {"fr-FR": "complete", "de": "in_progress"})
    caller.sandbox.advance(40)
    document = look(caller, project)
    assert (document["status"], statuses(document)) == ("complete", {"fr-FR": "complete", "de": "complete"})
    assert document["dubbedAssets"][0]["visibility"] == "public"


def test_times_are_the_same_for_a_seed(make: Make) -> None:
    def ends(**config: Any) -> list[float]:
        caller = make(**config)
        project = caller.sandbox.state.projects[caller.project("fr-FR", "de", "es-ES")]
        return [round(dub.ends - dub.created, 6) for dub in project.dubs.values()]

    assert ends(seed=3) == ends(seed=3) != ends(seed=4)


def test_times_per_title_win(make: Make) -> None:
    caller = make(dubbing_seconds_by_language={"*": (10, 10)}, dubbing_seconds_by_title={"in*": (20, 20)})
    project = caller.project("fr-FR")
    caller.sandbox.advance(15)
    assert look(caller, project)["status"] == "in_progress"


def test_asset_that_was_not_uploaded(caller: Caller) -> None:
    answer = caller.dub(caller.asset()["id"], "fr-FR")
    assert (answer.status_code, answer.json()["error"]) == (400, "BrokenAssetUrlError")
    check(answer, "POST", "/v2/dubbing")
    assert caller.sandbox.billed() == []


def test_asset_whose_upload_broke(caller: Caller) -> None:
    asset = caller.asset(contentLength=99)
    caller.upload(asset)
    assert caller.dub(asset["id"], "fr-FR").json()["error"] == "BrokenAssetUrlError"


def test_unknown_asset(caller: Caller) -> None:
    answer = caller.dub(str(uuid4()), "fr-FR")
    assert answer.status_code == 404
    check(answer, "POST", "/v2/dubbing")


def test_unknown_languages(caller: Caller) -> None:
    answer = caller.dub(caller.uploaded(), "fr-FR", "xx-XX", "fr_FR")
    assert answer.status_code == 400
    check(answer, "POST", "/v2/dubbing")
    assert [error["language"] for error in answer.json()["dubbedErrors"]] == ["xx-XX", "fr_FR"]
    assert caller.sandbox.billed() == []


@pytest.mark.parametrize(
    "changes",
    [
        {"sourceLanguage": "xx"},
        {"sourceLanguage": None},
        {"title": "x" * 257},
        {"title": None},
        {"targetLanguages": []},
        {"targetLanguages": "fr-FR"},
        {"targetLanguages": [1]},
        {"lipsyncEnabled": "true"},
        {"videoDuration": "short"},
        {"visibility": "secret"},
        {"sourceAssetId": 7},
        {"sourceVideoUrl": "https://bucket.s3.amazonaws.com/x"},
        {"surprise": 1},
    ],
)
def test_wrong_requests(caller: Caller, changes: dict[str, Any]) -> None:
    answer = caller.dub(caller.uploaded(), "fr-FR", **changes)
    assert answer.status_code == 400
    check(answer, "POST", "/v2/dubbing")
    assert caller.sandbox.billed() == []


@pytest.mark.parametrize("missing", ["title", "sourceAssetId", "sourceLanguage", "targetLanguages"])
def test_required_fields(caller: Caller, missing: str) -> None:
    body = {"title": "t", "sourceAssetId": caller.uploaded(), "sourceLanguage": "en", "targetLanguages": ["fr-FR"]}
    del body[missing]
    answer = caller.http.post("/v2/dubbing", json=body)
    assert answer.status_code == 400
    check(answer, "POST", "/v2/dubbing")


def test_video_urls_are_a_closed_beta(caller: Caller) -> None:
    body = {"title": "t", "sourceVideoUrl": "https://bucket.s3.amazonaws.com/x", "targetLanguages": ["fr-FR"]}
    answer = caller.http.post("/v2/dubbing", json=body)
    assert answer.status_code == 403
    check(answer, "POST", "/v2/dubbing")


def test_languages_end_in_error_inside_a_complete_project(make: Make) -> None:
    caller = make(failures=(Failure("language", "moderation", languages=("fr-*",)),))
    project = caller.project("fr-FR", "de")
    caller.sandbox.advance(200)
    document = look(caller, project)
    assert (document["status"], statuses(document)) == ("complete", {"fr-FR": "error", "de": "complete"})
    assert document["dubbedAssets"][0]["errorCode"] == "moderation"


def test_failures_by_title_and_a_number_of_times(make: Make) -> None:
    caller = make(failures=(Failure(title="other*"), Failure(title="in*", times=1, after=5)))
    first, second = caller.project("fr-FR"), caller.project("fr-FR")
    caller.sandbox.advance(5)
    assert statuses(look(caller, first)) == {"fr-FR": "error"}
    caller.sandbox.advance(200)
    assert statuses(look(caller, second)) == {"fr-FR": "complete"}


def test_a_project_that_fails_as_a_whole(make: Make) -> None:
    caller = make(failures=(Failure("project", "video_duration_limit_reached", after=5),))
    project = caller.project("fr-FR", "de")
    assert look(caller, project)["status"] == "in_progress"
    caller.sandbox.advance(5)
    assert look(caller, project) == {"id": project, "status": "error", "errorCode": "video_duration_limit_reached"}
    assert add(caller, project, "es-ES").status_code == 400


def test_a_language_refused_at_creation(make: Make) -> None:
    caller = make(failures=(Failure("refused", "invalid_target_language", languages=("de",)),))
    answer = caller.dub(caller.uploaded(), "fr-FR", "de")
    assert answer.status_code == 400
    check(answer, "POST", "/v2/dubbing")
    assert answer.json() == {"dubbedErrors": [{"error": "invalid_target_language", "language": "de"}]}
    assert caller.sandbox.billed() == []


def test_a_language_that_is_silently_missing(make: Make) -> None:
    caller = make(failures=(Failure("missing", languages=("de",)),))
    project = caller.project("fr-FR", "de")
    assert statuses(look(caller, project)) == {"fr-FR": "in_progress"}
    caller.sandbox.advance(200)
    document = look(caller, project)
    assert (document["status"], statuses(document)) == ("complete", {"fr-FR": "complete"})


@pytest.mark.parametrize("query", ["?targetLanguages=de&targetLanguages=es-ES", "?targetLanguages=de,es-ES"])
def test_filter_by_language(caller: Caller, query: str) -> None:
    project = caller.project("fr-FR", "de", "es-ES")
    answer = caller.http.get(f"/v2/dubbing/{project}{query}")
    check(answer, "GET", PROJECT)
    assert list(statuses(answer.json())) == ["de", "es-ES"]
    assert caller.http.get(f"/v2/dubbing/{project}?targetLanguages=it").status_code == 404


@pytest.mark.parametrize(("identity", "status"), [("nonsense", 400), ("9f6c72b4-f6dd-47c6-9025-af2a2d4cf446", 404)])
def test_unknown_projects(caller: Caller, identity: str, status: int) -> None:
    for answer, method in ((caller.http.get(f"/v2/dubbing/{identity}"), "GET"), (add(caller, identity, "de"), "PUT")):
        assert answer.status_code == status
        check(answer, method, PROJECT)


def test_adding_languages(caller: Caller) -> None:
    project = caller.project("fr-FR")
    answer = add(caller, project, "fr-FR", "de", "es-ES", lipsyncEnabled=True)
    assert answer.status_code == 202
    check(answer, "PUT", PROJECT)
    assert [dub["language"] for dub in answer.json()["createdDubbedAssets"]] == ["de", "es-ES"]
    assert answer.json()["dubbedErrors"] == []
    assert list(statuses(look(caller, project))) == ["fr-FR", "de", "es-ES"]
    answer = add(caller, project, "fr-FR", "de")
    assert (answer.status_code, answer.content) == (204, b"")
    assert caller.sandbox.billed() == [(project, "fr-FR"), (project, "de"), (project, "es-ES")]


def test_a_complete_project_is_in_progress_again_after_adding(caller: Caller) -> None:
    project = caller.project("fr-FR")
    caller.sandbox.advance(200)
    add(caller, project, "de")
    document = look(caller, project)
    assert (document["status"], statuses(document)) == ("in_progress", {"fr-FR": "complete", "de": "in_progress"})


@pytest.mark.parametrize(
    "body", [{}, {"targetLanguages": []}, {"targetLanguages": ["xx"]}, {"targetLanguages": ["de"], "title": "t"}]
)
def test_wrong_additions(caller: Caller, body: dict[str, Any]) -> None:
    answer = caller.http.put(f"/v2/dubbing/{caller.project('fr-FR')}", json=body)
    assert answer.status_code == 400
    check(answer, "PUT", PROJECT)


def test_an_addition_that_is_refused_in_part(make: Make) -> None:
    caller = make(failures=(Failure("refused", "invalid_target_language", languages=("de",)),))
    project = caller.project("fr-FR")
    answer = add(caller, project, "de", "it")
    assert answer.status_code == 202
    check(answer, "PUT", PROJECT)
    assert answer.json()["dubbedErrors"] == [{"error": "invalid_target_language", "language": "de"}]
    assert [dub["language"] for dub in answer.json()["createdDubbedAssets"]] == ["it"]


@pytest.mark.parametrize(("counts", "status"), [(False, 202), (True, 204)])
def test_whether_a_failed_language_counts_as_added(make: Make, counts: bool, status: int) -> None:
    caller = make(failures=(Failure(times=1),), errors_count_as_added=counts)
    project = caller.project("fr-FR")
    caller.sandbox.advance(200)
    before = look(caller, project)["dubbedAssets"][0]
    assert before["status"] == "error"
    assert add(caller, project, "fr-FR").status_code == status
    caller.sandbox.advance(200)
    after = look(caller, project)["dubbedAssets"][0]
    assert (after["status"] == "error") is counts
    assert (after["id"] == before["id"]) is counts


def test_the_guides_style(make: Make) -> None:
    caller = make(style="guide")
    project = caller.project("fr-FR")
    assert caller.look(project)["status"] == "IN_PROGRESS"
    caller.sandbox.advance(200)
    document = caller.look(project)
    assert document["status"] == "COMPLETE"
    (dub,) = document["dubbedVideos"]
    assert (dub["locale"], dub["status"]) == ("fr-FR", "COMPLETE")
    assert caller.plain.get(dub["downloadUrl"]).status_code == 200
    assert "language" not in dub
    assert "download" not in dub
