"""Adding files and languages: choose, see how many dubs that means, confirm, and see the result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from synthdub_tui import languages
from synthdub_tui.dashboard.actions.context import ActionContext, CellKey
from synthdub_tui.dashboard.thread_task import ThreadTask
from synthdub_tui.humanize import format_count
from synthdub_tui.ipc.protocol import AddLanguagesRequest, AddRequest, StopAddingRequest
from synthdub_tui.problems import explain
from synthdub_tui.text import make_printable

if TYPE_CHECKING:
    from synthdub_tui.dashboard.file_marks import MarkedVideoCount
    from synthdub_tui.sources.scan import SkippedPath

MAX_RECENT_LANGUAGES: Final = 12
"""Most languages that are remembered as recently added."""

NO_LANGUAGES_MESSAGE: Final = "Nothing was added: no languages were chosen."
NOTHING_ADDED_MESSAGE: Final = "Nothing was added."

_EFFECT_WORDS: Final = {
    "new": "new",
    "renewed": "in a new version",
    "extended": "with more languages",
    "known": "there already",
    "moved": "at a new place",
    "going on": "started anew before and not finished, which go on",
    "compared": "compared",
}
"""Words for what adding files did, by the runner's counters (most are a `sources.add_file.AddEffect`)."""


class AddAction:
    """Adds files, and languages to files."""

    def __init__(self, context: ActionContext) -> None:
        self._context = context
        self._added_paths = False
        self._running_searches = 0  # requests of this dashboard to add files that the runner has not answered yet

    # -- files -------------------------------------------------------------------------------------------------------

    def add_files(self) -> None:
        """Choose files and folders, then languages if none are configured, and add them."""
        if not self._context.check_may_act():
            return
        from synthdub_tui.dashboard.screens.add_files import AddFilesScreen  # noqa: PLC0415 - not for the first frame

        screen = AddFilesScreen(self._start_folder(), self._context.options.batch)
        self._context.app.push_screen(screen, lambda chosen: self._handle_chosen_files(chosen, screen.video_count))

    def _handle_chosen_files(self, chosen: list[str] | None, count: MarkedVideoCount) -> None:
        if not chosen:
            self._context.status_bar.show_message(NOTHING_ADDED_MESSAGE)
        elif self._context.options.batch.targets:
            self._ask_to_add(chosen, count, list(self._context.options.batch.targets))
        else:
            self._choose_languages(set(), "Dub into", lambda targets: self._ask_to_add(chosen, count, targets))

    def _ask_to_add(self, chosen: list[str], count: MarkedVideoCount, targets: list[str]) -> None:
        lines = [_cost_text(count, len(targets)), "Into: " + ", ".join(map(_language_label, targets))]
        lines += [make_printable(path, 4096) for path in chosen]
        then = lambda: self._context.start(self._send_add(tuple(chosen), tuple(targets)), "add")  # noqa: E731
        self._context.ask_to_confirm(
            "Add these and dub them?", lines, then, danger=False, yes="Add", no_message=NOTHING_ADDED_MESSAGE
        )

    def add_command_line_paths(self) -> None:
        """Add the paths from the command line: once, however often a runner is attached."""
        if self._added_paths or not self._context.options.paths or self._context.options.read_only:
            return
        self._added_paths = True
        targets, paths = self._context.options.batch.targets, self._context.options.paths
        if targets:
            self._context.start(self._send_add(paths, targets), "add")
        else:
            self._choose_languages(
                set(),
                "Dub the named files into",
                lambda chosen: self._context.start(self._send_add(paths, tuple(chosen)), "add"),
            )

    async def _send_add(self, paths: tuple[str, ...], targets: tuple[str, ...]) -> None:
        self._context.status_bar.show_message(
            f"Adding {format_count(len(paths), 'path')}… {self._context.keymap.key_label('undo')} stops it.", seconds=3600
        )
        self._running_searches += 1
        reply = await self._context.send(
            AddRequest(paths=paths, batch=replace(self._context.options.batch, targets=targets)), timeout=None
        )
        self._running_searches -= 1
        if reply is None:
            return
        ended = "Stopped; what was found stays" if reply.result.get("stopped") else "Added"
        came_to = _result_text(reply.result)
        left_out = f" Left out: {reply.result['left_out']}." if reply.result.get("left_out") else ""
        self._context.status_bar.show_message((f"{ended}: {came_to}." if came_to else NOTHING_ADDED_MESSAGE) + left_out)
        if reply.result.get("problem") and not came_to and len(paths) > 1:
            ThreadTask(
                self._context.screen,
                lambda task: task.report(self._offer_remaining_paths, paths, targets, _find_rejected(paths)),
            )
        elif reply.result.get("problem"):
            self._context.notify_problem(explain(str(reply.result["problem"]), str(reply.result.get("problem_detail", ""))))

    def _offer_remaining_paths(self, paths: tuple[str, ...], targets: tuple[str, ...], wrong: list[SkippedPath]) -> None:
        """The runner adds nothing if one path is wrong. Offer to add the others, so that the user need not mark them again."""
        left_out = {item.path for item in wrong}
        rest = tuple(path for path in paths if path not in left_out)
        lines = [f"{make_printable(item.path, 4096)}: {explain(item.code).title}" for item in wrong]
        if rest and wrong:
            title = f"{len(wrong):,} of {len(paths):,} cannot be added. Add the other {len(rest):,}?"
            self._context.ask_to_confirm(
                title,
                lines,
                lambda: self._context.start(self._send_add(rest, targets), "add"),
                danger=False,
                yes="Add",
                no_message=NOTHING_ADDED_MESSAGE,
            )

    def stop_searches(self) -> bool:
        """Stop the searches for files that this dashboard began. Returns False if there is none."""
        if self._running_searches:
            self._context.start(self._send_stop_adding(), "stop adding")
        return bool(self._running_searches)

    async def _send_stop_adding(self) -> None:
        self._context.status_bar.show_message("Stopping…")
        await self._context.send(StopAddingRequest())

    def _start_folder(self) -> Path:
        cursor = self._context.grid.cursor
        if cursor is not None:
            return Path(self._context.session.batch.rows[cursor.job].job.source.path).parent
        return Path.cwd()

    # -- languages ---------------------------------------------------------------------------------------------------

    def add_languages(self) -> None:
        """Choose languages and add them to the targets' files."""
        if not self._context.check_may_act():
            return
        rows = self._context.session.batch.rows
        cursor = self._context.grid.cursor
        wanted = [job for job, _ in self._context.target_cells()] or ([cursor.job] if cursor is not None else [])
        jobs = [job for job in dict.fromkeys(wanted) if job in rows]
        if not jobs:
            self._context.status_bar.show_message(
                f"There is no file to add languages to. {self._context.keymap.key_label('add_files')} adds files."
            )
            return
        have = set.intersection(*(set(rows[job].job.dubs) for job in jobs))
        title = f"Add languages to {format_count(len(jobs), 'file')}"
        self._choose_languages(have, title, lambda chosen: self._ask_to_add_languages(jobs, chosen))

    def _ask_to_add_languages(self, jobs: list[str], chosen: list[str]) -> None:
        rows = self._context.session.batch.rows
        new = [(job, code) for job in jobs if job in rows for code in chosen if code not in rows[job].job.dubs]
        lines = [
            *self._context.describe_cells(new),
            f"{format_count(len(new), 'dub')}, {'each' if len(new) > 1 else 'which'} spends credits.",
        ]
        then = lambda: self._context.start(self._add_languages(jobs, chosen, new), "add languages")  # noqa: E731
        self._context.ask_to_confirm(
            f"Add {', '.join(chosen)}?", lines, then, danger=False, yes="Add", no_message=NOTHING_ADDED_MESSAGE
        )

    async def _add_languages(self, jobs: list[str], chosen: list[str], new: list[CellKey]) -> None:
        self._context.status_bar.show_message(f"Adding {format_count(len(new), 'dub')}…")
        if await self._context.send(AddLanguagesRequest(jobs=tuple(jobs), languages=tuple(chosen))) is not None:
            self._context.status_bar.show_message(f"{format_count(len(new), 'dub')} added.")

    def _choose_languages(self, existing: set[str], title: str, on_chosen: Callable[[list[str]], object]) -> None:
        from synthdub_tui.dashboard.screens.add_languages import AddLanguagesScreen  # noqa: PLC0415

        def chosen(found: list[str] | None) -> None:
            if not found:
                self._context.status_bar.show_message(NO_LANGUAGES_MESSAGE)
                return
            self._context.ui_state.current.languages = list(dict.fromkeys([*found, *self._context.ui_state.current.languages]))[
                :MAX_RECENT_LANGUAGES
            ]
            on_chosen(found)

        recent = [*self._context.ui_state.current.languages, *self._context.session.batch.languages]
        self._context.app.push_screen(AddLanguagesScreen(existing, recent, title=title), chosen)


def _result_text(result: Mapping[str, int | str]) -> str:
    """`6 new, 2 there already`; empty if nothing was found."""
    parts = [f"{result[name]} {words}" for name, words in _EFFECT_WORDS.items() if result.get(name)]
    skipped = int(result.get("skipped", 0))
    return ", ".join([*parts, f"{format_count(skipped, 'other file')} skipped"] if skipped else parts)


def _find_rejected(paths: tuple[str, ...]) -> list[SkippedPath]:
    from synthdub_tui.sources.scan import find_rejected_paths  # noqa: PLC0415 - not for the first frame

    return find_rejected_paths(list(paths))


def _cost_text(count: MarkedVideoCount, targets: int) -> str:
    """How many dubs are requested: at most, since some may exist already."""
    dubs = format_count(count.videos * targets, "dub")
    found = f"{format_count(count.videos, 'video')} in {format_count(targets, 'language')}"
    if not count.is_final:
        return f"The folders are still being looked through: {found} so far. Every dub spends credits."
    return f"Up to {dubs}: {found}. Every dub spends credits."


def _language_label(code: str) -> str:
    return f"{languages.language_name(code)} ({code})"
