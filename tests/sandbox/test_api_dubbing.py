from typing import Any
from uuid import uuid4

import httpx
import pytest

from synthdub_tui.sandbox import SimulatedFailure
from tests.sandbox.conftest import ApiCaller, MakeCaller
from tests.sandbox.openapi_check import check_response

PROJECT_PATH = "/v2/dubbing/{dubbing_project_id}"


def get_project(caller: ApiCaller, project: str) -> dict[str, Any]:
    answer = caller.api_client.get(f"/v2/dubbing/{project}")
    assert answer.status_code == 200
    check_response(answer, "GET", PROJECT_PATH)
    document: dict[str, Any] = answer.json()
    return document


def put_languages(caller: ApiCaller, project: str, *languages: str, **changes: Any) -> httpx.Response:
    return caller.api_client.put(f"/v2/dubbing/{project}", json={"targetLanguages": list(languages), **changes})


def language_statuses(document: dict[str, Any]) -> dict[str, str]:
    return {dub["language"]: dub["status"] for dub in document["dubbedAssets"]}


def test_a_project_from_creation_to_complete(make_caller: MakeCaller) -> None:
    caller = make_caller(dubbing_seconds_by_language={"fr-*": (10, 10), "de": (50, 50)})
    answer = caller.post_dubbing(caller.upload_new_asset(), "fr-FR", "de", visibility="public")
    assert answer.status_code == 202
    check_response(answer, "POST", "/v2/dubbing")
    project = answer.json()["createdImportedAsset"]["id"]
    document = get_project(caller, project)
    assert (document["status"], language_statuses(document)) == ("in_progress", {"fr-FR": "in_progress", "de": "in_progress"})
    assert all(set(dub) == {"id", "language", "status"} for dub in document["dubbedAssets"])
    caller.sandbox.advance(10)
    document = get_project(caller, project)
    assert (document["status"], language_statuses(document)) == ("in_progress", {"fr-FR": "complete", "de": "in_progress"})
    caller.sandbox.advance(40)
    document = get_project(caller, project)
    assert (document["status"], language_statuses(document)) == ("complete", {"fr-FR": "complete", "de": "complete"})
    assert document["dubbedAssets"][0]["visibility"] == "public"


def test_times_are_the_same_for_a_seed(make_caller: MakeCaller) -> None:
    def ends(**config: Any) -> list[float]:
        caller = make_caller(**config)
        project = caller.sandbox.state.projects[caller.create_project("fr-FR", "de", "es-ES")]
        return [round(dub.ends_at - dub.created, 6) for dub in project.dubs.values()]

    assert ends(seed=3) == ends(seed=3) != ends(seed=4)


def test_times_per_title_win(make_caller: MakeCaller) -> None:
    caller = make_caller(dubbing_seconds_by_language={"*": (10, 10)}, dubbing_seconds_by_title={"in*": (20, 20)})
    project = caller.create_project("fr-FR")
    caller.sandbox.advance(15)
    assert get_project(caller, project)["status"] == "in_progress"


def test_asset_that_was_not_uploaded(caller: ApiCaller) -> None:
    answer = caller.post_dubbing(caller.create_asset()["id"], "fr-FR")
    assert (answer.status_code, answer.json()["error"]) == (400, "BrokenAssetUrlError")
    check_response(answer, "POST", "/v2/dubbing")
    assert caller.sandbox.billed_dubs() == []


def test_asset_whose_upload_broke(caller: ApiCaller) -> None:
    asset = caller.create_asset(contentLength=99)
    caller.upload(asset)
    assert caller.post_dubbing(asset["id"], "fr-FR").json()["error"] == "BrokenAssetUrlError"


def test_unknown_asset(caller: ApiCaller) -> None:
    answer = caller.post_dubbing(str(uuid4()), "fr-FR")
    assert answer.status_code == 404
    check_response(answer, "POST", "/v2/dubbing")


def test_unknown_languages(caller: ApiCaller) -> None:
    answer = caller.post_dubbing(caller.upload_new_asset(), "fr-FR", "xx-XX", "fr_FR")
    assert answer.status_code == 400
    check_response(answer, "POST", "/v2/dubbing")
    assert [error["language"] for error in answer.json()["dubbedErrors"]] == ["xx-XX", "fr_FR"]
    assert caller.sandbox.billed_dubs() == []


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
def test_wrong_requests(caller: ApiCaller, changes: dict[str, Any]) -> None:
    answer = caller.post_dubbing(caller.upload_new_asset(), "fr-FR", **changes)
    assert answer.status_code == 400
    check_response(answer, "POST", "/v2/dubbing")
    assert caller.sandbox.billed_dubs() == []


@pytest.mark.parametrize("missing", ["title", "sourceAssetId", "sourceLanguage", "targetLanguages"])
def test_required_fields(caller: ApiCaller, missing: str) -> None:
    body = {"title": "t", "sourceAssetId": caller.upload_new_asset(), "sourceLanguage": "en", "targetLanguages": ["fr-FR"]}
    del body[missing]
    answer = caller.api_client.post("/v2/dubbing", json=body)
    assert answer.status_code == 400
    check_response(answer, "POST", "/v2/dubbing")


def test_video_urls_are_a_closed_beta(caller: ApiCaller) -> None:
    body = {"title": "t", "sourceVideoUrl": "https://bucket.s3.amazonaws.com/x", "targetLanguages": ["fr-FR"]}
    answer = caller.api_client.post("/v2/dubbing", json=body)
    assert answer.status_code == 403
    check_response(answer, "POST", "/v2/dubbing")


def test_languages_end_in_error_inside_a_complete_project(make_caller: MakeCaller) -> None:
    caller = make_caller(failures=(SimulatedFailure("language", "moderation", languages=("fr-*",)),))
    project = caller.create_project("fr-FR", "de")
    caller.sandbox.advance(200)
    document = get_project(caller, project)
    assert (document["status"], language_statuses(document)) == ("complete", {"fr-FR": "error", "de": "complete"})
    assert document["dubbedAssets"][0]["errorCode"] == "moderation"


def test_failures_by_title_and_a_number_of_times(make_caller: MakeCaller) -> None:
    caller = make_caller(failures=(SimulatedFailure(title="other*"), SimulatedFailure(title="in*", times=1, after=5)))
    first, second = caller.create_project("fr-FR"), caller.create_project("fr-FR")
    caller.sandbox.advance(5)
    assert language_statuses(get_project(caller, first)) == {"fr-FR": "error"}
    caller.sandbox.advance(200)
    assert language_statuses(get_project(caller, second)) == {"fr-FR": "complete"}


def test_a_project_that_fails_as_a_whole(make_caller: MakeCaller) -> None:
    caller = make_caller(failures=(SimulatedFailure("project", "video_duration_limit_reached", after=5),))
    project = caller.create_project("fr-FR", "de")
    assert get_project(caller, project)["status"] == "in_progress"
    caller.sandbox.advance(5)
    assert get_project(caller, project) == {"id": project, "status": "error", "errorCode": "video_duration_limit_reached"}
    assert put_languages(caller, project, "es-ES").status_code == 400


def test_a_language_refused_at_creation(make_caller: MakeCaller) -> None:
    caller = make_caller(failures=(SimulatedFailure("refused", "invalid_target_language", languages=("de",)),))
    answer = caller.post_dubbing(caller.upload_new_asset(), "fr-FR", "de")
    assert answer.status_code == 400
    check_response(answer, "POST", "/v2/dubbing")
    assert answer.json() == {"dubbedErrors": [{"error": "invalid_target_language", "language": "de"}]}
    assert caller.sandbox.billed_dubs() == []


def test_a_language_that_is_silently_missing(make_caller: MakeCaller) -> None:
    caller = make_caller(failures=(SimulatedFailure("missing", languages=("de",)),))
    project = caller.create_project("fr-FR", "de")
    assert language_statuses(get_project(caller, project)) == {"fr-FR": "in_progress"}
    caller.sandbox.advance(200)
    document = get_project(caller, project)
    assert (document["status"], language_statuses(document)) == ("complete", {"fr-FR": "complete"})


@pytest.mark.parametrize("query", ["?targetLanguages=de&targetLanguages=es-ES", "?targetLanguages=de,es-ES"])
def test_filter_by_language(caller: ApiCaller, query: str) -> None:
    project = caller.create_project("fr-FR", "de", "es-ES")
    answer = caller.api_client.get(f"/v2/dubbing/{project}{query}")
    check_response(answer, "GET", PROJECT_PATH)
    assert list(language_statuses(answer.json())) == ["de", "es-ES"]
    assert caller.api_client.get(f"/v2/dubbing/{project}?targetLanguages=it").status_code == 404


@pytest.mark.parametrize(("identity", "status"), [("nonsense", 400), ("9f6c72b4-f6dd-47c6-9025-af2a2d4cf446", 404)])
def test_unknown_projects(caller: ApiCaller, identity: str, status: int) -> None:
    for answer, method in (
        (caller.api_client.get(f"/v2/dubbing/{identity}"), "GET"),
        (put_languages(caller, identity, "de"), "PUT"),
    ):
        assert answer.status_code == status
        check_response(answer, method, PROJECT_PATH)


def test_adding_languages(caller: ApiCaller) -> None:
    project = caller.create_project("fr-FR")
    answer = put_languages(caller, project, "fr-FR", "de", "es-ES", lipsyncEnabled=True)
    assert answer.status_code == 202
    check_response(answer, "PUT", PROJECT_PATH)
    assert [dub["language"] for dub in answer.json()["createdDubbedAssets"]] == ["de", "es-ES"]
    assert answer.json()["dubbedErrors"] == []
    assert list(language_statuses(get_project(caller, project))) == ["fr-FR", "de", "es-ES"]
    answer = put_languages(caller, project, "fr-FR", "de")
    assert (answer.status_code, answer.content) == (204, b"")
    assert caller.sandbox.billed_dubs() == [(project, "fr-FR"), (project, "de"), (project, "es-ES")]


def test_a_complete_project_is_in_progress_again_after_adding(caller: ApiCaller) -> None:
    project = caller.create_project("fr-FR")
    caller.sandbox.advance(200)
    put_languages(caller, project, "de")
    document = get_project(caller, project)
    assert (document["status"], language_statuses(document)) == ("in_progress", {"fr-FR": "complete", "de": "in_progress"})


@pytest.mark.parametrize(
    "body", [{}, {"targetLanguages": []}, {"targetLanguages": ["xx"]}, {"targetLanguages": ["de"], "title": "t"}]
)
def test_wrong_additions(caller: ApiCaller, body: dict[str, Any]) -> None:
    answer = caller.api_client.put(f"/v2/dubbing/{caller.create_project('fr-FR')}", json=body)
    assert answer.status_code == 400
    check_response(answer, "PUT", PROJECT_PATH)


def test_an_addition_that_is_refused_in_part(make_caller: MakeCaller) -> None:
    caller = make_caller(failures=(SimulatedFailure("refused", "invalid_target_language", languages=("de",)),))
    project = caller.create_project("fr-FR")
    answer = put_languages(caller, project, "de", "it")
    assert answer.status_code == 202
    check_response(answer, "PUT", PROJECT_PATH)
    assert answer.json()["dubbedErrors"] == [{"error": "invalid_target_language", "language": "de"}]
    assert [dub["language"] for dub in answer.json()["createdDubbedAssets"]] == ["it"]


@pytest.mark.parametrize(("counts", "status"), [(False, 202), (True, 204)])
def test_whether_a_failed_language_counts_as_added(make_caller: MakeCaller, counts: bool, status: int) -> None:
    caller = make_caller(failures=(SimulatedFailure(times=1),), errors_count_as_added=counts)
    project = caller.create_project("fr-FR")
    caller.sandbox.advance(200)
    before = get_project(caller, project)["dubbedAssets"][0]
    assert before["status"] == "error"
    assert put_languages(caller, project, "fr-FR").status_code == status
    caller.sandbox.advance(200)
    after = get_project(caller, project)["dubbedAssets"][0]
    assert (after["status"] == "error") is counts
    assert (after["id"] == before["id"]) is counts


def test_the_guides_style(make_caller: MakeCaller) -> None:
    caller = make_caller(style="guide")
    project = caller.create_project("fr-FR")
    assert caller.look(project)["status"] == "IN_PROGRESS"
    caller.sandbox.advance(200)
    document = caller.look(project)
    assert document["status"] == "COMPLETE"
    (dub,) = document["dubbedVideos"]
    assert (dub["locale"], dub["status"]) == ("fr-FR", "COMPLETE")
    assert caller.plain_client.get(dub["downloadUrl"]).status_code == 200
    assert "language" not in dub
    assert "download" not in dub
