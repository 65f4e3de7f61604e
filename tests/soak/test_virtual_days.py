"""Days of a batch in virtual time: the limits of the tier Creator as the service counts them."""

from __future__ import annotations

from pathlib import Path

from tests.soak.virtual_days import ROUGH_EVENTS, busiest_windows, dub_state_counts, run_hours, simulated_batch


def test_a_batch_keeps_to_the_daily_limits(tmp_path: Path) -> None:
    """Through restarts, a kill, suspension, an outage and clocks that jump, until the calls of the day before count no more."""
    with simulated_batch(tmp_path, seed=1, files=400, before=600, least=300.0, dubbing=(10.0, 250.0)) as found:
        assert run_hours(found, 3, ROUGH_EVENTS) == []
        assert dub_state_counts(found.runner)["done"] <= 350
        assert run_hours(found, 8, tuple(event for event in ROUGH_EVENTS if event[0] > 3)) == []
        account, ends = found.service, dub_state_counts(found.runner)
        use = {(use.endpoint, use.window): use.most_calls / use.limit for use in busiest_windows(account.arrival_times())}
        assert max(use.values()) <= 1
        assert use["POST /v2/dubbing", "hour"] > 0.9
        assert use["POST /v2/dubbing", "day"] > 0.9
        assert account.rate_limited_calls() == []
        assert max(account.projects_per_title().values()) == 1
        assert ends["done"] + ends["unknown"] == 400
        assert ends["unknown"] <= 2  # of the kill


def test_the_busiest_window_is_found() -> None:
    calls = {"POST /v2/dubbing": [0.0, 59.0, 60.0, 61.0, 4000.0]}
    most = {use.window: use.most_calls for use in busiest_windows(calls) if use.endpoint == "POST /v2/dubbing"}
    assert most == {"minute": 3, "hour": 4, "day": 5}
