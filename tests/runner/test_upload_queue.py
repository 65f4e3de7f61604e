"""Slots for uploads: the smallest and the largest in turn, and none is lost."""

from __future__ import annotations

import asyncio

from synthdub_tui.runner.upload_queue import UploadQueue, UploadSlots
from tests.waiting import scale_timeout


def make_queue(*sizes: int) -> UploadQueue[str]:
    line: UploadQueue[str] = UploadQueue()
    for number, size in enumerate(sizes):
        line.add(f"{number}", size)
    return line


def jobs_left(line: UploadQueue[str]) -> list[str]:
    return [who for _ in range(len(line)) if (who := line.pop()) is not None]


def test_equal_sizes_go_in_the_order_of_their_coming() -> None:
    assert jobs_left(make_queue(7, 7, 7)) == ["0", "1", "2"]


def test_who_left_the_line_gets_no_turn() -> None:
    line = make_queue(1, 2, 3)
    line.discard("0")
    line.discard("2")
    assert (jobs_left(line), len(line), line.pop()) == (["1"], 0, None)


def test_who_comes_twice_has_one_place_by_the_last_size() -> None:
    line = make_queue(5, 6, 7)
    line.add("0", 5)
    line.add("1", 9)
    assert jobs_left(line) == ["0", "1", "2"]


def test_who_left_may_come_again() -> None:
    line = make_queue(5, 6)
    line.discard("0")
    line.discard("1")
    line.add("1", 6)
    assert jobs_left(line) == ["1"]


async def upload_order(sizes: list[int], slots: int = 1) -> list[int]:
    turns, order = UploadSlots(slots), []

    async def work(size: int) -> None:
        async with turns.hold_slot(size):
            order.append(size)
            await asyncio.sleep(0)

    await asyncio.gather(*(work(size) for size in sizes))
    return order


async def test_the_smallest_and_the_largest_in_turn() -> None:
    assert await upload_order([3, 1, 5, 2, 4]) == [1, 5, 2, 4, 3]


async def test_never_more_than_the_slots() -> None:
    turns, held, most = UploadSlots(3), 0, 0

    async def work(size: int) -> None:
        nonlocal held, most
        async with turns.hold_slot(size):
            held += 1
            most = max(most, held)
            await asyncio.sleep(0.001)
            held -= 1

    await asyncio.gather(*(work(size % 7) for size in range(30)))
    assert (held, most) == (0, 3)


async def test_who_gives_up_takes_no_slot() -> None:
    turns = UploadSlots(1)

    async def hold() -> None:
        async with turns.hold_slot(1):
            await asyncio.sleep(3600)

    tasks = [asyncio.create_task(hold()) for _ in range(4)]
    await asyncio.sleep(0.01)
    for task in tasks:  # the holder hands over to one that is cancelled in the same moment
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    async with asyncio.timeout(scale_timeout()), turns.hold_slot(1):
        pass
