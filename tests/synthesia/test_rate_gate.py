"""The budget's promise in any sliding window, and the gate's order, fairness and tidiness. Time is made up."""

from __future__ import annotations

import asyncio
import random
import tomllib

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from synthdub_tui.synthesia.rate_arithmetic import TRANSIT
from synthdub_tui.synthesia.rate_gate import BURST, TIERS, Budget, Endpoint, Limit, Priority, Quota, Tier

START = 1_800_000_000.0
LIMITS = (Limit(20, 60), Limit(60, 3600), Limit(100, 86_400))

waits = st.one_of(st.floats(0, 5), st.floats(0, 120), st.floats(0, 8000), st.floats(0, 200_000))
steps = st.one_of(
    st.tuples(st.just("wait"), waits),
    st.tuples(st.just("flood"), st.integers(1, 40)),  # as many as are allowed now
    st.tuples(st.just("queue"), st.integers(1, 40)),  # each as soon as it is allowed
    st.tuples(st.just("restart"), st.just(0)),
    st.tuples(st.just("pause"), st.floats(0, 1000)),
)


def assert_within(calls: list[float], limits: tuple[Limit, ...]) -> None:
    """No window of any limit holds more calls than are usable."""
    for limit in limits:
        for first, after in zip(calls, calls[limit.usable :], strict=False):
            assert after - first >= limit.seconds - 1e-6, limit


def through_toml(value: dict[str, object]) -> dict[str, object]:
    return tomllib.loads(tomli_w.dumps(value))


@given(st.lists(steps, max_size=40))
@settings(max_examples=150, deadline=None)
def test_no_window_ever_holds_too_many(script: list[tuple[str, float]]) -> None:
    budget, now, calls = Budget(LIMITS), START, []
    for what, amount in script:
        if what == "wait":
            now += amount
        elif what == "pause":
            budget.pause(now + amount)
        elif what == "restart":
            saved, budget = through_toml(budget.dump()), Budget(LIMITS)
            budget.load(saved, now)
        for _ in range(int(amount) if what in {"flood", "queue"} else 0):
            at = budget.allows(now)
            assert now <= at <= now + 86_400 * (1 + 1 / 96) + 1000
            if at > now and what == "flood":
                break
            now = at
            budget.spend(now)
            calls.append(now)
    assert_within(calls, LIMITS)


@pytest.mark.parametrize("tier", [tier for tier in TIERS.values() if tier.writes])
def test_a_tier_gives_what_it_promises(tier: Tier) -> None:
    """All day long as fast as allowed: never too much, and not much less than 95 %."""
    for limits in (tier.writes, tier.reads[:1]):
        budget, now, calls = Budget(limits), START, []
        while now < START + limits[-1].seconds * 2:
            now = budget.allows(now)
            budget.spend(now)
            calls.append(now)
        assert_within(calls, limits)
        assert sum(call < START + limits[-1].seconds for call in calls) >= limits[-1].usable


def test_a_burst_then_an_even_pace() -> None:
    budget, now, calls = Budget(TIERS["creator"].writes), START, []
    for _ in range(50):
        now = budget.allows(now)
        budget.spend(now)
        calls.append(now)
    assert calls[BURST - 1] == START < calls[BURST]
    assert calls[BURST] == pytest.approx(START + 60 / 57, abs=0.01)
    gaps = [after - before for before, after in zip(calls[BURST:], calls[BURST + 1 :], strict=False)]
    assert all(gap == pytest.approx(60 / 57, abs=1e-5) for gap in gaps)


def test_the_first_minute_holds_no_double_burst() -> None:
    """aiolimiter's AsyncLimiter(60, 60) lets 120 through here."""
    budget, now, calls = Budget((Limit(60, 60),)), START, []
    while now < START + 60:
        now = budget.allows(now)
        budget.spend(now)
        calls.append(now)
    assert sum(call < START + 60 for call in calls) == 57


@pytest.mark.parametrize("tier", [tier for tier in TIERS.values() if tier.writes])
def test_what_the_line_does_to_calls_keeps_the_limit(tier: Tier) -> None:
    """The service counts when they arrive: those at the begin of a minute may be late, and those after it early."""
    chance = random.Random(1)
    for limits in (tier.writes, tier.reads):
        budget, now, arrivals = Budget(limits), START, []
        for _ in range(1000):
            now = budget.allows(now)
            budget.spend(now)
            arrivals.append(now + chance.uniform(0, TRANSIT))
        arrivals.sort()
        for limit in limits:
            spans = [after - first for first, after in zip(arrivals, arrivals[limit.calls :], strict=False)]
            assert min(spans, default=limit.seconds) >= limit.seconds, limit


def test_a_pause_holds_for_its_time_and_ends_without_a_burst() -> None:
    budget = Budget(TIERS["creator"].writes)
    budget.pause(START + 30)
    budget.pause(START + 10)  # a shorter one does not end it
    assert budget.allows(START) == START + 30
    budget.spend(START + 30)
    assert budget.allows(START + 30) == pytest.approx(START + 30 + 60 / 57, abs=0.01)
    assert budget.usage(START + 31).paused == 0


def test_a_pause_survives_a_restart() -> None:
    budget, again = Budget(LIMITS), Budget(LIMITS)
    budget.pause(START + 3000)
    again.load(through_toml(budget.dump()), START + 1)
    assert again.allows(START + 1) == START + 3000


def test_time_that_goes_back_gives_nothing_away() -> None:
    budget = Budget((Limit(1, 60),))
    budget.spend(START)
    assert budget.allows(START - 1000) == START + 60 + TRANSIT


def test_a_call_never_sent_is_given_back() -> None:
    budget = Budget(LIMITS)
    before = budget.usage(START)
    budget.spend(START)
    budget.refund(START)
    assert budget.usage(START) == before
    for _ in range(BURST):
        assert budget.allows(START) == START
        budget.spend(START)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["due", "paused_until", "windows", "60s", "3600s", "saved"]), inner, max_size=3)
        ),
        max_leaves=12,
    )
)
@settings(deadline=None)
def test_a_damaged_file_never_breaks_or_blocks_for_long(part: object) -> None:
    quota = Quota(Tier("test", LIMITS, LIMITS), wall=lambda: START, clock=lambda: 0.0)
    quota.restore({"saved": part, "create_asset": part, "get_asset": {"windows": part, "paused_until": part}})
    for endpoint in Endpoint:
        assert 0 <= quota.next_free(endpoint) <= 90_000
    quota.usage()


def test_limits_that_make_no_sense_are_refused() -> None:
    for calls, seconds in ((0, 60), (1, 0), (1, -5), (1, float("nan")), (1, 1e9)):
        with pytest.raises(ValueError, match="no rate limit"):
            Limit(calls, seconds)
    assert Limit(1, 1).usable == 1


# -- the gate ----------------------------------------------------------------------------------------------------------


class Time:
    """A clock that only sleeping moves, and a wall clock beside it that can be put forward and back."""

    def __init__(self) -> None:
        self.now = 50.0
        self.wall_ahead = START

    def clock(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now + self.wall_ahead

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self.now += seconds
        await asyncio.sleep(0)

    def quota(self, *limits: Limit) -> Quota:
        return Quota(Tier("test", limits, limits), clock=self.clock, wall=self.wall, sleep=self.sleep)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_the_best_waits_least() -> None:
    time = Time()
    quota, order = time.quota(Limit(2, 10)), []
    await quota.acquire(Endpoint.GET_DUBBING, Priority.POLL)

    async def call(name: str, priority: Priority) -> None:
        await quota.acquire(Endpoint.GET_DUBBING, priority)
        order.append(name)

    asked = [("p1", Priority.POLL), ("p2", Priority.POLL), ("s1", Priority.SUBMISSION), ("u1", Priority.USER)]
    async with asyncio.TaskGroup() as group:
        for name, priority in asked:
            group.create_task(call(name, priority))
    assert order == ["u1", "s1", "p1", "p2"]
    assert time.now == pytest.approx(50 + 40, rel=0.02)  # 95 % of two is one: one in ten seconds


async def test_a_newcomer_does_not_overtake_equals() -> None:
    time = Time()
    quota = time.quota(Limit(2, 10))
    await quota.acquire(Endpoint.GET_ASSET, Priority.USER)
    waiting = asyncio.create_task(quota.acquire(Endpoint.GET_ASSET, Priority.USER))
    await asyncio.sleep(0)
    time.now += 60  # the slot is free, but the waiter was not served yet
    assert not quota.try_acquire(Endpoint.GET_ASSET)
    await waiting


async def test_thousands_wait_within_the_limits() -> None:
    time = Time()
    quota, calls = time.quota(Limit(60, 60), Limit(300, 3600)), []

    async def call() -> None:
        await quota.acquire(Endpoint.CREATE_ASSET, Priority.SUBMISSION)
        calls.append(time.now)

    async with asyncio.TaskGroup() as group:
        for _ in range(3000):
            group.create_task(call())
    assert len(calls) == 3000
    assert_within(calls, (Limit(60, 60), Limit(300, 3600)))


async def test_who_gives_up_takes_no_slot() -> None:
    time = Time()
    quota = time.quota(Limit(2, 10))
    await quota.acquire(Endpoint.GET_ASSET, Priority.USER)
    tasks = [asyncio.create_task(quota.acquire(Endpoint.GET_ASSET, Priority.USER)) for _ in range(5)]
    await asyncio.sleep(0)
    assert quota.usage()[Endpoint.GET_ASSET].waiting == 5
    for task in tasks[:4]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert time.now == pytest.approx(60, rel=0.01)
    assert quota.usage()[Endpoint.GET_ASSET].waiting == 0


async def test_cancelled_in_the_moment_of_the_grant() -> None:
    """The slot was given, its owner is gone before it runs: the slot comes back."""
    time = Time()
    woken = asyncio.Event()

    async def sleep(seconds: float) -> None:
        await woken.wait()
        time.now += seconds

    limits = (Limit(2, 10),)
    quota = Quota(Tier("test", limits, limits), clock=time.clock, wall=time.wall, sleep=sleep)
    await quota.acquire(Endpoint.GET_ASSET, Priority.USER)
    task = asyncio.create_task(quota.acquire(Endpoint.GET_ASSET, Priority.USER))
    await settle()
    used = quota.usage()[Endpoint.GET_ASSET].windows[0].used
    woken.set()
    await asyncio.sleep(0)  # the event's waiter is scheduled, the pump not run yet
    for _ in range(3):
        if quota.usage()[Endpoint.GET_ASSET].next_in > 0 and time.now > 50:
            break
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert used == 1
    assert quota.usage()[Endpoint.GET_ASSET].windows[0].used == 0
    assert quota.try_acquire(Endpoint.GET_ASSET)


async def test_a_429_pauses_its_endpoint_for_all_and_no_other() -> None:
    time = Time()
    quota = Quota(TIERS["unlimited"], clock=time.clock, wall=time.wall, sleep=time.sleep)
    quota.pause(Endpoint.GET_DUBBING, 120)
    await quota.acquire(Endpoint.GET_ASSET, Priority.POLL)
    assert time.now == 50
    await quota.acquire(Endpoint.GET_DUBBING, Priority.USER)
    assert time.now == 170
    quota.pause(Endpoint.GET_DUBBING, 1e12)
    assert quota.next_free(Endpoint.GET_DUBBING) == 86_400


async def test_a_pause_that_comes_while_others_wait_holds_them_too() -> None:
    time = Time()
    quota = time.quota(Limit(2, 10))
    await quota.acquire(Endpoint.GET_ASSET, Priority.USER)
    task = asyncio.create_task(quota.acquire(Endpoint.GET_ASSET, Priority.USER))
    await asyncio.sleep(0)
    quota.pause(Endpoint.GET_ASSET, 500)
    await task
    assert time.now == pytest.approx(550)


async def test_dismissed_waiters_fail_and_take_no_slot() -> None:
    time = Time()
    quota = time.quota(Limit(2, 10))
    await quota.acquire(Endpoint.GET_ASSET, Priority.USER)
    tasks = [asyncio.create_task(quota.acquire(Endpoint.GET_ASSET, Priority.USER)) for _ in range(3)]
    await asyncio.sleep(0)
    quota.dismiss(lambda: LookupError("gone"))
    assert all(isinstance(result, LookupError) for result in await asyncio.gather(*tasks, return_exceptions=True))
    await settle()
    assert time.now < 65
    assert quota.next_free(Endpoint.GET_ASSET) <= 10.4


async def test_closing_ends_waiters_and_tasks() -> None:
    time = Time()
    quota = time.quota(Limit(2, 10))
    await quota.acquire(Endpoint.GET_ASSET, Priority.USER)
    task = asyncio.create_task(quota.acquire(Endpoint.GET_ASSET, Priority.USER))
    await asyncio.sleep(0)
    quota.close()
    with pytest.raises(asyncio.CancelledError):
        await task
    await settle()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_snapshot_and_restore() -> None:
    time, told = Time(), []
    limits = (Limit(20, 60), Limit(60, 3600))
    tier = Tier("test", limits, limits)
    quota = Quota(tier, on_change=lambda: told.append(1), clock=time.clock, wall=time.wall, sleep=time.sleep)
    assert not quota.changed
    for _ in range(10):
        await quota.acquire(Endpoint.ADD_LOCALES, Priority.USER)
    quota.pause(Endpoint.GET_ASSET, 100)
    assert quota.changed and len(told) == 11
    saved = through_toml(quota.snapshot())
    assert not quota.changed

    time.now += 20
    again = time.quota(*limits)
    again.restore(saved)
    assert [window.used for window in again.usage()[Endpoint.ADD_LOCALES].windows] == [10, 10]
    assert again.next_free(Endpoint.GET_ASSET) == pytest.approx(80)
    assert again.usage()[Endpoint.CREATE_ASSET].windows[0].used == 0


async def test_calls_that_never_arrived_use_up_no_day() -> None:
    """A night without a network would. But who cannot be reached is not asked more often for that."""
    time = Time()
    quota = Quota(TIERS["creator"], clock=time.clock, wall=time.wall, sleep=time.sleep)
    begin = time.now
    for _ in range(1001):
        quota.never_arrived(Endpoint.CREATE_DUBBING, await quota.acquire(Endpoint.CREATE_DUBBING, Priority.SUBMISSION))
    assert quota.changed
    assert [window.used for window in quota.usage()[Endpoint.CREATE_DUBBING].windows] == [0, 0, 0]
    assert time.now - begin == pytest.approx(1001 * 60 / 57, rel=0.02)


@pytest.mark.parametrize(("jump", "used"), [(-1e6, 10), (-3600 * 24 * 365, 10), (30.0, 10), (63.0, 0)])
async def test_the_wall_clock_between_two_runs(jump: float, used: int) -> None:
    """Put back: counts as no time passed. Put forward: as time passed."""
    time = Time()
    quota = time.quota(Limit(20, 60))
    for _ in range(10):
        await quota.acquire(Endpoint.GET_ASSET, Priority.USER)
    quota.pause(Endpoint.GET_DUBBING, 100)
    saved = through_toml(quota.snapshot())
    time.wall_ahead += jump
    again = time.quota(Limit(20, 60))
    again.restore(saved)
    use = again.usage()[Endpoint.GET_ASSET]
    assert use.windows[0].used == used
    assert use.next_in <= 60
    assert again.next_free(Endpoint.GET_DUBBING) == pytest.approx(100 - max(0.0, jump))


async def test_the_wall_clock_during_a_run_does_not_matter() -> None:
    time = Time()
    quota = time.quota(Limit(2, 10))
    await quota.acquire(Endpoint.GET_ASSET, Priority.USER)
    wait = quota.next_free(Endpoint.GET_ASSET)
    assert wait >= 10
    for jump in (1e6, -5e6):
        time.wall_ahead += jump
        assert quota.next_free(Endpoint.GET_ASSET) == pytest.approx(wait)


async def test_another_tier_keeps_the_counters() -> None:
    time = Time()
    quota = Quota(TIERS["creator"], clock=time.clock, wall=time.wall, sleep=time.sleep)
    for _ in range(30):
        await quota.acquire(Endpoint.CREATE_DUBBING, Priority.USER)
    bigger = Quota(TIERS["enterprise-1"], clock=time.clock, wall=time.wall, sleep=time.sleep)
    bigger.restore(through_toml(quota.snapshot()))
    windows = bigger.usage()[Endpoint.CREATE_DUBBING].windows
    assert [(window.used, window.limit) for window in windows] == [(30, 120), (30, 600), (30, 3000)]


def test_the_pace_that_lasts() -> None:
    quota = Quota(TIERS["creator"])
    assert quota.pace(Endpoint.GET_DUBBING) == pytest.approx(86_400 / 19_000)
    assert quota.pace(Endpoint.CREATE_DUBBING) == pytest.approx(86_400 / 950)
    assert Quota(TIERS["unlimited"]).pace(Endpoint.GET_DUBBING) == 0


def test_a_day_on_creator_stays_small_on_disk() -> None:
    budget, now = Budget(TIERS["creator"].reads), START
    for _ in range(19_000):
        now = budget.allows(now)
        budget.spend(now)
    assert len(tomli_w.dumps(budget.dump())) < 6_000
