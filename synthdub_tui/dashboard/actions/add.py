"""Adding files and languages: choose, see how many dubs that means, confirm, and see the result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace
from textual import work

from synthdub_tui import languages
from synthdub_tui.dashboard.actions.action_screen import Acting, CellKey
from synthdub_tui.dashboard.options import Options
from synthdub_tui.dashboard.session import Session
from synthdub_tui.dashboard.thread_task import Errand
from synthdub_tui.dashboard.ui_state import Memory
from synthdub_tui.humanize import many
from synthdub_tui.ipc.protocol import Add, AddLanguages, StopAdding
from synthdub_tui.problems import explain
from synthdub_tui.text import printable

if TYPE_CHECKING:
    from synthdub_tui.dashboard.file_marks import Count
    from synthdub_tui.sources.scan import Skipped

RECENT: Final = 12
"""Most languages that are remembered as recently added."""

NO_LANGUAGES: Final = "Nothing was added: no languages were chosen."
NOTHING: Final = "Nothing was added."

_EFFECTS: Final = {
    "new": "new",
    "renewed": "in a new version",
    "extended": "with more languages",
    "known": "there already",
    "moved": "at a new place",
    "going on": "started anew before and not finished, which go on",
    "compared": "compared",
}
"""Words for what adding files did, by the runner's counters (most are a `sources.add_file.Effect`)."""


class Adding(Acting):
    """Files and languages for the batch."""

    def __init__(self, session: Session, memory: Memory, options: Options) -> None:
        super().__init__(session, memory, options)
        self._added_paths = False
        self._searches = 0  # requests of this dashboard to add files that the runner has not answered yet

    # -- files -------------------------------------------------------------------------------------------------------

    def action_add_files(self) -> None:
        """Choose files and folders, then languages if none are configured, and add them."""
        if not self.allowed():
            return
        from synthdub_tui.dashboard.screens.add_files import AddFilesScreen  # noqa: PLC0415 - not for the first frame

        screen = AddFilesScreen(self._start_folder(), self.options.batch)
        self.app.push_screen(screen, lambda chosen: self._files_chosen(chosen, screen.count))

    def _files_chosen(self, chosen: list[str] | None, count: Count) -> None:
        if not chosen:
            self.status.say(NOTHING)
        elif self.options.batch.targets:
            self._ask_to_add(chosen, count, list(self.options.batch.targets))
        else:
            self._choose_languages(set(), "Dub into", lambda targets: self._ask_to_add(chosen, count, targets))

    def _ask_to_add(self, chosen: list[str], count: Count, targets: list[str]) -> None:
        lines = [_cost(count, len(targets)), "Into: " + ", ".join(map(_named, targets))]
        lines += [printable(path, 4096) for path in chosen]
        then = lambda: self._add(tuple(chosen), tuple(targets))  # noqa: E731
        self.ask("Add these and dub them?", lines, then, danger=False, yes="Add", otherwise=NOTHING)

    def add_named(self) -> None:
        """Add the paths from the command line: once, however often a runner is attached."""
        if self._added_paths or not self.options.paths or self.options.read_only:
            return
        self._added_paths = True
        targets, paths = self.options.batch.targets, self.options.paths
        if targets:
            self._add(paths, targets)
        else:
            self._choose_languages(set(), "Dub the named files into", lambda chosen: self._add(paths, tuple(chosen)))

    @work(exit_on_error=False, name="add")
    async def _add(self, paths: tuple[str, ...], targets: tuple[str, ...]) -> None:
        self.status.say(f"Adding {many(len(paths), 'path')}… {self.keymap.shown('undo')} stops it.", keep=3600)
        self._searches += 1
        reply = await self.send(Add(paths=paths, batch=replace(self.options.batch, targets=targets)), patience=None)
        self._searches -= 1
        if reply is None:
            return
        ended = "Stopped; what was found stays" if reply.result.get("stopped") else "Added"
        came_to = _came_to(reply.result)
        left_out = f" Left out: {reply.result['left_out']}." if reply.result.get("left_out") else ""
        self.status.say((f"{ended}: {came_to}." if came_to else NOTHING) + left_out)
        if reply.result.get("problem") and not came_to and len(paths) > 1:
            Errand(self, lambda errand: errand.tell(self._offer_the_rest, paths, targets, _refused(paths)))
        elif reply.result.get("problem"):
            self.tell_more(explain(str(reply.result["problem"]), str(reply.result.get("problem_detail", ""))))

    def _offer_the_rest(self, paths: tuple[str, ...], targets: tuple[str, ...], wrong: list[Skipped]) -> None:
        """The runner adds nothing if one path is wrong. Offer to add the others, so that the user need not mark them again."""
        left_out = {item.path for item in wrong}
        rest = tuple(path for path in paths if path not in left_out)
        lines = [f"{printable(item.path, 4096)}: {explain(item.code).title}" for item in wrong]
        if rest and wrong:
            title = f"{len(wrong):,} of {len(paths):,} cannot be added. Add the other {len(rest):,}?"
            self.ask(title, lines, lambda: self._add(rest, targets), danger=False, yes="Add", otherwise=NOTHING)

    @work(exit_on_error=False, name="stop adding")
    async def _stop_searches(self) -> None:
        self.status.say("Stopping…")
        await self.send(StopAdding())

    def _start_folder(self) -> Path:
        cursor = self.grid.cursor
        if cursor is not None:
            return Path(self.session.batch.rows[cursor.job].job.source.path).parent
        return Path.cwd()

    # -- languages ---------------------------------------------------------------------------------------------------

    def action_add_languages(self) -> None:
        """Choose languages and add them to the targets' files."""
        if not self.allowed():
            return
        rows = self.session.batch.rows
        cursor = self.grid.cursor
        wanted = [job for job, _ in self.targets()] or ([cursor.job] if cursor is not None else [])
        jobs = [job for job in dict.fromkeys(wanted) if job in rows]
        if not jobs:
            self.status.say(f"There is no file to add languages to. {self.keymap.shown('add_files')} adds files.")
            return
        have = set.intersection(*(set(rows[job].job.dubs) for job in jobs))
        title = f"Add languages to {many(len(jobs), 'file')}"
        self._choose_languages(have, title, lambda chosen: self._ask_to_add_languages(jobs, chosen))

    def _ask_to_add_languages(self, jobs: list[str], chosen: list[str]) -> None:
        rows = self.session.batch.rows
        new = [(job, code) for job in jobs if job in rows for code in chosen if code not in rows[job].job.dubs]
        lines = [*self.lines(new), f"{many(len(new), 'dub')}, {'each' if len(new) > 1 else 'which'} spends credits."]
        then = lambda: self._add_languages(jobs, chosen, new)  # noqa: E731
        self.ask(f"Add {', '.join(chosen)}?", lines, then, danger=False, yes="Add", otherwise=NOTHING)

    @work(exit_on_error=False, name="add languages")
    async def _add_languages(self, jobs: list[str], chosen: list[str], new: list[CellKey]) -> None:
        self.status.say(f"Adding {many(len(new), 'dub')}…")
        if await self.send(AddLanguages(jobs=tuple(jobs), languages=tuple(chosen))) is not None:
            self.status.say(f"{many(len(new), 'dub')} added.")

    def _choose_languages(self, have: set[str], title: str, then: Callable[[list[str]], object]) -> None:
        from synthdub_tui.dashboard.screens.add_languages import AddLanguagesScreen  # noqa: PLC0415

        def chosen(found: list[str] | None) -> None:
            if not found:
                self.status.say(NO_LANGUAGES)
                return
            self.memory.now.languages = list(dict.fromkeys([*found, *self.memory.now.languages]))[:RECENT]
            then(found)

        recent = [*self.memory.now.languages, *self.session.batch.languages]
        self.app.push_screen(AddLanguagesScreen(have, recent, title=title), chosen)


def _came_to(result: Mapping[str, int | str]) -> str:
    """`6 new, 2 there already`; empty if nothing was found."""
    parts = [f"{result[name]} {words}" for name, words in _EFFECTS.items() if result.get(name)]
    skipped = int(result.get("skipped", 0))
    return ", ".join([*parts, f"{many(skipped, 'other file')} skipped"] if skipped else parts)


def _refused(paths: tuple[str, ...]) -> list[Skipped]:
    from synthdub_tui.sources.scan import refused  # noqa: PLC0415 - not for the first frame

    return refused(list(paths))


def _cost(count: Count, targets: int) -> str:
    """How many dubs are requested: at most, since some may exist already."""
    dubs = many(count.videos * targets, "dub")
    found = f"{many(count.videos, 'video')} in {many(targets, 'language')}"
    if not count.all:
        return f"The folders are still being looked through: {found} so far. Every dub spends credits."
    return f"Up to {dubs}: {found}. Every dub spends credits."


def _named(code: str) -> str:
    return f"{languages.name(code)} ({code})"
