"""Slots for uploads: the smallest and the largest in turn, and none is lost."""

from __future__ import annotations

import asyncio

from synthdub_tui.runner.upload_queue import Line, Turns
from tests.waiting import patience


def line_of(*sizes: int) -> Line[str]:
    line: Line[str] = Line()
    for number, size in enumerate(sizes):
        line.add(f"{number}", size)
    return line


def left_of(line: Line[str]) -> list[str]:
    return [who for _ in range(len(line)) if (who := line.pop()) is not None]


def test_equal_sizes_go_in_the_order_of_their_coming() -> None:
    assert left_of(line_of(7, 7, 7)) == ["0", "1", "2"]


def test_who_left_the_line_gets_no_turn() -> None:
    line = line_of(1, 2, 3)
    line.discard("0")
    line.discard("2")
    assert (left_of(line), len(line), line.pop()) == (["1"], 0, None)


def test_who_comes_twice_has_one_place_by_the_last_size() -> None:
    line = line_of(5, 6, 7)
    line.add("0", 5)
    line.add("1", 9)
    assert left_of(line) == ["0", "1", "2"]


def test_who_left_may_come_again() -> None:
    line = line_of(5, 6)
    line.discard("0")
    line.discard("1")
    line.add("1", 6)
    assert left_of(line) == ["1"]


async def order_of(sizes: list[int], slots: int = 1) -> list[int]:
    turns, order = Turns(slots), []

    async def work(size: int) -> None:
        async with turns.turn(size):
            order.append(size)
            await asyncio.sleep(0)

    await asyncio.gather(*(work(size) for size in sizes))
    return order


async def test_the_smallest_and_the_largest_in_turn() -> None:
    assert await order_of([3, 1, 5, 2, 4]) == [1, 5, 2, 4, 3]


async def test_never_more_than_the_slots() -> None:
    turns, held, most = Turns(3), 0, 0

    async def work(size: int) -> None:
        nonlocal held, most
        async with turns.turn(size):
            held += 1
            most = max(most, held)
            await asyncio.sleep(0.001)
            held -= 1

    await asyncio.gather(*(work(size % 7) for size in range(30)))
    assert (held, most) == (0, 3)


async def test_who_gives_up_takes_no_slot() -> None:
    turns = Turns(1)

    async def hold() -> None:
        async with turns.turn(1):
            await asyncio.sleep(3600)

    tasks = [asyncio.create_task(hold()) for _ in range(4)]
    await asyncio.sleep(0.01)
    for task in tasks:  # the holder hands over to one that is cancelled in the same moment
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    async with asyncio.timeout(patience()), turns.turn(1):
        pass
