"""Killed at every step around the paid calls and at some of the others; `python -m tests.soak.kill_points` does all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.soak.kill_points import SCENARIOS, KillHarness, Scenario, points_around_payment, thin_out

POST_SCENARIO, PUT_SCENARIO, MULTIPART_SCENARIO, NO_LINKS_SCENARIO = SCENARIOS


@pytest.fixture(scope="module")
def kill_harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KillHarness]:
    torture = KillHarness(tmp_path_factory.mktemp("torture"))
    yield torture
    torture.close()


@pytest.mark.parametrize("scenario", [POST_SCENARIO, PUT_SCENARIO], ids=["POST", "PUT"])
def test_killed_around_a_paid_call(kill_harness: KillHarness, scenario: Scenario) -> None:
    points = kill_harness.find_points(scenario)
    window = points_around_payment(points)
    outcomes = kill_harness.kill_at_points(scenario, thin_out(points, others=5))
    assert [(outcome.point, outcome.violations) for outcome in outcomes if outcome.violations] == []
    assert [outcome.point for outcome in outcomes[: len(window)] if not outcome.reached and "dubbing" in outcome.point] == []
    assert sum(outcome.reached for outcome in outcomes) > 0.8 * len(outcomes)
    assert any(outcome.intent and outcome.billed for outcome in outcomes)  # the window was hit: taken, and not noted
    assert any(outcome.unknown and not outcome.billed for outcome in outcomes)  # noted as intended, and never sent


def test_killed_during_a_multipart_upload(kill_harness: KillHarness) -> None:
    points = kill_harness.find_points(MULTIPART_SCENARIO)
    assert len(points) >= 6  # creation, part and completion, before and after
    outcomes = kill_harness.kill_at_points(MULTIPART_SCENARIO, points)
    assert [(outcome.point, outcome.violations) for outcome in outcomes if outcome.violations] == []
    assert all(outcome.reached for outcome in outcomes)


def test_killed_while_outputs_get_their_names_without_hard_links(kill_harness: KillHarness) -> None:
    """The name is taken by an empty file first; one that was left behind does not stand in the way."""
    points = [
        point for point in kill_harness.find_points(NO_LINKS_SCENARIO) if point.startswith(("open video", "replace video"))
    ]
    taken = [point for point in points if ".part" not in point and "after" in point]
    assert len(taken) == 6
    outcomes = kill_harness.kill_at_points(NO_LINKS_SCENARIO, taken)
    assert [(outcome.point, outcome.violations) for outcome in outcomes if outcome.violations] == []
    assert all(outcome.reached for outcome in outcomes)


REQUIRED_ORDERS = {
    "the intent, before the paid request": (
        ("fsync job[intent] temporary", "replace job[intent] temporary", "fsync folder jobs[intent]"),
        "POST dubbing",
    ),
    "the project, before a download is noted": (
        ("POST dubbing", "fsync job[accepted] temporary", "replace job[accepted] temporary", "fsync folder jobs[accepted]"),
        "write video.dubbed-fr-FR.mp4.part",
    ),
    "the output, before its job says that it is done": (
        ("fsync video.dubbed-fr-FR.mp4.part", "link video.dubbed-fr-FR.mp4.part", "fsync folder videos"),
        "write job[1 done]",
    ),
    "the captions, before the job says that it is done": (
        ("fsync video.dubbed-fr-FR.vtt.part", "link video.dubbed-fr-FR.vtt.part", "fsync folder videos"),
        "write job[1 done]",
    ),
}


ONE_LANGUAGE_SCENARIO = Scenario("one language", 2000, (), ("fr-FR",), lambda point: True)


@pytest.fixture(scope="module")
def passed_points(kill_harness: KillHarness) -> list[str]:
    """What a whole run of one language passes, in order."""
    return kill_harness.find_points(ONE_LANGUAGE_SCENARIO)


@pytest.mark.parametrize("what", REQUIRED_ORDERS)
def test_is_on_disk(passed_points: list[str], what: str) -> None:
    """A kill loses nothing that was written, but power loss takes what was not synced: so the order is looked at."""
    steps, last = REQUIRED_ORDERS[what]
    at = -1
    for step in steps:
        at = next(n for n, point in enumerate(passed_points) if n > at and point.startswith(step) and point.endswith("after"))
    assert at < next(n for n, point in enumerate(passed_points) if point.startswith(last) and point.endswith("before"))


@pytest.mark.parametrize("ending", ["mp4", "srt", "vtt"])
def test_a_landing_that_was_interrupted_is_synced_by_the_next_run(kill_harness: KillHarness, ending: str) -> None:
    """The kill came after the link and before the sync of the folder: the next run finds the file, but the disk may not."""
    part = f"video.dubbed-fr-FR.{ending}.part"
    passed = kill_harness.find_points_after_kill(ONE_LANGUAGE_SCENARIO, f"link {part} #1 after")
    removed = next(n for n, point in enumerate(passed) if point.startswith(f"unlink {part}") and point.endswith("after"))
    synced = next(n for n, point in enumerate(passed) if n > removed and point.startswith("fsync folder videos"))
    landed = [n for n, point in enumerate(passed) if point.startswith(("link", "replace video"))]
    assert synced < next(n for n in (*landed, len(passed)) if n > removed)  # its own, not that of the next file
    assert synced < next(n for n, point in enumerate(passed) if point.startswith("write job[1 done]"))
