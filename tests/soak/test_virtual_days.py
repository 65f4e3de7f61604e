"""Days of a batch in virtual time: the limits of the tier Creator as the service counts them."""

from __future__ import annotations

from pathlib import Path

from tests.soak.virtual_days import ROUGH, fullest, live, machine, states


def test_a_batch_that_the_day_holds_back(tmp_path: Path) -> None:
    """Through restarts, a kill, suspension, an outage and clocks that jump, until the calls of the day before count no more."""
    with machine(tmp_path, seed=1, files=400, before=600, least=300.0, dubbing=(10.0, 250.0)) as found:
        assert live(found, 3, ROUGH) == []
        assert states(found.runner)["done"] <= 350
        assert live(found, 8, tuple(event for event in ROUGH if event[0] > 3)) == []
        account, ends = found.account, states(found.runner)
        use = {(use.endpoint, use.window): use.most / use.limit for use in fullest(account.arrivals())}
        assert max(use.values()) <= 1
        assert use["POST /v2/dubbing", "hour"] > 0.9
        assert use["POST /v2/dubbing", "day"] > 0.9
        assert account.refused() == []
        assert max(account.begun().values()) == 1
        assert ends["done"] + ends["unknown"] == 400
        assert ends["unknown"] <= 2  # of the kill


def test_the_fullest_window_is_found() -> None:
    calls = {"POST /v2/dubbing": [0.0, 59.0, 60.0, 61.0, 4000.0]}
    most = {use.window: use.most for use in fullest(calls) if use.endpoint == "POST /v2/dubbing"}
    assert most == {"minute": 3, "hour": 4, "day": 5}
