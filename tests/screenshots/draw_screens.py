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

from tests.screenshots.fake_disk import FakeDisk
from tests.screenshots.scripted_batch import BEGIN_SECONDS, VIDEO_FOLDER, ScriptedBatch


class FixedClock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now = BEGIN_SECONDS

    def __call__(self) -> float:
        return self.now


fixed_clock: Final = FixedClock()
fake_disk: Final = FakeDisk(VIDEO_FOLDER)

if __name__ == "__main__":  # for good, before the dashboard is imported: it takes the clock and the disk as they are then
    patch("time.time", fixed_clock).start()
    fake_disk.mount()

from textual.widgets import Input  # noqa: E402

from synthdub_tui.dashboard.screens.main import MainScreen  # noqa: E402
from synthdub_tui.jobs.model import DubState, Job  # noqa: E402
from synthdub_tui.jobs.transitions import download  # noqa: E402
from tests.dashboard.fake_runner import FakeRunner  # noqa: E402
from tests.dashboard.opened_dashboard import OpenedDashboard, open_dashboard, until  # noqa: E402

SECONDS_PER_MINUTE: Final = 60.0
AT_WORK_SECONDS, LATER_SECONDS, NEARLY_DONE_SECONDS = (
    BEGIN_SECONDS + 9.66 * SECONDS_PER_MINUTE,
    BEGIN_SECONDS + 42 * SECONDS_PER_MINUTE,
    BEGIN_SECONDS + 18.7 * SECONDS_PER_MINUTE,
)
TERMINAL_SIZE: Final = (110, 30)
MANY_LANGUAGES: Final = tuple("fr-FR es-ES de-DE it pt-BR ja ko pl nl-NL sv tr zh-CN".split())
CHARACTER_WIDTH: Final = 12.2
"""Width of a character in Rich's pictures."""
FONT_FAMILY: Final = '"Fira Code", "DejaVu Sans Mono", Menlo, Consolas, monospace'

_TERMINAL_ID: Final = re.compile(r"terminal-\d+")
_FONT_FACE: Final = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)
_LAST_LINE: Final = re.compile(r'(-clip-terminal">\s*<rect [^>]*height=")([\d.]+)')
_SPACED_TEXT: Final = re.compile(
    r'x="([\d.]+)" (y="[\d.]+") textLength="([\d.]+)"([^>]*)>((?:&#160;)*)([^<]*?)((?:&#160;)*)</text>'
)
_FONT_FAMILY_PATTERN: Final = re.compile(r"font-family: Fira Code, monospace;")
_CREDIT: Final = re.compile(r"<!-- Generated with .*? -->")

update_every_second = MainScreen._update_every_second


# -- the pictures ----------------------------------------------------------------------------------------------------


async def draw_grid(place: Path) -> str:
    async with open_dashboard_at(place, ScriptedBatch(), AT_WORK_SECONDS, TERMINAL_SIZE) as at:
        return await take_picture(at, "grid")


async def draw_narrow(place: Path) -> str:
    async with open_dashboard_at(place, ScriptedBatch(), AT_WORK_SECONDS, (60, 20)) as at:
        return await take_picture(at, "narrow")


async def draw_wide(place: Path) -> str:
    """What `synthdub demo --files 42` with more targets shows: a batch that does not fit on the screen."""
    async with open_dashboard_at(place, ScriptedBatch(42, MANY_LANGUAGES, down=9e6), LATER_SECONDS, (200, 50)) as at:
        await move_cursor(at, "product-tour-01.webm", "es-ES")
        return await take_picture(at, "wide")


async def draw_problem(place: Path) -> str:
    async with open_dashboard_at(place, ScriptedBatch(), NEARLY_DONE_SECONDS, (110, 38)) as at:
        await move_cursor(at, "product-tour-01.webm", "es-ES")
        await at.press("enter")
        await until(lambda: at.main.has_class("-detail"))
        return await take_picture(at, "problem")


async def draw_confirm_retry(place: Path) -> str:
    async with open_dashboard_at(place, ScriptedBatch(), NEARLY_DONE_SECONDS, TERMINAL_SIZE) as at:
        await at.press("R")
        await at.wait_for_screen("ConfirmScreen")
        return await take_picture(at, "confirm-retry")


async def draw_outputs(place: Path) -> str:
    async with open_dashboard_at(place, ScriptedBatch(), NEARLY_DONE_SECONDS, TERMINAL_SIZE) as at:
        done = [dub.output for job in at.runner.jobs.values() for dub in job.dubs.values() if dub.output is not None]
        for output in done:
            fake_disk.add(output.path.removeprefix(f"{VIDEO_FOLDER}/"), output.size, output.mtime_ns)
        fake_disk.files.pop(done[2].path)
        for number in (0, 3, 4):
            mark_reviewed(at, done[number].path)
        await at.press("o")
        await at.wait_for_screen("OutputsScreen")
        screen: Any = at.app.screen
        await until(lambda: "moved" in screen._states.values() and sum(row.reviewed for row in screen._rows) == 3)
        return await take_picture(at, "outputs")


async def draw_add_files(place: Path) -> str:
    add_folder_content()
    async with open_dashboard_at(place, ScriptedBatch(), AT_WORK_SECONDS, TERMINAL_SIZE) as at:
        await at.press("a")
        await at.wait_for_screen("AddFilesScreen")
        screen: Any = at.app.screen
        await until(lambda: screen._listing.is_complete and all(entry.is_folder or entry.size for entry in screen._shown))
        await at.press("space", "j", "j", "space", "space")
        await until(lambda: len(screen._marks) == 3 and "counting" not in screen._marks.summary())
        return await take_picture(at, "add-files")


async def draw_add_languages(place: Path) -> str:
    async with open_dashboard_at(place, ScriptedBatch(), AT_WORK_SECONDS, TERMINAL_SIZE) as at:
        at.app.ui_state.current.languages = ["it", "ja"]
        await move_cursor(at, "onboarding-01.mp4", "fr-FR")
        await at.press("L")
        await at.wait_for_screen("AddLanguagesScreen")
        await at.press("space", "space")
        screen: Any = at.app.screen
        await until(lambda: len(screen._marked) == 2)
        return await take_picture(at, "add-languages")


async def draw_help(place: Path) -> str:
    async with open_dashboard_at(place, ScriptedBatch(), AT_WORK_SECONDS, (100, 44)) as at:
        await at.press("?")
        await at.wait_for_screen("HelpScreen")
        return await take_picture(at, "help")


PICTURES: Final[dict[str, Callable[[Path], Awaitable[str]]]] = {
    "grid": draw_grid,
    "narrow": draw_narrow,
    "wide": draw_wide,
    "problem": draw_problem,
    "confirm-retry": draw_confirm_retry,
    "outputs": draw_outputs,
    "add-files": draw_add_files,
    "add-languages": draw_add_languages,
    "help": draw_help,
}


# -- getting there ---------------------------------------------------------------------------------------------------


@asynccontextmanager
async def open_dashboard_at(
    place: Path, story: ScriptedBatch, now: float, size: tuple[int, int]
) -> AsyncIterator[OpenedDashboard]:
    """The dashboard was there from the batch's beginning, and it is `now`."""
    fixed_clock.now = BEGIN_SECONDS
    runner = FakeRunner(place / "runner.sock", story.jobs)
    async with open_dashboard(place, size=size, runner=runner) as at:
        fixed_clock.now = now
        for event in story.events_until(now):
            runner.push_changes(event.change(runner.jobs[event.job]))
        for before in range(60):
            meters = story.batch_status(now - 60 + before)
            at.app.session.rates.add(meters.up + meters.down)
        runner.push_changes(transfers=story.transfers(now), meters=story.batch_status(now))
        await until(
            lambda: at.app.session.batch_status == runner.batch_status and known_jobs(at) == runner.jobs,
            "the batch did not arrive",
        )
        await move_cursor(at, next(iter(known_jobs(at).values())).name, next(iter(story.jobs[0].dubs)))
        at.main.status_bar.show_message("")
        update_every_second(at.main)
        yield at


def known_jobs(at: OpenedDashboard) -> dict[str, Job]:
    """What the dashboard knows of the batch."""
    return {job.id: job for job in at.app.session.batch.jobs()}


async def move_cursor(at: OpenedDashboard, name: str, language: str) -> None:
    """The cursor on a cell."""
    job = next(job.id for job in known_jobs(at).values() if job.name == name)
    at.main.grid.set_cursor(at.app.session.batch.row_index(job) or 0, language)
    await until(lambda: at.main.grid.cursor == (job, language))
    await at.pilot.pause()


def mark_reviewed(at: OpenedDashboard, path: str) -> None:
    """As the outputs' `v` does."""
    for job in list(at.runner.jobs.values()):
        for language, dub in job.dubs.items():
            if dub.state is DubState.DONE and dub.output is not None and dub.output.path == path:
                at.runner.push_changes(download.set_reviewed(at.runner.jobs[job.id], language, True))


def add_folder_content() -> None:
    """Folders and videos to add."""
    for number, name in enumerate(("welcome-02.mp4", "safety-briefing-02.mov", "product-tour-02.webm")):
        fake_disk.add(name, 212_000_000 + number * 61_000_000)
    for number in range(12):
        fake_disk.add(f"archive/lesson-{number + 1:02}.mp4", 48_000_000 + number * 1_700_000)
    for number in range(5):
        fake_disk.add(f"drafts/take-{number + 1}.mov", 96_000_000 + number * 4_000_000)
    fake_disk.add("notes.txt", 2_000)
    for job in ScriptedBatch().jobs:
        fake_disk.add(job.name, job.source.size, job.source.mtime_ns)


async def take_picture(at: OpenedDashboard, name: str) -> str:
    """The screen as SVG, once nothing changes any more."""
    await until(lambda: not at.main._paint_is_scheduled, "painting did not end")
    before = ""
    while before != (before := await export_screen(at)):
        pass
    return make_readable(before, name)


async def export_screen(at: OpenedDashboard) -> str:
    await at.pilot.pause()
    return at.app.export_screenshot(simplify=True)


def make_readable(svg: str, name: str) -> str:
    """Fixed ids; fonts of the reader's machine, since a picture in a page may not load any."""
    svg = _TERMINAL_ID.sub(f"synthdub-{name}", svg)
    svg = _LAST_LINE.sub(lambda found: f"{found[1]}{float(found[2]) + 4:g}", svg)  # Rich cuts what goes below it
    svg = _SPACED_TEXT.sub(_trim_text, svg)
    svg = _FONT_FAMILY_PATTERN.sub(f"font-family: {FONT_FAMILY};", _FONT_FACE.sub("", svg))
    drawn_by = f"<!-- Drawn by Textual {version('textual')}, Rich {version('rich')} -->"
    lines = _CREDIT.sub(drawn_by, svg).splitlines()
    return "".join(f"{line.rstrip()}\n" for line in lines if line.strip())


def _trim_text(text: re.Match[str]) -> str:
    """Without the spaces around a text, since some programs pass over those at its beginning."""
    x, y, length, rest, before, words, after = text.groups()
    left, right = (spaces.count(";") * CHARACTER_WIDTH for spaces in (before, after))
    return f'x="{float(x) + left:g}" {y} textLength="{float(length) - left - right:g}"{rest}>{words}</text>'


async def _draw_all(folder: Path) -> None:
    for name, draw in PICTURES.items():
        fake_disk.clear()
        with tempfile.TemporaryDirectory(prefix="synthdub-picture-") as place:
            (folder / f"{name}.svg").write_text(await draw(Path(place)), "utf-8")


if __name__ == "__main__":
    with (
        patch.object(MainScreen, "_update_every_second", lambda self: None),
        patch.object(Input, "_toggle_cursor", lambda self: None),
    ):
        asyncio.run(_draw_all(Path(sys.argv[1])))
