"""A dub is followed in a project that the user names: which he means, whether it has the dub, and what becomes of that."""

from __future__ import annotations

import pytest

from synthdub_tui.jobs.adoption import find_obstacle, find_project_ids
from synthdub_tui.jobs.model import DubState, Hold, Job, ObservedLanguage, ObservedProject, ObservedStatus, WaitReason
from synthdub_tui.jobs.reconcile import PollProject, Submit, needed_activities
from synthdub_tui.jobs.transitions import adoption, dub_states, holds, observation
from tests.jobs.factories import (
    DE,
    ES,
    FR,
    NOW,
    cancel_dub,
    complete_language,
    error_language,
    jobs_in_every_state,
    observed_project,
    queued_job,
    running_language,
    submitting_job,
    unknown_job,
)

FIRST_PROJECT, SECOND_PROJECT = "0f5b2c1e-7d0a-4c3b-9a58-2f1d6e7b8c90", "11111111-2222-4333-8444-555555555555"
ADOPTABLE_STATES = {DubState.WAITING, DubState.FAILED, DubState.CANCELLED, DubState.UNKNOWN}


@pytest.mark.parametrize(
    "text",
    [
        FIRST_PROJECT,
        FIRST_PROJECT.upper(),
        f" {FIRST_PROJECT}\n",
        f"https://app.synthesia.io/#/dubbing/{FIRST_PROJECT}",
        f"https://app.synthesia.io/dub/{FIRST_PROJECT}?from={FIRST_PROJECT}#top",
    ],
)
def test_an_id_is_taken_alone_and_out_of_an_address(text: str) -> None:
    assert find_project_ids(text) == [FIRST_PROJECT]


@pytest.mark.parametrize(
    "text", ["", "intro", FIRST_PROJECT[:-1], FIRST_PROJECT + "0", "0" + FIRST_PROJECT, "https://app.synthesia.io/"]
)
def test_text_without_an_id_gives_none(text: str) -> None:
    assert find_project_ids(text) == []


def test_an_address_with_two_ids_leaves_the_choice_to_the_user() -> None:
    assert find_project_ids(f"https://app.synthesia.io/{SECOND_PROJECT}/{FIRST_PROJECT}") == [SECOND_PROJECT, FIRST_PROJECT]


@pytest.mark.parametrize("state", list(DubState))
def test_only_what_is_neither_under_way_nor_done_is_adopted(state: DubState) -> None:
    job = jobs_in_every_state()[state]
    assert adoption.can_adopt(job, FR) == (state in ADOPTABLE_STATES)
    if state not in ADOPTABLE_STATES:
        with pytest.raises(dub_states.IllegalTransitionError):
            adoption.adopt(job, FR, FIRST_PROJECT, NOW, NOW)
        return
    adopted = adoption.adopt(job, FR, FIRST_PROJECT, NOW - 1, NOW)
    dub = adopted.dubs[FR]
    assert (dub.state, dub.project, dub.submitted, dub.failure) == (DubState.DUBBING, FIRST_PROJECT, NOW - 1, None)
    assert PollProject(FIRST_PROJECT) in needed_activities(adopted)
    assert not any(isinstance(activity, Submit) and FR in activity.languages for activity in needed_activities(adopted))


@pytest.mark.parametrize("job", [submitting_job(FR), cancel_dub(submitting_job(FR), FR)])
def test_a_dub_whose_request_waits_for_its_answer_is_not_adopted(job: Job) -> None:
    assert not adoption.can_adopt(job, FR)


def test_what_holds_a_dub_is_over_once_it_is_adopted() -> None:
    held = holds.hold_dub(queued_job(FR), FR, Hold(WaitReason.ALREADY_PAID, NOW))
    adopted = adoption.adopt(held, FR, FIRST_PROJECT, NOW, NOW)
    assert (adopted.held_languages, adopted.dubs[FR].hold) == ((), None)


def test_an_adopted_dub_is_ready_when_its_project_says_so() -> None:
    adopted = adoption.adopt(unknown_job(FR), FR, FIRST_PROJECT, NOW, NOW)
    assert (
        observation.apply_project(adopted, FIRST_PROJECT, observed_project(complete_language(FR)), NOW).dubs[FR].state
        is DubState.READY
    )


def test_the_other_languages_stay_as_they_are() -> None:
    before = queued_job(FR, ES)
    assert adoption.adopt(before, FR, FIRST_PROJECT, NOW, NOW).dubs[ES] == before.dubs[ES]


def failed_project(*languages: ObservedLanguage) -> ObservedProject:
    return ObservedProject(ObservedStatus.ERROR, "processing_error", languages)


@pytest.mark.parametrize(
    "seen",
    [
        observed_project(running_language(FR)),
        observed_project(complete_language(FR), complete=True),
        observed_project(complete_language("FR_fr")),
        observed_project(complete_language("fr")),
        observed_project(error_language(FR), running_language(FR, "v2")),
        failed_project(complete_language(FR)),
    ],
)
def test_what_goes_on_or_is_complete_can_be_followed(seen: ObservedProject) -> None:
    assert find_obstacle(queued_job(FR, ES), FR, seen) is None


@pytest.mark.parametrize(
    ("seen", "code", "words"),
    [
        (observed_project(complete_language(ES), running_language(DE)), "adopt_not_listed", "es-ES complete, de-DE going on"),
        (observed_project(), "adopt_not_listed", "nothing yet"),
        (failed_project(complete_language(ES)), "adopt_not_listed", "es-ES complete"),
        (observed_project(error_language(FR, "moderation")), "adopt_failed", "moderation"),
        (failed_project(running_language(FR)), "adopt_failed", "processing_error"),
        (failed_project(), "adopt_failed", "processing_error"),
    ],
)
def test_a_dub_that_cannot_be_followed_reports_the_reason(seen: ObservedProject, code: str, words: str) -> None:
    found = find_obstacle(queued_job(FR, ES), FR, seen)
    assert found is not None
    assert found.code == code
    assert words in found.detail


def test_a_language_without_its_region_is_not_guessed_where_two_were_asked_for() -> None:
    found = find_obstacle(queued_job(FR, "fr-CA"), FR, observed_project(complete_language("fr")))
    assert found is not None
    assert found.code == "adopt_not_listed"
