from typing import Any

import pytest

from synthdub_tui.sandbox import EndpointRate
from tests.sandbox.conftest import ApiCaller, MakeCaller


def post_assets(caller: ApiCaller, count: int) -> list[int]:
    return [caller.post_asset().status_code for _ in range(count)]


def test_a_minute_slides(make_caller: MakeCaller) -> None:
    caller = make_caller(limits={"POST /v2/assets": EndpointRate(minute=3)})
    assert post_assets(caller, 2) == [201, 201]
    caller.sandbox.advance(40)
    assert post_assets(caller, 2) == [201, 429]
    answer = caller.post_asset()
    assert answer.headers["RateLimit-Limit"] == "3"
    assert 15 <= int(answer.headers["RateLimit-Reset"]) <= 20
    assert set(answer.json()) == {"error", "context"}
    caller.sandbox.advance(20)
    assert post_assets(caller, 3) == [201, 201, 429]


def test_each_endpoint_has_its_own(make_caller: MakeCaller) -> None:
    caller = make_caller(limits={"POST /v2/assets": EndpointRate(minute=1)})
    asset = caller.upload_new_asset()
    assert post_assets(caller, 1) == [201]  # the upload moved the clock by a minute
    assert caller.post_dubbing(asset, "fr-FR").status_code == 202


@pytest.mark.parametrize(("window", "seconds"), [("hour", 3600), ("day", 86400)])
def test_longer_windows(make_caller: MakeCaller, window: str, seconds: int) -> None:
    rate: dict[str, Any] = {window: 2}
    caller = make_caller(limits={"POST *": EndpointRate(**rate)})
    assert post_assets(caller, 3) == [201, 201, 429]
    assert seconds - 10 <= int(caller.post_asset().headers["RateLimit-Reset"]) <= seconds
    caller.sandbox.advance(seconds)
    assert post_assets(caller, 1) == [201]


def test_a_tier_of_the_vendors_table(make_caller: MakeCaller) -> None:
    caller = make_caller(tier="creator")
    assert post_assets(caller, 61) == [201] * 60 + [429]
    # reads have their own count
    assert caller.api_client.get("/v2/assets/00000000-0000-0000-0000-000000000000").status_code == 404


def test_storage_is_not_limited_by_a_tier(make_caller: MakeCaller) -> None:
    caller = make_caller(tier="creator")
    asset = caller.create_asset()
    assert {caller.send_signed("HEAD", asset).status_code for _ in range(70)} == {404}
