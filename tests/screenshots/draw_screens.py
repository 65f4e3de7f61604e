"""Draws every picture into a folder. Run by `tests.screenshots` in a process of its own, under a clock that stands still."""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from tests.screenshots.fake_disk import Disk
from tests.screenshots.scripted_batch import BEGIN, FOLDER, Story


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now = BEGIN

    def __call__(self) -> float:
        return self.now


clock: Final = Clock()
disk: Final = Disk(FOLDER)

if __name__ == "__main__":  # for good, before the dashboard is imported: it takes the clock and the disk as they are then
    patch("time.time", clock).start()
    disk.mount()

from textual.widgets import Input  # noqa: E402

from synthdub_tui.dashboard.screens.main import MainScreen  # noqa: E402
from synthdub_tui.jobs.model import DubState, Job  # noqa: E402
from synthdub_tui.jobs.transitions import download  # noqa: E402
from tests.dashboard.fake_runner import FakeRunner  # noqa: E402
from tests.dashboard.opened_dashboard import Desk, desk, until  # noqa: E402

MINUTE: Final = 60.0
AT_WORK, LATER, NEARLY_DONE = BEGIN + 9.66 * MINUTE, BEGIN + 42 * MINUTE, BEGIN + 18.7 * MINUTE
SIZE: Final = (110, 30)
LARGE: Final = tuple("fr-FR es-ES de-DE it pt-BR ja ko pl nl-NL sv tr zh-CN".split())
CELL: Final = 12.2
"""Width of a character in Rich's pictures."""
FAMILY: Final = '"Fira Code", "DejaVu Sans Mono", Menlo, Consolas, monospace'

_TERMINAL: Final = re.compile(r"terminal-\d+")
_FONT_FACE: Final = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)
_LAST_LINE: Final = re.compile(r'(-clip-terminal">\s*<rect [^>]*height=")([\d.]+)')
_SPACED: Final = re.compile(r'x="([\d.]+)" (y="[\d.]+") textLength="([\d.]+)"([^>]*)>((?:&#160;)*)([^<]*?)((?:&#160;)*)</text>')
_FAMILY: Final = re.compile(r"font-family: Fira Code, monospace;")
_CREDIT: Final = re.compile(r"<!-- Generated with .*? -->")

second = MainScreen._second


# -- the pictures ----------------------------------------------------------------------------------------------------


async def grid(place: Path) -> str:
    async with opened(place, Story(), AT_WORK, SIZE) as at:
        return await picture(at, "grid")


async def narrow(place: Path) -> str:
    async with opened(place, Story(), AT_WORK, (60, 20)) as at:
        return await picture(at, "narrow")


async def wide(place: Path) -> str:
    """What `synthdub demo --files 42` with more targets shows: a batch that does not fit on the screen."""
    async with opened(place, Story(42, LARGE, down=9e6), LATER, (200, 50)) as at:
        await to(at, "product-tour-01.webm", "es-ES")
        return await picture(at, "wide")


async def problem(place: Path) -> str:
    async with opened(place, Story(), NEARLY_DONE, (110, 38)) as at:
        await to(at, "product-tour-01.webm", "es-ES")
        await at.press("enter")
        await until(lambda: at.main.has_class("-detail"))
        return await picture(at, "problem")


async def confirm_retry(place: Path) -> str:
    async with opened(place, Story(), NEARLY_DONE, SIZE) as at:
        await at.press("R")
        await at.screen("ConfirmScreen")
        return await picture(at, "confirm-retry")


async def outputs(place: Path) -> str:
    async with opened(place, Story(), NEARLY_DONE, SIZE) as at:
        done = [dub.output for job in at.runner.jobs.values() for dub in job.dubs.values() if dub.output is not None]
        for output in done:
            disk.add(output.path.removeprefix(f"{FOLDER}/"), output.size, output.mtime_ns)
        disk.files.pop(done[2].path)
        for number in (0, 3, 4):
            mark_reviewed(at, done[number].path)
        await at.press("o")
        await at.screen("OutputsScreen")
        screen: Any = at.app.screen
        await until(lambda: "moved" in screen._states.values() and sum(row.reviewed for row in screen._rows) == 3)
        return await picture(at, "outputs")


async def add_files(place: Path) -> str:
    fill()
    async with opened(place, Story(), AT_WORK, SIZE) as at:
        await at.press("a")
        await at.screen("AddFilesScreen")
        screen: Any = at.app.screen
        await until(lambda: screen._listing.done and all(entry.folder or entry.size for entry in screen._shown))
        await at.press("space", "j", "j", "space", "space")
        await until(lambda: len(screen._marks) == 3 and "counting" not in screen._marks.sum())
        return await picture(at, "add-files")


async def add_languages(place: Path) -> str:
    async with opened(place, Story(), AT_WORK, SIZE) as at:
        at.app.memory.now.languages = ["it", "ja"]
        await to(at, "onboarding-01.mp4", "fr-FR")
        await at.press("L")
        await at.screen("AddLanguagesScreen")
        await at.press("space", "space")
        screen: Any = at.app.screen
        await until(lambda: len(screen._marked) == 2)
        return await picture(at, "add-languages")


async def help_(place: Path) -> str:
    async with opened(place, Story(), AT_WORK, (100, 44)) as at:
        await at.press("?")
        await at.screen("HelpScreen")
        return await picture(at, "help")


PICTURES: Final[dict[str, Callable[[Path], Awaitable[str]]]] = {
    "grid": grid,
    "narrow": narrow,
    "wide": wide,
    "problem": problem,
    "confirm-retry": confirm_retry,
    "outputs": outputs,
    "add-files": add_files,
    "add-languages": add_languages,
    "help": help_,
}


# -- getting there ---------------------------------------------------------------------------------------------------


@asynccontextmanager
async def opened(place: Path, story: Story, now: float, size: tuple[int, int]) -> AsyncIterator[Desk]:
    """The dashboard was there from the batch's beginning, and it is `now`."""
    clock.now = BEGIN
    runner = FakeRunner(place / "runner.sock", story.jobs)
    async with desk(place, size=size, runner=runner) as at:
        clock.now = now
        for event in story.until(now):
            runner.push(event.change(runner.jobs[event.job]))
        for before in range(60):
            meters = story.meters(now - 60 + before)
            at.app.session.rates.add(meters.up + meters.down)
        runner.push(transfers=story.transfers(now), meters=story.meters(now))
        await until(lambda: at.app.session.meters == runner.meters and known(at) == runner.jobs, "the batch did not arrive")
        await to(at, next(iter(known(at).values())).name, next(iter(story.jobs[0].dubs)))
        at.main.status.say("")
        second(at.main)
        yield at


def known(at: Desk) -> dict[str, Job]:
    """What the dashboard knows of the batch."""
    return {job.id: job for job in at.app.session.batch.jobs()}


async def to(at: Desk, name: str, language: str) -> None:
    """The cursor on a cell."""
    job = next(job.id for job in known(at).values() if job.name == name)
    at.main.grid.put(at.app.session.batch.index(job) or 0, language)
    await until(lambda: at.main.grid.cursor == (job, language))
    await at.pilot.pause()


def mark_reviewed(at: Desk, path: str) -> None:
    """As the outputs' `v` does."""
    for job in list(at.runner.jobs.values()):
        for language, dub in job.dubs.items():
            if dub.state is DubState.DONE and dub.output is not None and dub.output.path == path:
                at.runner.push(download.reviewed(at.runner.jobs[job.id], language, True))


def fill() -> None:
    """Folders and videos to add."""
    for number, name in enumerate(("welcome-02.mp4", "safety-briefing-02.mov", "product-tour-02.webm")):
        disk.add(name, 212_000_000 + number * 61_000_000)
    for number in range(12):
        disk.add(f"archive/lesson-{number + 1:02}.mp4", 48_000_000 + number * 1_700_000)
    for number in range(5):
        disk.add(f"drafts/take-{number + 1}.mov", 96_000_000 + number * 4_000_000)
    disk.add("notes.txt", 2_000)
    for job in Story().jobs:
        disk.add(job.name, job.source.size, job.source.mtime_ns)


async def picture(at: Desk, name: str) -> str:
    """The screen as SVG, once nothing changes any more."""
    await until(lambda: not at.main._armed, "painting did not end")
    before = ""
    while before != (before := await look(at)):
        pass
    return readable(before, name)


async def look(at: Desk) -> str:
    await at.pilot.pause()
    return at.app.export_screenshot(simplify=True)


def readable(svg: str, name: str) -> str:
    """Fixed ids; fonts of the reader's machine, since a picture in a page may not load any."""
    svg = _TERMINAL.sub(f"synthdub-{name}", svg)
    svg = _LAST_LINE.sub(lambda found: f"{found[1]}{float(found[2]) + 4:g}", svg)  # Rich cuts what goes below it
    svg = _SPACED.sub(_trimmed, svg)
    svg = _FAMILY.sub(f"font-family: {FAMILY};", _FONT_FACE.sub("", svg))
    drawn_by = f"<!-- Drawn by Textual {version('textual')}, Rich {version('rich')} -->"
    lines = _CREDIT.sub(drawn_by, svg).splitlines()
    return "".join(f"{line.rstrip()}\n" for line in lines if line.strip())


def _trimmed(text: re.Match[str]) -> str:
    """Without the spaces around a text, since some programs pass over those at its beginning."""
    x, y, length, rest, before, words, after = text.groups()
    left, right = (spaces.count(";") * CELL for spaces in (before, after))
    return f'x="{float(x) + left:g}" {y} textLength="{float(length) - left - right:g}"{rest}>{words}</text>'


async def _draw(folder: Path) -> None:
    for name, draw in PICTURES.items():
        disk.clear()
        with tempfile.TemporaryDirectory(prefix="synthdub-picture-") as place:
            (folder / f"{name}.svg").write_text(await draw(Path(place)), "utf-8")


if __name__ == "__main__":
    with patch.object(MainScreen, "_second", lambda self: None), patch.object(Input, "_toggle_cursor", lambda self: None):
        asyncio.run(_draw(Path(sys.argv[1])))
