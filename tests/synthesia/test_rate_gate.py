"""The budget's promise in any sliding window, and the gate's order, fairness and tidiness. Time is made up."""

from __future__ import annotations

import asyncio
import random
import tomllib

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from synthdub_tui.synthesia.rate_arithmetic import MAX_TRANSIT_SECONDS
from synthdub_tui.synthesia.rate_gate import (
    MAX_BURST_CALLS,
    TIERS,
    Endpoint,
    Priority,
    RateBudget,
    RateGate,
    RateLimit,
    RateTier,
)

START_EPOCH_SECONDS = 1_800_000_000.0
LIMITS = (RateLimit(20, 60), RateLimit(60, 3600), RateLimit(100, 86_400))

waits = st.one_of(st.floats(0, 5), st.floats(0, 120), st.floats(0, 8000), st.floats(0, 200_000))
steps = st.one_of(
    st.tuples(st.just("wait"), waits),
    st.tuples(st.just("flood"), st.integers(1, 40)),  # as many as are allowed now
    st.tuples(st.just("queue"), st.integers(1, 40)),  # each as soon as it is allowed
    st.tuples(st.just("restart"), st.just(0)),
    st.tuples(st.just("pause"), st.floats(0, 1000)),
)


def assert_within_limits(calls: list[float], limits: tuple[RateLimit, ...]) -> None:
    """No window of any limit holds more calls than are usable."""
    for limit in limits:
        for first, after in zip(calls, calls[limit.usable_calls :], strict=False):
            assert after - first >= limit.seconds - 1e-6, limit


def encode_and_decode(value: dict[str, object]) -> dict[str, object]:
    return tomllib.loads(tomli_w.dumps(value))


@given(st.lists(steps, max_size=40))
@settings(max_examples=150, deadline=None)
def test_no_window_ever_holds_too_many(script: list[tuple[str, float]]) -> None:
    budget, now, calls = RateBudget(LIMITS), START_EPOCH_SECONDS, []
    for what, amount in script:
        if what == "wait":
            now += amount
        elif what == "pause":
            budget.pause(now + amount)
        elif what == "restart":
            saved, budget = encode_and_decode(budget.dump()), RateBudget(LIMITS)
            budget.load(saved, now)
        for _ in range(int(amount) if what in {"flood", "queue"} else 0):
            at = budget.next_call_at(now)
            assert now <= at <= now + 86_400 * (1 + 1 / 96) + 1000
            if at > now and what == "flood":
                break
            now = at
            budget.count_call(now)
            calls.append(now)
    assert_within_limits(calls, LIMITS)


@pytest.mark.parametrize("tier", [tier for tier in TIERS.values() if tier.writes])
def test_a_tier_gives_what_it_promises(tier: RateTier) -> None:
    """All day long as fast as allowed: never too much, and not much less than 95 %."""
    for limits in (tier.writes, tier.reads[:1]):
        budget, now, calls = RateBudget(limits), START_EPOCH_SECONDS, []
        while now < START_EPOCH_SECONDS + limits[-1].seconds * 2:
            now = budget.next_call_at(now)
            budget.count_call(now)
            calls.append(now)
        assert_within_limits(calls, limits)
        assert sum(call < START_EPOCH_SECONDS + limits[-1].seconds for call in calls) >= limits[-1].usable_calls


def test_a_burst_then_an_even_pace() -> None:
    budget, now, calls = RateBudget(TIERS["creator"].writes), START_EPOCH_SECONDS, []
    for _ in range(50):
        now = budget.next_call_at(now)
        budget.count_call(now)
        calls.append(now)
    assert calls[MAX_BURST_CALLS - 1] == START_EPOCH_SECONDS < calls[MAX_BURST_CALLS]
    assert calls[MAX_BURST_CALLS] == pytest.approx(START_EPOCH_SECONDS + 60 / 57, abs=0.01)
    gaps = [after - before for before, after in zip(calls[MAX_BURST_CALLS:], calls[MAX_BURST_CALLS + 1 :], strict=False)]
    assert all(gap == pytest.approx(60 / 57, abs=1e-5) for gap in gaps)


def test_the_first_minute_holds_no_double_burst() -> None:
    """aiolimiter's AsyncLimiter(60, 60) lets 120 through here."""
    budget, now, calls = RateBudget((RateLimit(60, 60),)), START_EPOCH_SECONDS, []
    while now < START_EPOCH_SECONDS + 60:
        now = budget.next_call_at(now)
        budget.count_call(now)
        calls.append(now)
    assert sum(call < START_EPOCH_SECONDS + 60 for call in calls) == 57


@pytest.mark.parametrize("tier", [tier for tier in TIERS.values() if tier.writes])
def test_what_the_line_does_to_calls_keeps_the_limit(tier: RateTier) -> None:
    """The service counts when they arrive: those at the begin of a minute may be late, and those after it early."""
    chance = random.Random(1)
    for limits in (tier.writes, tier.reads):
        budget, now, arrivals = RateBudget(limits), START_EPOCH_SECONDS, []
        for _ in range(1000):
            now = budget.next_call_at(now)
            budget.count_call(now)
            arrivals.append(now + chance.uniform(0, MAX_TRANSIT_SECONDS))
        arrivals.sort()
        for limit in limits:
            spans = [after - first for first, after in zip(arrivals, arrivals[limit.calls :], strict=False)]
            assert min(spans, default=limit.seconds) >= limit.seconds, limit


def test_a_pause_holds_for_its_time_and_ends_without_a_burst() -> None:
    budget = RateBudget(TIERS["creator"].writes)
    budget.pause(START_EPOCH_SECONDS + 30)
    budget.pause(START_EPOCH_SECONDS + 10)  # a shorter one does not end it
    assert budget.next_call_at(START_EPOCH_SECONDS) == START_EPOCH_SECONDS + 30
    budget.count_call(START_EPOCH_SECONDS + 30)
    assert budget.next_call_at(START_EPOCH_SECONDS + 30) == pytest.approx(START_EPOCH_SECONDS + 30 + 60 / 57, abs=0.01)
    assert budget.usage(START_EPOCH_SECONDS + 31).paused_seconds == 0


def test_a_pause_survives_a_restart() -> None:
    budget, again = RateBudget(LIMITS), RateBudget(LIMITS)
    budget.pause(START_EPOCH_SECONDS + 3000)
    again.load(encode_and_decode(budget.dump()), START_EPOCH_SECONDS + 1)
    assert again.next_call_at(START_EPOCH_SECONDS + 1) == START_EPOCH_SECONDS + 3000


def test_a_clock_that_goes_back_grants_no_extra_calls() -> None:
    budget = RateBudget((RateLimit(1, 60),))
    budget.count_call(START_EPOCH_SECONDS)
    assert budget.next_call_at(START_EPOCH_SECONDS - 1000) == START_EPOCH_SECONDS + 60 + MAX_TRANSIT_SECONDS


def test_a_call_never_sent_is_given_back() -> None:
    budget = RateBudget(LIMITS)
    before = budget.usage(START_EPOCH_SECONDS)
    budget.count_call(START_EPOCH_SECONDS)
    budget.undo_call(START_EPOCH_SECONDS)
    assert budget.usage(START_EPOCH_SECONDS) == before
    for _ in range(MAX_BURST_CALLS):
        assert budget.next_call_at(START_EPOCH_SECONDS) == START_EPOCH_SECONDS
        budget.count_call(START_EPOCH_SECONDS)


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
    quota = RateGate(RateTier("test", LIMITS, LIMITS), wall=lambda: START_EPOCH_SECONDS, clock=lambda: 0.0)
    quota.restore({"saved": part, "create_asset": part, "get_asset": {"windows": part, "paused_until": part}})
    for endpoint in Endpoint:
        assert 0 <= quota.seconds_until_free(endpoint) <= 90_000
    quota.usage()


def test_limits_that_make_no_sense_are_refused() -> None:
    for calls, seconds in ((0, 60), (1, 0), (1, -5), (1, float("nan")), (1, 1e9)):
        with pytest.raises(ValueError, match="no rate limit"):
            RateLimit(calls, seconds)
    assert RateLimit(1, 1).usable_calls == 1


# -- the gate ----------------------------------------------------------------------------------------------------------


class FakeTime:
    """A clock that only sleeping moves, and a wall clock beside it that can be put forward and back."""

    def __init__(self) -> None:
        self.now = 50.0
        self.wall_ahead_seconds = START_EPOCH_SECONDS

    def clock(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now + self.wall_ahead_seconds

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self.now += seconds
        await asyncio.sleep(0)

    def make_rate_gate(self, *limits: RateLimit) -> RateGate:
        return RateGate(RateTier("test", limits, limits), clock=self.clock, wall=self.wall, sleep=self.sleep)


async def run_ready_tasks() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_the_highest_priority_waits_least() -> None:
    time = FakeTime()
    quota, order = time.make_rate_gate(RateLimit(2, 10)), []
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
    time = FakeTime()
    quota = time.make_rate_gate(RateLimit(2, 10))
    await quota.acquire(Endpoint.GET_ASSET, Priority.USER)
    waiting = asyncio.create_task(quota.acquire(Endpoint.GET_ASSET, Priority.USER))
    await asyncio.sleep(0)
    time.now += 60  # the slot is free, but the waiter was not served yet
    assert not quota.try_acquire(Endpoint.GET_ASSET)
    await waiting


async def test_thousands_wait_within_the_limits() -> None:
    time = FakeTime()
    quota, calls = time.make_rate_gate(RateLimit(60, 60), RateLimit(300, 3600)), []

    async def call() -> None:
        await quota.acquire(Endpoint.CREATE_ASSET, Priority.SUBMISSION)
        calls.append(time.now)

    async with asyncio.TaskGroup() as group:
        for _ in range(3000):
            group.create_task(call())
    assert len(calls) == 3000
    assert_within_limits(calls, (RateLimit(60, 60), RateLimit(300, 3600)))


async def test_who_gives_up_takes_no_slot() -> None:
    time = FakeTime()
    quota = time.make_rate_gate(RateLimit(2, 10))
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
    time = FakeTime()
    woken = asyncio.Event()

    async def sleep(seconds: float) -> None:
        await woken.wait()
        time.now += seconds

    limits = (RateLimit(2, 10),)
    quota = RateGate(RateTier("test", limits, limits), clock=time.clock, wall=time.wall, sleep=sleep)
    await quota.acquire(Endpoint.GET_ASSET, Priority.USER)
    task = asyncio.create_task(quota.acquire(Endpoint.GET_ASSET, Priority.USER))
    await run_ready_tasks()
    used = quota.usage()[Endpoint.GET_ASSET].windows[0].used
    woken.set()
    await asyncio.sleep(0)  # the event's waiter is scheduled, the pump not run yet
    for _ in range(3):
        if quota.usage()[Endpoint.GET_ASSET].next_call_in > 0 and time.now > 50:
            break
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert used == 1
    assert quota.usage()[Endpoint.GET_ASSET].windows[0].used == 0
    assert quota.try_acquire(Endpoint.GET_ASSET)


async def test_a_429_pauses_its_endpoint_for_all_and_no_other() -> None:
    time = FakeTime()
    quota = RateGate(TIERS["unlimited"], clock=time.clock, wall=time.wall, sleep=time.sleep)
    quota.pause(Endpoint.GET_DUBBING, 120)
    await quota.acquire(Endpoint.GET_ASSET, Priority.POLL)
    assert time.now == 50
    await quota.acquire(Endpoint.GET_DUBBING, Priority.USER)
    assert time.now == 170
    quota.pause(Endpoint.GET_DUBBING, 1e12)
    assert quota.seconds_until_free(Endpoint.GET_DUBBING) == 86_400


async def test_a_pause_that_comes_while_others_wait_holds_them_too() -> None:
    time = FakeTime()
    quota = time.make_rate_gate(RateLimit(2, 10))
    await quota.acquire(Endpoint.GET_ASSET, Priority.USER)
    task = asyncio.create_task(quota.acquire(Endpoint.GET_ASSET, Priority.USER))
    await asyncio.sleep(0)
    quota.pause(Endpoint.GET_ASSET, 500)
    await task
    assert time.now == pytest.approx(550)


async def test_dismissed_waiters_fail_and_take_no_slot() -> None:
    time = FakeTime()
    quota = time.make_rate_gate(RateLimit(2, 10))
    await quota.acquire(Endpoint.GET_ASSET, Priority.USER)
    tasks = [asyncio.create_task(quota.acquire(Endpoint.GET_ASSET, Priority.USER)) for _ in range(3)]
    await asyncio.sleep(0)
    quota.fail_waiting_calls(lambda: LookupError("gone"))
    assert all(isinstance(result, LookupError) for result in await asyncio.gather(*tasks, return_exceptions=True))
    await run_ready_tasks()
    assert time.now < 65
    assert quota.seconds_until_free(Endpoint.GET_ASSET) <= 10.4


async def test_closing_ends_waiters_and_tasks() -> None:
    time = FakeTime()
    quota = time.make_rate_gate(RateLimit(2, 10))
    await quota.acquire(Endpoint.GET_ASSET, Priority.USER)
    task = asyncio.create_task(quota.acquire(Endpoint.GET_ASSET, Priority.USER))
    await asyncio.sleep(0)
    quota.close()
    with pytest.raises(asyncio.CancelledError):
        await task
    await run_ready_tasks()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_snapshot_and_restore() -> None:
    time, told = FakeTime(), []
    limits = (RateLimit(20, 60), RateLimit(60, 3600))
    tier = RateTier("test", limits, limits)
    quota = RateGate(tier, on_change=lambda: told.append(1), clock=time.clock, wall=time.wall, sleep=time.sleep)
    assert not quota.has_unsaved_changes
    for _ in range(10):
        await quota.acquire(Endpoint.ADD_LOCALES, Priority.USER)
    quota.pause(Endpoint.GET_ASSET, 100)
    assert quota.has_unsaved_changes and len(told) == 11
    saved = encode_and_decode(quota.snapshot())
    assert not quota.has_unsaved_changes

    time.now += 20
    again = time.make_rate_gate(*limits)
    again.restore(saved)
    assert [window.used for window in again.usage()[Endpoint.ADD_LOCALES].windows] == [10, 10]
    assert again.seconds_until_free(Endpoint.GET_ASSET) == pytest.approx(80)
    assert again.usage()[Endpoint.CREATE_ASSET].windows[0].used == 0


async def test_calls_that_never_arrived_use_up_no_day() -> None:
    """A night without a network would. But who cannot be reached is not asked more often for that."""
    time = FakeTime()
    quota = RateGate(TIERS["creator"], clock=time.clock, wall=time.wall, sleep=time.sleep)
    begin = time.now
    for _ in range(1001):
        quota.undo_arrival(Endpoint.CREATE_DUBBING, await quota.acquire(Endpoint.CREATE_DUBBING, Priority.SUBMISSION))
    assert quota.has_unsaved_changes
    assert [window.used for window in quota.usage()[Endpoint.CREATE_DUBBING].windows] == [0, 0, 0]
    assert time.now - begin == pytest.approx(1001 * 60 / 57, rel=0.02)


@pytest.mark.parametrize(("jump", "used"), [(-1e6, 10), (-3600 * 24 * 365, 10), (30.0, 10), (63.0, 0)])
async def test_the_wall_clock_between_two_runs(jump: float, used: int) -> None:
    """Put back: counts as no time passed. Put forward: as time passed."""
    time = FakeTime()
    quota = time.make_rate_gate(RateLimit(20, 60))
    for _ in range(10):
        await quota.acquire(Endpoint.GET_ASSET, Priority.USER)
    quota.pause(Endpoint.GET_DUBBING, 100)
    saved = encode_and_decode(quota.snapshot())
    time.wall_ahead_seconds += jump
    again = time.make_rate_gate(RateLimit(20, 60))
    again.restore(saved)
    use = again.usage()[Endpoint.GET_ASSET]
    assert use.windows[0].used == used
    assert use.next_call_in <= 60
    assert again.seconds_until_free(Endpoint.GET_DUBBING) == pytest.approx(100 - max(0.0, jump))


async def test_the_wall_clock_during_a_run_does_not_matter() -> None:
    time = FakeTime()
    quota = time.make_rate_gate(RateLimit(2, 10))
    await quota.acquire(Endpoint.GET_ASSET, Priority.USER)
    wait = quota.seconds_until_free(Endpoint.GET_ASSET)
    assert wait >= 10
    for jump in (1e6, -5e6):
        time.wall_ahead_seconds += jump
        assert quota.seconds_until_free(Endpoint.GET_ASSET) == pytest.approx(wait)


async def test_another_tier_keeps_the_counters() -> None:
    time = FakeTime()
    quota = RateGate(TIERS["creator"], clock=time.clock, wall=time.wall, sleep=time.sleep)
    for _ in range(30):
        await quota.acquire(Endpoint.CREATE_DUBBING, Priority.USER)
    bigger = RateGate(TIERS["enterprise-1"], clock=time.clock, wall=time.wall, sleep=time.sleep)
    bigger.restore(encode_and_decode(quota.snapshot()))
    windows = bigger.usage()[Endpoint.CREATE_DUBBING].windows
    assert [(window.used, window.limit) for window in windows] == [(30, 120), (30, 600), (30, 3000)]


def test_the_pace_that_lasts() -> None:
    quota = RateGate(TIERS["creator"])
    assert quota.sustainable_interval(Endpoint.GET_DUBBING) == pytest.approx(86_400 / 19_000)
    assert quota.sustainable_interval(Endpoint.CREATE_DUBBING) == pytest.approx(86_400 / 950)
    assert RateGate(TIERS["unlimited"]).sustainable_interval(Endpoint.GET_DUBBING) == 0


def test_a_day_on_creator_stays_small_on_disk() -> None:
    budget, now = RateBudget(TIERS["creator"].reads), START_EPOCH_SECONDS
    for _ in range(19_000):
        now = budget.next_call_at(now)
        budget.count_call(now)
    assert len(tomli_w.dumps(budget.dump())) < 6_000
