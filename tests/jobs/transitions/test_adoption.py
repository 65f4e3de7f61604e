"""A dub is followed in a project that the user names: which he means, whether it has the dub, and what becomes of that."""

from __future__ import annotations

import pytest

from synthdub_tui.jobs.adoption import obstacle, project_ids
from synthdub_tui.jobs.model import DubState, Hold, Job, ProjectSeen, Seen, SeenState, WaitsFor
from synthdub_tui.jobs.reconcile import Submit, Watch, activities
from synthdub_tui.jobs.transitions import adoption, dub_states, holds, observation
from tests.jobs.factories import (
    DE,
    ES,
    FR,
    NOW,
    asked,
    cancelled,
    complete,
    erred,
    in_every_state,
    listing,
    queued,
    running,
    unknown,
)

ONE, TWO = "0f5b2c1e-7d0a-4c3b-9a58-2f1d6e7b8c90", "11111111-2222-4333-8444-555555555555"
ADOPTABLE = {DubState.WAITING, DubState.FAILED, DubState.CANCELLED, DubState.UNKNOWN}


@pytest.mark.parametrize(
    "text",
    [
        ONE,
        ONE.upper(),
        f" {ONE}\n",
        f"https://app.synthesia.io/#/dubbing/{ONE}",
        f"https://app.synthesia.io/dub/{ONE}?from={ONE}#top",
    ],
)
def test_an_id_is_taken_alone_and_out_of_an_address(text: str) -> None:
    assert project_ids(text) == [ONE]


@pytest.mark.parametrize("text", ["", "intro", ONE[:-1], ONE + "0", "0" + ONE, "https://app.synthesia.io/"])
def test_what_is_no_id_is_none(text: str) -> None:
    assert project_ids(text) == []


def test_an_address_with_two_ids_leaves_the_choice_to_the_user() -> None:
    assert project_ids(f"https://app.synthesia.io/{TWO}/{ONE}") == [TWO, ONE]


@pytest.mark.parametrize("state", list(DubState))
def test_only_what_is_neither_under_way_nor_done_is_adopted(state: DubState) -> None:
    job = in_every_state()[state]
    assert adoption.adoptable(job, FR) == (state in ADOPTABLE)
    if state not in ADOPTABLE:
        with pytest.raises(dub_states.IllegalMove):
            adoption.adopted(job, FR, ONE, NOW, NOW)
        return
    adopted = adoption.adopted(job, FR, ONE, NOW - 1, NOW)
    dub = adopted.dubs[FR]
    assert (dub.state, dub.project, dub.submitted, dub.failure) == (DubState.DUBBING, ONE, NOW - 1, None)
    assert Watch(ONE) in activities(adopted)
    assert not any(isinstance(activity, Submit) and FR in activity.languages for activity in activities(adopted))


@pytest.mark.parametrize("job", [asked(FR), cancelled(asked(FR), FR)])
def test_a_dub_whose_request_waits_for_its_answer_is_not_adopted(job: Job) -> None:
    assert not adoption.adoptable(job, FR)


def test_what_holds_a_dub_is_over_once_it_is_adopted() -> None:
    held = holds.held(queued(FR), FR, Hold(WaitsFor.ALREADY_PAID, NOW))
    adopted = adoption.adopted(held, FR, ONE, NOW, NOW)
    assert (adopted.held, adopted.dubs[FR].hold) == ((), None)


def test_an_adopted_dub_is_ready_when_its_project_says_so() -> None:
    adopted = adoption.adopted(unknown(FR), FR, ONE, NOW, NOW)
    assert observation.observed(adopted, ONE, listing(complete(FR)), NOW).dubs[FR].state is DubState.READY


def test_the_other_languages_stay_as_they_are() -> None:
    before = queued(FR, ES)
    assert adoption.adopted(before, FR, ONE, NOW, NOW).dubs[ES] == before.dubs[ES]


def failed(*languages: Seen) -> ProjectSeen:
    return ProjectSeen(SeenState.ERROR, "processing_error", languages)


@pytest.mark.parametrize(
    "seen",
    [
        listing(running(FR)),
        listing(complete(FR), complete=True),
        listing(complete("FR_fr")),
        listing(complete("fr")),
        listing(erred(FR), running(FR, "v2")),
        failed(complete(FR)),
    ],
)
def test_what_goes_on_or_is_complete_can_be_followed(seen: ProjectSeen) -> None:
    assert obstacle(queued(FR, ES), FR, seen) is None


@pytest.mark.parametrize(
    ("seen", "code", "words"),
    [
        (listing(complete(ES), running(DE)), "adopt_not_listed", "es-ES complete, de-DE going on"),
        (listing(), "adopt_not_listed", "nothing yet"),
        (failed(complete(ES)), "adopt_not_listed", "es-ES complete"),
        (listing(erred(FR, "moderation")), "adopt_failed", "moderation"),
        (failed(running(FR)), "adopt_failed", "processing_error"),
        (failed(), "adopt_failed", "processing_error"),
    ],
)
def test_where_a_dub_cannot_be_followed_the_reason_is_told(seen: ProjectSeen, code: str, words: str) -> None:
    found = obstacle(queued(FR, ES), FR, seen)
    assert found is not None
    assert found.code == code
    assert words in found.detail


def test_a_language_without_its_region_is_not_guessed_where_two_were_asked_for() -> None:
    found = obstacle(queued(FR, "fr-CA"), FR, listing(complete("fr")))
    assert found is not None
    assert found.code == "adopt_not_listed"
