from typing import Any

import pytest

from synthdub_tui.sandbox import Rate
from tests.sandbox.conftest import Caller, Make


def burst(caller: Caller, count: int) -> list[int]:
    return [caller.new_asset().status_code for _ in range(count)]


def test_a_minute_slides(make: Make) -> None:
    caller = make(limits={"POST /v2/assets": Rate(minute=3)})
    assert burst(caller, 2) == [201, 201]
    caller.sandbox.advance(40)
    assert burst(caller, 2) == [201, 429]
    answer = caller.new_asset()
    assert answer.headers["RateLimit-Limit"] == "3"
    assert 15 <= int(answer.headers["RateLimit-Reset"]) <= 20
    assert set(answer.json()) == {"error", "context"}
    caller.sandbox.advance(20)
    assert burst(caller, 3) == [201, 201, 429]


def test_each_endpoint_has_its_own(make: Make) -> None:
    caller = make(limits={"POST /v2/assets": Rate(minute=1)})
    asset = caller.uploaded()
    assert burst(caller, 1) == [201]  # the upload moved the clock by a minute
    assert caller.dub(asset, "fr-FR").status_code == 202


@pytest.mark.parametrize(("window", "seconds"), [("hour", 3600), ("day", 86400)])
def test_longer_windows(make: Make, window: str, seconds: int) -> None:
    rate: dict[str, Any] = {window: 2}
    caller = make(limits={"POST *": Rate(**rate)})
    assert burst(caller, 3) == [201, 201, 429]
    assert seconds - 10 <= int(caller.new_asset().headers["RateLimit-Reset"]) <= seconds
    caller.sandbox.advance(seconds)
    assert burst(caller, 1) == [201]


def test_a_tier_of_the_vendors_table(make: Make) -> None:
    caller = make(tier="creator")
    assert burst(caller, 61) == [201] * 60 + [429]
    # reads have their own count
    assert caller.http.get("/v2/assets/00000000-0000-0000-0000-000000000000").status_code == 404


def test_storage_is_not_limited_by_a_tier(make: Make) -> None:
    caller = make(tier="creator")
    asset = caller.asset()
    assert {caller.signed("HEAD", asset).status_code for _ in range(70)} == {404}
