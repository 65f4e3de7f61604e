"""Killed at every step around the paid calls and at some of the others; `python -m tests.soak.torture` does all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.soak.torture import SCENARIOS, Scenario, Torture, around_paid, thinned

POST, PUT, MULTIPART = SCENARIOS

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def torture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Torture]:
    torture = Torture(tmp_path_factory.mktemp("torture"))
    yield torture
    torture.close()


@pytest.mark.parametrize("scenario", [POST, PUT], ids=["POST", "PUT"])
def test_killed_around_a_paid_call(torture: Torture, scenario: Scenario) -> None:
    points = torture.points(scenario)
    window = around_paid(points)
    outcomes = torture.kill_at(scenario, thinned(points, others=5))
    assert [(outcome.point, outcome.wrong) for outcome in outcomes if outcome.wrong] == []
    assert [outcome.point for outcome in outcomes[: len(window)] if not outcome.reached and "dubbing" in outcome.point] == []
    assert sum(outcome.reached for outcome in outcomes) > 0.8 * len(outcomes)
    assert any(outcome.intent and outcome.billed for outcome in outcomes)  # the window was hit: taken, and not noted
    assert any(outcome.unknown and not outcome.billed for outcome in outcomes)  # noted as intended, and never sent


def test_killed_during_a_multipart_upload(torture: Torture) -> None:
    points = torture.points(MULTIPART)
    assert len(points) >= 6  # creation, part and completion, before and after
    outcomes = torture.kill_at(MULTIPART, points)
    assert [(outcome.point, outcome.wrong) for outcome in outcomes if outcome.wrong] == []
    assert all(outcome.reached for outcome in outcomes)
