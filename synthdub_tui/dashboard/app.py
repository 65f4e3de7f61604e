"""The Textual app around the main screen: start, other screens, palette, bell, colours, quitting."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterable
from typing import Any, ClassVar, Final

from rich.console import RenderableType
from rich.text import Text
from textual import work
from textual.app import App, SystemCommand
from textual.binding import BindingType
from textual.screen import Screen
from textual.worker import Worker, WorkerState

from synthdub_tui.dashboard import crash_report, grid_cells
from synthdub_tui.dashboard.keymap import ACTIONS, KEYS, ON_ALL_SCREENS, Keymap
from synthdub_tui.dashboard.options import Options
from synthdub_tui.dashboard.preload import load_ahead
from synthdub_tui.dashboard.screens.main import MainScreen
from synthdub_tui.dashboard.session import Session
from synthdub_tui.dashboard.terminal.driver import SteadyDriver
from synthdub_tui.dashboard.terminal.renderer import Painter
from synthdub_tui.dashboard.terminal.textual_patches import let_closed_screens_go
from synthdub_tui.dashboard.ui_state import Memory
from synthdub_tui.dashboard.widgets.status_bar import SHOWN
from synthdub_tui.humanize import many
from synthdub_tui.ipc.client import Launcher, LinkState
from synthdub_tui.ipc.protocol import CheckKey, Stop
from synthdub_tui.jobs.model import DubState
from synthdub_tui.problems import explain
from synthdub_tui.text import printable

KEY_PROBLEMS = frozenset({"no_key", "key_rejected"})

SETTLED: Final = 1.0
"""Seconds after which the start is over, and modules that are needed later may be loaded."""

EVERYWHERE: Final = frozenset({"app.mouse", "app.redraw", "app.suspend", "app.leave"})
"""Actions of the grid's keys that the palette also offers on the screens above it."""


class SynthdubApp(App[int]):
    """Shows and steers a batch. The runner does the work, and continues without the app."""

    TITLE = "synthdub"
    CSS_PATH = ["screens/main.tcss", "widgets/grid.tcss"]  # noqa: RUF012 - Textual declares it so
    BINDINGS: ClassVar[list[BindingType]] = [*ON_ALL_SCREENS]

    def __init__(self, launcher: Launcher, memory: Memory, options: Options) -> None:
        super().__init__(driver_class=SteadyDriver)
        let_closed_screens_go()
        self._painter = Painter(self)
        self.options = options
        self.memory = memory
        self.keymap = Keymap(options.keymap)
        self.session = Session(launcher, options.version, read_only=options.read_only, keymap=self.keymap)
        self.session.on_call = self.call_user
        self.session.on_over = self.call_is_over
        self._farewell = ""
        self._key_asked = False
        self._asking_quit = False
        self._choose_theme()

    def _choose_theme(self) -> None:
        """Use the chosen theme; else the terminal's own 16 colours if it has no more, or on a slow link."""
        wanted = self.memory.now.theme
        poor = self.console.color_system in ("standard", None) and not self.no_color
        if wanted in self.available_themes:
            self.theme = wanted
        elif poor or self.options.slow_link:
            self.theme = "ansi-dark"

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        """Pass everything that Textual draws through the painter."""
        super()._display(screen, self._painter.paint(renderable, self._output))

    @property
    def _output(self) -> SteadyDriver | None:
        return self._driver if isinstance(self._driver, SteadyDriver) else None

    def on_resize(self) -> None:
        """Repaint everything after a resize or a suspension (when it resumes, the driver reports the size)."""
        self._painter.repaint(self._output)

    def action_redraw(self) -> None:
        """Draw everything again. Other programs may have written to the terminal, or bytes were lost: nothing reports that."""
        self._painter.repaint(self._output)
        self.refresh(layout=True)  # sends what the painter leaves to Textual

    # -- start and end -----------------------------------------------------------------------------------------------

    def get_default_screen(self) -> Screen[None]:
        return MainScreen(self.session, self.memory, self.options)

    @property
    def main(self) -> MainScreen:
        """The screen below all others."""
        screen = self.screen_stack[0]
        assert isinstance(screen, MainScreen)
        return screen

    def on_mount(self) -> None:
        if self.options.keymap:
            self.set_keymap(dict(self.options.keymap))
            for words in self.keymap.problems():
                self.notify(words, severity="warning", timeout=15, markup=False)
        self.theme_changed_signal.subscribe(self, self._theme_changed)
        self.main.call_after_refresh(self._start)

    def _start(self) -> None:
        """Connect once the first frame is on its way."""
        if not gc.isenabled():  # `run_dashboard` disabled it
            gc.freeze()
            gc.enable()
        if self._output is not None:
            self._output.alt_keys = any("alt+" in keys for keys in self.options.keymap.values())
            self._output.watch_hangup()
        self.run_worker(self.session.link.run(), name="link", exit_on_error=False)
        self.set_interval(5.0, self.memory.save_soon)
        self.set_interval(1.0, self._look_at_key)
        self.set_timer(SETTLED, load_ahead)

    def _fatal_error(self) -> None:
        """Report an unexpected exception. Textual would print it with all local variables, which may contain the API key."""
        assert self._exception is not None
        folder = self.options.log_path.parent if self.options.log_path is not None else None
        self.bell()
        self.panic(Text(crash_report.words(self._exception, folder)))

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Report an unexpected exception in a worker, above all in the link, which must never end."""
        if event.state is WorkerState.ERROR:
            problem = explain("internal", repr(event.worker.error))
            self.notify(problem.line(), title=problem.title, severity="error", timeout=60, markup=False)

    @property
    def farewell(self) -> str:
        """The text that stays in the terminal after quitting."""
        totals = self.session.batch.overall
        if not totals.dubs:
            return self._farewell or "synthdub: nothing in the batch."
        parts = [f"{totals[DubState.DONE]} of {many(totals.dubs, 'dub')} done"]
        for state, word in ((DubState.FAILED, "failed"), (DubState.UNKNOWN, "to decide"), (DubState.CANCELLED, "cancelled")):
            if totals[state]:
                parts.append(f"{totals[state]} {word}")
        if totals.open:
            parts.append(f"{totals.open} under way")
        default = "The runner works on in the background: `synthdub status` looks, `synthdub stop` ends it."
        after = self._farewell or (default if self.session.busy and not self.options.demo else "")
        return f"synthdub: {', '.join(parts)}.\n{after}".rstrip()

    @property
    def _foreground(self) -> bool:
        """Whether the runner is a `synthdub run` in a terminal, which the dashboard must not end."""
        welcome = self.session.link.welcome
        return welcome is not None and welcome.foreground

    # -- quit --------------------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Disable the grid's keys while a filter is typed: they are letters then."""
        if action in ACTIONS and self.screen is self.main and self.main.taken(action):
            return False
        return super().check_action(action, parameters)

    def action_leave(self) -> None:
        """Quit; the action of the letter key, which can be configured."""
        self._quit()

    async def action_quit(self) -> None:
        """Quit; if dubs are in progress, ask what becomes of them."""
        self._quit()

    def action_help_quit(self) -> None:
        """Quit on ctrl+c, where Textual would only show a hint."""
        self._quit()

    def _quit(self) -> None:
        """Quit, or ask. The question opens at once, so that keys typed ahead reach it."""
        if self._asking_quit:
            return
        self.main.send_cancel()
        if not self.session.busy or self.options.read_only or self.options.demo or self._foreground:
            self._leave("background")
        elif self.memory.now.quit:
            self._leave(self.memory.now.quit)
        else:
            self._ask_quit()

    def _ask_quit(self) -> None:
        from synthdub_tui.dashboard.screens.quit import QuitChoice, QuitScreen  # noqa: PLC0415 - not at start

        def chosen(answer: QuitChoice | None) -> None:
            self._asking_quit = False
            if answer is None:
                return
            if answer.remember:
                self.memory.now.quit = answer.action
            self._leave(answer.action)

        self._asking_quit = True
        self.push_screen(QuitScreen(self.session.batch.overall.open), chosen)

    @work(exit_on_error=False, name="leave")
    async def _leave(self, choice: str) -> None:
        await self.main.cancel_sent()
        if choice == "stop":
            self.main.status.say("Stopping: saving and finishing requests…", keep=3600)
            self._farewell = "Stopped and saved; `synthdub` resumes."
            await self.session.link.ask(Stop())  # if the connection ends without a reply, the runner has stopped too
        self.exit(0)

    # -- other screens -----------------------------------------------------------------------------------------------

    def action_outputs(self) -> None:
        """Open the list of finished files."""
        from synthdub_tui.dashboard.output_rows import OutputRow, finished  # noqa: PLC0415
        from synthdub_tui.dashboard.screens.outputs import OutputsScreen  # noqa: PLC0415

        batch, seen, found = self.session.batch, -1, list[OutputRow]()

        def rows() -> list[OutputRow]:
            """The finished files. Returns the same list until one is added, removed or changed: this is called often."""
            nonlocal seen, found
            if seen != batch.finished:
                seen, found = batch.finished, finished(batch.jobs(), batch.names.of)
            return found

        def review(chosen: list[OutputRow], mark: bool) -> None:
            self.main.review([row.key for row in chosen], mark)

        options = self.options
        screen = OutputsScreen(
            rows,
            on_review=review,
            play_command=options.play_command,
            host=options.ssh_host,
            read_only=options.read_only,
            thumbnail=None if options.ascii or options.slow_link else self.main.thumbnail,
        )
        self.push_screen(screen)

    def action_log(self) -> None:
        """Open the runner's log."""
        from synthdub_tui.dashboard.screens.log import LogScreen  # noqa: PLC0415

        if self.options.log_path is not None:
            self.push_screen(LogScreen(self.options.log_path))
        else:
            self.main.status.say("There is no log here.")

    def action_help(self) -> None:
        """Open the help: the legend and every key."""
        from synthdub_tui.dashboard.screens.base import help_of  # noqa: PLC0415
        from synthdub_tui.dashboard.screens.help import HelpScreen  # noqa: PLC0415
        from synthdub_tui.dashboard.screens.outputs import OutputsScreen  # noqa: PLC0415

        signs = grid_cells.ASCII if self.options.ascii else grid_cells.UNICODE
        legend = ("What the grid shows", grid_cells.legend(signs))
        self.push_screen(HelpScreen([legend, *self.keymap.help_groups(), ("In the outputs", help_of(OutputsScreen))]))

    def _look_at_key(self) -> None:
        """If the service does not accept the key, open the key dialog: once, since the user may want to look around first."""
        meters = self.session.meters
        if self._key_asked or self.options.read_only or self.options.check_key is None or len(self.screen_stack) > 1:
            return
        if meters is not None and meters.problem in KEY_PROBLEMS:
            self._key_asked = True
            self._try_own_key()

    @work(exit_on_error=False, name="try own key")
    async def _try_own_key(self) -> None:
        """Replace a runner with an old key if the dashboard's own key is accepted; else open the key dialog.

        So a user can set the variable and start the dashboard again.
        """
        check = self.options.check_own_key
        if check is None or self._foreground or await check() is not None:
            self.action_key()
        else:
            await self.session.link.renew()

    def action_key(self) -> None:
        """Ask for a key, check it with the service, and store it."""
        from synthdub_tui.dashboard.screens.setup_key import SetupKeyScreen  # noqa: PLC0415

        path, check = self.options.config_path, self.options.check_key
        if path is None or check is None:
            self.main.status.say(
                "The demo has a key of its own." if self.options.demo else "Set SYNTHESIA_API_KEY and start again."
            )
            return
        self.push_screen(SetupKeyScreen(check, path, self.options.key_ahead), self._key_stored)

    def _key_stored(self, stored: bool | None) -> None:
        if not stored:
            self.main.status.say("No key yet. ctrl+p, “Enter an API key” asks again.")
        else:
            self._use_stored_key()

    @work(exit_on_error=False, name="use stored key")
    async def _use_stored_key(self) -> None:
        """Make the runner read the key again. Replace it if that does not help, or if its flag or variable takes precedence.

        A `synthdub run` is never replaced: the user is asked to start it again.
        """
        ahead, link, main = self.options.key_ahead, self.session.link, self.main
        before = f" Before the next start take {ahead} away, or put the new key there: it goes first." if ahead else ""
        main.status.say(f"The key is stored.{before}", keep=30 if ahead else SHOWN)
        link.use_stored_key()
        if self._foreground or not ahead:
            reply = await link.ask(CheckKey())
            if reply.code not in KEY_PROBLEMS:
                main.failed(reply)
                return
        if self._foreground:
            main.status.say(
                "The key is stored, but the `synthdub run` at work has another: end it and start it again.", keep=30
            )
        elif self.session.attached:
            await link.renew()

    # -- terminal ----------------------------------------------------------------------------------------------------

    def call_user(self, words: str) -> None:
        """The batch ended or needs the user: ring the bell, show a message and, if configured, notify by the terminal."""
        if not self.is_running:
            return  # the app is ending
        self.bell()
        self.main.status.tell(words, keep=30)
        if self.options.notify and self._driver is not None and not self.is_headless:
            self._driver.write(f"\x1b]9;{printable(words)}\a")

    def call_is_over(self, words: str) -> None:
        """Remove a message of `call_user` that no longer applies."""
        if self.is_running:
            self.main.status.untell(words)

    def action_mouse(self) -> None:
        """Release the mouse, so that it selects text in the terminal, or capture it again."""
        driver = self._driver
        if not isinstance(driver, SteadyDriver):
            return
        held = driver.switch_mouse()
        self.main.status.say(
            "The dashboard has the mouse."
            if held
            else f"The mouse selects text now. {self.keymap.shown('mouse')} takes it back."
        )

    def action_suspend(self) -> None:
        """Suspend to the shell; `fg` resumes. The runner continues."""
        self.action_suspend_process()

    def action_theme(self) -> None:
        """Choose other colours."""
        self.search_themes()

    def action_ask_quit_again(self) -> None:
        """Forget the remembered answer about quitting."""
        self.memory.now.quit = ""
        self.main.status.say("Quitting asks again.")

    def _theme_changed(self, theme: object) -> None:
        del theme
        self.memory.now.theme = self.theme

    # -- command palette ---------------------------------------------------------------------------------------------

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Commands of the visible screen. A page offers no actions on the grid, since it hides the cursor and the marks."""
        from synthdub_tui.dashboard.screens.base import Page, keys_of  # noqa: PLC0415

        if isinstance(screen, Page):
            for shown, words, action in keys_of(type(screen)):
                yield self._command(screen, words, shown, action)
        for key in KEYS:
            if key.action != "clear" and (screen is self.main or key.action in EVERYWHERE):
                shown = f"{self.keymap.shown(key.id)}, in the keymap: {key.id}"
                yield self._command(self.main, key.words, shown, key.action)
        yield SystemCommand("Theme: change the colours", "kept for the next start", self.action_theme)
        if screen is self.main:
            yield self._command(self.main, "remove from the batch", "finished, failed and cancelled dubs; files stay", "remove")
            yield SystemCommand("Enter an API key", "checked with the service, and stored", self.action_key)
            yield SystemCommand("Quit asks again", "forgets the remembered answer", self.action_ask_quit_again)

    def _command(self, screen: Screen[Any], words: str, help_text: str, action: str) -> SystemCommand:
        async def run() -> None:
            await screen.run_action(action)

        return SystemCommand(words[:1].upper() + words[1:], help_text, lambda: self.call_next(run))

    @property
    def link_state(self) -> LinkState:
        """The state of the connection to the runner."""
        return self.session.link.state

    def save(self) -> threading.Thread:
        """Save the user's choices and the cursor's place, in a thread."""
        return self.memory.save_soon()
