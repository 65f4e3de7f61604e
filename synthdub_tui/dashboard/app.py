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
from synthdub_tui.dashboard.keymap import ALL_KEYS, BINDINGS_ON_ALL_SCREENS, GRID_ACTIONS, Keymap
from synthdub_tui.dashboard.options import DashboardOptions
from synthdub_tui.dashboard.preload import preload_in_background
from synthdub_tui.dashboard.screens.main import MainScreen
from synthdub_tui.dashboard.session import Session
from synthdub_tui.dashboard.terminal.driver import ResilientDriver
from synthdub_tui.dashboard.terminal.renderer import Renderer
from synthdub_tui.dashboard.terminal.textual_patches import patch_styles_cache_leak
from synthdub_tui.dashboard.ui_state import UiStateStore
from synthdub_tui.dashboard.widgets.status_bar import MESSAGE_SECONDS
from synthdub_tui.humanize import format_count
from synthdub_tui.ipc.client import Launcher, LinkState
from synthdub_tui.ipc.protocol import CheckKeyRequest, StopRequest
from synthdub_tui.jobs.model import DubState
from synthdub_tui.problems import explain
from synthdub_tui.text import make_printable

KEY_PROBLEM_CODES = frozenset({"no_key", "key_rejected"})

PRELOAD_DELAY_SECONDS: Final = 1.0
"""Seconds after which the start is over, and modules that are needed later may be loaded."""

ACTIONS_ON_EVERY_SCREEN: Final = frozenset({"app.mouse", "app.redraw", "app.suspend", "app.leave"})
"""Actions of the grid's keys that the palette also offers on the screens above it."""


class SynthdubApp(App[int]):
    """Shows and steers a batch. The runner does the work, and continues without the app."""

    TITLE = "synthdub"
    CSS_PATH = ["screens/main.tcss", "widgets/grid.tcss"]  # noqa: RUF012 - Textual declares it so
    BINDINGS: ClassVar[list[BindingType]] = [*BINDINGS_ON_ALL_SCREENS]

    def __init__(self, launcher: Launcher, ui_state: UiStateStore, options: DashboardOptions) -> None:
        super().__init__(driver_class=ResilientDriver)
        patch_styles_cache_leak()
        self._renderer = Renderer(self)
        self.options = options
        self.ui_state = ui_state
        self.keymap = Keymap(options.keymap)
        self.session = Session(launcher, options.version, read_only=options.read_only, keymap=self.keymap)
        self.session.on_attention_needed = self.request_attention
        self.session.on_attention_cleared = self.clear_attention
        self._exit_message = ""
        self._has_asked_for_key = False
        self._quit_dialog_is_open = False
        self._choose_theme()

    def _choose_theme(self) -> None:
        """Use the chosen theme; else the terminal's own 16 colours if it has no more, or on a slow link."""
        wanted = self.ui_state.current.theme
        poor = self.console.color_system in ("standard", None) and not self.no_color
        if wanted in self.available_themes:
            self.theme = wanted
        elif poor or self.options.slow_link:
            self.theme = "ansi-dark"

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        """Pass everything that Textual draws through the painter."""
        super()._display(screen, self._renderer.render(renderable, self._terminal_driver))

    @property
    def _terminal_driver(self) -> ResilientDriver | None:
        return self._driver if isinstance(self._driver, ResilientDriver) else None

    def on_resize(self) -> None:
        """Repaint everything after a resize or a suspension (when it resumes, the driver reports the size)."""
        self._renderer.render_all(self._terminal_driver)

    def action_redraw(self) -> None:
        """Draw everything again. Other programs may have written to the terminal, or bytes were lost: nothing reports that."""
        self._renderer.render_all(self._terminal_driver)
        self.refresh(layout=True)  # sends what the painter leaves to Textual

    # -- start and end -----------------------------------------------------------------------------------------------

    def get_default_screen(self) -> Screen[None]:
        return MainScreen(self.session, self.ui_state, self.options)

    @property
    def main_screen(self) -> MainScreen:
        """The screen below all others."""
        screen = self.screen_stack[0]
        assert isinstance(screen, MainScreen)
        return screen

    def on_mount(self) -> None:
        if self.options.keymap:
            self.set_keymap(dict(self.options.keymap))
            for words in self.keymap.problems():
                self.notify(words, severity="warning", timeout=15, markup=False)
        self.theme_changed_signal.subscribe(self, self._remember_theme)
        self.main_screen.call_after_refresh(self._start)

    def _start(self) -> None:
        """Connect once the first frame is on its way."""
        if not gc.isenabled():  # `run_dashboard` disabled it
            gc.freeze()
            gc.enable()
        if self._terminal_driver is not None:
            self._terminal_driver.has_alt_keys = any("alt+" in keys for keys in self.options.keymap.values())
            self._terminal_driver.watch_hangup()
        self.run_worker(self.session.link.run(), name="link", exit_on_error=False)
        self.set_interval(5.0, self.ui_state.save_in_background)
        self.set_interval(1.0, self._check_key_problem)
        self.set_timer(PRELOAD_DELAY_SECONDS, preload_in_background)

    def _fatal_error(self) -> None:
        """Report an unexpected exception. Textual would print it with all local variables, which may contain the API key."""
        assert self._exception is not None
        folder = self.options.log_path.parent if self.options.log_path is not None else None
        self.bell()
        self.panic(Text(crash_report.write_crash_report(self._exception, folder)))

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Report an unexpected exception in a worker, above all in the link, which must never end."""
        if event.state is WorkerState.ERROR:
            problem = explain("internal", repr(event.worker.error))
            self.notify(problem.one_line(), title=problem.title, severity="error", timeout=60, markup=False)

    @property
    def exit_summary(self) -> str:
        """The text that stays in the terminal after quitting."""
        totals = self.session.batch.overall
        if not totals.dubs:
            return self._exit_message or "synthdub: nothing in the batch."
        parts = [f"{totals[DubState.DONE]} of {format_count(totals.dubs, 'dub')} done"]
        for state, word in ((DubState.FAILED, "failed"), (DubState.UNKNOWN, "to decide"), (DubState.CANCELLED, "cancelled")):
            if totals[state]:
                parts.append(f"{totals[state]} {word}")
        if totals.open:
            parts.append(f"{totals.open} under way")
        default = "The runner works on in the background: `synthdub status` looks, `synthdub stop` ends it."
        after = self._exit_message or (default if self.session.is_busy and not self.options.demo else "")
        return f"synthdub: {', '.join(parts)}.\n{after}".rstrip()

    @property
    def _runner_is_in_foreground(self) -> bool:
        """Whether the runner is a `synthdub run` in a terminal, which the dashboard must not end."""
        welcome = self.session.link.welcome
        return welcome is not None and welcome.foreground

    # -- quit --------------------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Disable the grid's keys while a filter is typed: they are letters then."""
        if action in GRID_ACTIONS and self.screen is self.main_screen and self.main_screen.focus_takes_key(action):
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
        if self._quit_dialog_is_open:
            return
        self.main_screen.cancel_action.send_pending_cancel()
        if not self.session.is_busy or self.options.read_only or self.options.demo or self._runner_is_in_foreground:
            self._leave("background")
        elif self.ui_state.current.quit:
            self._leave(self.ui_state.current.quit)
        else:
            self._ask_quit()

    def _ask_quit(self) -> None:
        from synthdub_tui.dashboard.screens.quit import QuitChoice, QuitScreen  # noqa: PLC0415 - not at start

        def chosen(answer: QuitChoice | None) -> None:
            self._quit_dialog_is_open = False
            if answer is None:
                return
            if answer.remember:
                self.ui_state.current.quit = answer.action
            self._leave(answer.action)

        self._quit_dialog_is_open = True
        self.push_screen(QuitScreen(self.session.batch.overall.open), chosen)

    @work(exit_on_error=False, name="leave")
    async def _leave(self, choice: str) -> None:
        await self.main_screen.cancel_action.wait_until_cancel_sent()
        if choice == "stop":
            self.main_screen.status_bar.show_message("Stopping: saving and finishing requests…", seconds=3600)
            self._exit_message = "Stopped and saved; `synthdub` resumes."
            await self.session.link.ask(StopRequest())  # if the connection ends without a reply, the runner has stopped too
        self.exit(0)

    # -- other screens -----------------------------------------------------------------------------------------------

    def action_outputs(self) -> None:
        """Open the list of finished files."""
        from synthdub_tui.dashboard.output_rows import OutputRow, finished_outputs  # noqa: PLC0415
        from synthdub_tui.dashboard.screens.outputs import OutputsScreen  # noqa: PLC0415

        batch, seen, found = self.session.batch, -1, list[OutputRow]()

        def rows() -> list[OutputRow]:
            """The finished files. Returns the same list until one is added, removed or changed: this is called often."""
            nonlocal seen, found
            if seen != batch.finished_revision:
                seen, found = batch.finished_revision, finished_outputs(batch.jobs(), batch.display_names.for_job)
            return found

        def review(chosen: list[OutputRow], mark: bool) -> None:
            self.main_screen.set_reviewed([row.key for row in chosen], mark)

        options = self.options
        screen = OutputsScreen(
            rows,
            on_review=review,
            play_command=options.play_command,
            host=options.ssh_host,
            read_only=options.read_only,
            find_thumbnail=None if options.ascii or options.slow_link else self.main_screen.find_thumbnail,
        )
        self.push_screen(screen)

    def action_log(self) -> None:
        """Open the runner's log."""
        from synthdub_tui.dashboard.screens.log import LogScreen  # noqa: PLC0415

        if self.options.log_path is not None:
            self.push_screen(LogScreen(self.options.log_path))
        else:
            self.main_screen.status_bar.show_message("There is no log here.")

    def action_help(self) -> None:
        """Open the help: the legend and every key."""
        from synthdub_tui.dashboard.screens.base import page_help  # noqa: PLC0415
        from synthdub_tui.dashboard.screens.help import HelpScreen  # noqa: PLC0415
        from synthdub_tui.dashboard.screens.outputs import OutputsScreen  # noqa: PLC0415

        signs = grid_cells.ASCII_SIGNS if self.options.ascii else grid_cells.UNICODE_SIGNS
        legend = ("What the grid shows", grid_cells.legend(signs))
        self.push_screen(HelpScreen([legend, *self.keymap.help_groups(), ("In the outputs", page_help(OutputsScreen))]))

    def _check_key_problem(self) -> None:
        """If the service does not accept the key, open the key dialog: once, since the user may want to look around first."""
        meters = self.session.batch_status
        if self._has_asked_for_key or self.options.read_only or self.options.check_key is None or len(self.screen_stack) > 1:
            return
        if meters is not None and meters.problem in KEY_PROBLEM_CODES:
            self._has_asked_for_key = True
            self._try_current_key()

    @work(exit_on_error=False, name="try own key")
    async def _try_current_key(self) -> None:
        """Replace a runner with an old key if the dashboard's own key is accepted; else open the key dialog.

        So a user can set the variable and start the dashboard again.
        """
        check = self.options.check_current_key
        if check is None or self._runner_is_in_foreground or await check() is not None:
            self.action_key()
        else:
            await self.session.link.replace_runner()

    def action_key(self) -> None:
        """Ask for a key, check it with the service, and store it."""
        from synthdub_tui.dashboard.screens.setup_key import SetupKeyScreen  # noqa: PLC0415

        path, check = self.options.config_path, self.options.check_key
        if path is None or check is None:
            self.main_screen.status_bar.show_message(
                "The demo has a key of its own." if self.options.demo else "Set SYNTHESIA_API_KEY and start again."
            )
            return
        self.push_screen(SetupKeyScreen(check, path, self.options.key_override), self._handle_key_screen_result)

    def _handle_key_screen_result(self, stored: bool | None) -> None:
        if not stored:
            self.main_screen.status_bar.show_message("No key yet. ctrl+p, “Enter an API key” asks again.")
        else:
            self._use_stored_key()

    @work(exit_on_error=False, name="use stored key")
    async def _use_stored_key(self) -> None:
        """Make the runner read the key again. Replace it if that does not help, or if its flag or variable takes precedence.

        A `synthdub run` is never replaced: the user is asked to start it again.
        """
        ahead, link, main = self.options.key_override, self.session.link, self.main_screen
        before = f" Before the next start take {ahead} away, or put the new key there: it goes first." if ahead else ""
        main.status_bar.show_message(f"The key is stored.{before}", seconds=30 if ahead else MESSAGE_SECONDS)
        link.use_stored_key()
        if self._runner_is_in_foreground or not ahead:
            reply = await link.ask(CheckKeyRequest())
            if reply.code not in KEY_PROBLEM_CODES:
                main.actions.report_if_failed(reply)
                return
        if self._runner_is_in_foreground:
            main.status_bar.show_message(
                "The key is stored, but the `synthdub run` at work has another: end it and start it again.", seconds=30
            )
        elif self.session.is_attached:
            await link.replace_runner()

    # -- terminal ----------------------------------------------------------------------------------------------------

    def request_attention(self, words: str) -> None:
        """The batch ended or needs the user: ring the bell, show a message and, if configured, notify by the terminal."""
        if not self.is_running:
            return  # the app is ending
        self.bell()
        self.main_screen.status_bar.show_event(words, seconds=30)
        if self.options.notify and self._driver is not None and not self.is_headless:
            self._driver.write(f"\x1b]9;{make_printable(words)}\a")

    def clear_attention(self, words: str) -> None:
        """Remove a message of `request_attention` that no longer applies."""
        if self.is_running:
            self.main_screen.status_bar.clear_event(words)

    def action_mouse(self) -> None:
        """Release the mouse, so that it selects text in the terminal, or capture it again."""
        driver = self._driver
        if not isinstance(driver, ResilientDriver):
            return
        held = driver.toggle_mouse()
        self.main_screen.status_bar.show_message(
            "The dashboard has the mouse."
            if held
            else f"The mouse selects text now. {self.keymap.key_label('mouse')} takes it back."
        )

    def action_suspend(self) -> None:
        """Suspend to the shell; `fg` resumes. The runner continues."""
        self.action_suspend_process()

    def action_theme(self) -> None:
        """Choose other colours."""
        self.search_themes()

    def action_ask_quit_again(self) -> None:
        """Forget the remembered answer about quitting."""
        self.ui_state.current.quit = ""
        self.main_screen.status_bar.show_message("Quitting asks again.")

    def _remember_theme(self, theme: object) -> None:
        del theme
        self.ui_state.current.theme = self.theme

    # -- command palette ---------------------------------------------------------------------------------------------

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Commands of the visible screen. A page offers no actions on the grid, since it hides the cursor and the marks."""
        from synthdub_tui.dashboard.screens.base import Page, page_keys  # noqa: PLC0415

        if isinstance(screen, Page):
            for shown, words, action in page_keys(type(screen)):
                yield self._command(screen, words, shown, action)
        for key in ALL_KEYS:
            if key.action != "clear" and (screen is self.main_screen or key.action in ACTIONS_ON_EVERY_SCREEN):
                shown = f"{self.keymap.key_label(key.id)}, in the keymap: {key.id}"
                yield self._command(self.main_screen, key.description, shown, key.action)
        yield SystemCommand("Theme: change the colours", "kept for the next start", self.action_theme)
        if screen is self.main_screen:
            yield self._command(
                self.main_screen, "remove from the batch", "finished, failed and cancelled dubs; files stay", "remove"
            )
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
        return self.ui_state.save_in_background()
