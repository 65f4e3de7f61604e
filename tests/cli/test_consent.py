"""Questions that stand open in a real terminal while others change the batch: only what was shown, and still is so, is done."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from synthdub_tui.sandbox.config import Failure, Fault
from synthdub_tui.store.job_store import Store
from tests.cli.conftest import MakeShell, Shell, until
from tests.dashboard.pseudo_terminal import ROOT, Terminal
from tests.waiting import exit_code

DE, ES, FR, NL, PT = "de-DE", "es-ES", "fr-FR", "nl-NL", "pt-PT"
FAILED: Final = (DE, ES, FR, PT)
LONG: Final = (3600.0, 3600.0)
QUESTION: Final = "[y/N]"

Ask = Callable[..., Terminal]


@pytest.fixture
async def ask() -> AsyncIterator[Ask]:
    """`ask(shell, *words)`: that command in a terminal of its own."""
    with ExitStack() as stack:

        def in_terminal(shell: Shell, *words: str) -> Terminal:
            environment = {**shell.environment, "PYTHONPATH": str(ROOT)}
            terminal = Terminal((sys.executable, "-m", "synthdub_tui", *words), (200, 50), **environment)
            stack.callback(terminal.close)
            return terminal

        yield in_terminal


class Library:
    """Four languages of one video have failed, each once, and a fifth keeps the runner at work."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell
        self.work(str(shell.video("intro.mp4")), "--targets", ",".join((*FAILED, NL)))
        for language in FAILED:
            self.becomes(language, "failed")
        self.becomes(NL, "dubbing")

    def work(self, *words: str) -> None:
        """A runner takes up the batch."""
        self.runner: subprocess.Popen[str] = self.shell.start("run", "--poll-interval", "0.1", "--tier", "unlimited", *words)
        until(lambda: self.runner.poll() is not None or self._runner == self.runner.pid)
        assert self.runner.poll() is None

    @property
    def _runner(self) -> int | None:
        number: int | None = self.shell.status()["runner"] if self.shell.state.exists() else None
        return number

    def rest(self) -> None:
        """The runner saves and ends."""
        assert self.shell.call("stop").code == 0
        exit_code(self.runner)

    def kill(self) -> None:
        """The runner ends as in a crash."""
        self.runner.kill()
        exit_code(self.runner)

    def becomes(self, language: str, state: str, name: str = "intro.mp4") -> None:
        until(lambda: self.states(name).get(language) == state, lambda: f"{language} {state}, not {self.states(name)}")

    def states(self, name: str = "intro.mp4") -> dict[str, str]:
        files = [file for file in self.shell.status()["files"] if Path(file["file"]).name == name]
        return {dub["language"]: dub["state"] for file in files for dub in file["dubs"]}

    def begins(self, language: str) -> bool:
        """Whether a paid request for that language is on its way: its intent is on disk, and no answer."""
        jobs = Store(str(self.shell.state)).load(set_aside=False).jobs
        return any(job.submission is not None and language in job.submission.languages for job in jobs)

    @property
    def billed(self) -> list[str]:
        """Languages that were billed, each as often as it was."""
        return sorted(language for _, language in self.shell.sandbox.billed())

    def change_what_was_shown(self) -> None:
        """One dub is given up, one refused by moderation, one becomes unknown by a crash; another one fails."""
        for language in (PT, DE):
            assert self.shell.call("retry", f"intro.mp4:{language}", "--yes").code == 0
        until(lambda: self.problem(PT) == "moderation")
        self.shell.call("cancel", f"intro.mp4:{DE}")
        self.shell.sandbox.inject(Fault("PUT /v2/dubbing/{id}", "hang_before", count=1))
        assert self.shell.call("retry", f"intro.mp4:{ES}", "--yes").code == 0
        until(lambda: self.begins(ES))
        self.kill()
        self.shell.sandbox.clear_faults()  # the crash may have come before the request
        self.work(str(self.shell.video("late.mp4")), "--targets", FR)
        self.becomes(FR, "failed", "late.mp4")

    def begin_what_will_go_wrong(self) -> None:
        """Of the failed dubs, one is retried and goes on at the service; another one waits, since the batch is paused."""
        assert self.shell.call("retry", f"intro.mp4:{PT}", "--yes").code == 0
        self.becomes(PT, "dubbing")
        assert self.shell.call("pause").code == 0
        assert self.shell.call("retry", f"intro.mp4:{ES}", "--yes").code == 0
        self.becomes(ES, "waiting")

    def let_it_go_wrong(self) -> None:
        """The first is refused by moderation. The runner dies while it sends the second, which is unknown since."""
        self.shell.sandbox.advance(LONG[0])
        until(lambda: self.problem(PT) == "moderation")
        self.shell.sandbox.inject(Fault("PUT /v2/dubbing/{id}", "hang_before", count=1))
        assert self.shell.call("resume").code == 0
        until(lambda: self.begins(ES))
        self.kill()
        self.shell.sandbox.clear_faults()

    def problem(self, language: str) -> str:
        """The code of what is wrong with a dub of the first video."""
        (dub,) = [dub for dub in self.shell.status()["files"][0]["dubs"] if dub["language"] == language]
        return str(dub.get("problem", {}).get("code", ""))


@pytest.fixture
def library(make_shell: MakeShell) -> Library:
    first = tuple(Failure(languages=(language,), title="intro*", times=1, after=0.05) for language in FAILED)
    later = (Failure(code="moderation", languages=(PT,)), Failure(title="late*"))
    return Library(make_shell(failures=first + later, dubbing_seconds_by_language=dict.fromkeys((DE, NL), LONG)))


@pytest.mark.parametrize("with_runner", [True, False], ids=["with a runner", "without a runner"])
async def test_only_what_was_shown_and_is_still_so_is_retried(library: Library, ask: Ask, with_runner: bool) -> None:
    if not with_runner:
        library.rest()
    terminal = ask(library.shell, "retry", "failed")
    await terminal.shows(f"Retry 4 dubs? {QUESTION}")
    if not with_runner:
        library.work()
    library.change_what_was_shown()
    if not with_runner:
        library.rest()
    before = library.billed
    terminal.type("y\n")
    assert await terminal.ended() == 1
    assert "1 dub to be retried" in terminal.text
    assert "3 dubs left alone: changed" in terminal.text
    _, _, named = terminal.text.partition("left alone: changed")
    assert all(f"intro.mp4 {language}" in named for language in (DE, ES, PT))
    assert f"intro.mp4 {FR}" not in named
    _, _, not_shown = named.partition("1 dub left alone: not shown in the question")
    assert f"late.mp4 {FR}" in not_shown and "intro.mp4" not in not_shown
    if not with_runner:
        library.work()
    library.becomes(FR, "done")
    assert library.states() == {DE: "cancelled", ES: "unknown", FR: "done", PT: "failed", NL: "dubbing"}
    assert library.states("late.mp4") == {FR: "failed"}
    assert library.billed == sorted([*before, FR])


@pytest.mark.parametrize("with_runner", [True, False], ids=["with a runner", "without a runner"])
async def test_what_was_not_shown_is_named_and_not_retried(make_shell: MakeShell, ask: Ask, with_runner: bool) -> None:
    """Two languages of the file are in progress when the question is asked. Then one is refused, and one becomes unknown."""
    first = tuple(Failure(languages=(language,), times=1, after=0.05) for language in FAILED)
    seconds = {NL: (36_000.0, 36_000.0), PT: LONG}
    shell = make_shell(failures=(*first, Failure(code="moderation", languages=(PT,))), dubbing_seconds_by_language=seconds)
    library = Library(shell)
    library.begin_what_will_go_wrong()
    terminal = ask(shell, "retry", "intro.mp4")
    await terminal.shows(f"Retry 2 dubs? {QUESTION}")
    library.let_it_go_wrong()
    if with_runner:
        library.work()
    assert library.states() == {DE: "failed", ES: "unknown", FR: "failed", PT: "failed", NL: "dubbing"}
    before = library.billed
    terminal.type("y\n")
    assert await terminal.ended() == 0
    assert "2 dubs to be retried" in terminal.text
    _, _, named = terminal.text.partition("2 dubs left alone: not shown in the question")
    assert [f"intro.mp4 {language}" in named for language in FAILED] == [False, True, False, True]
    if not with_runner:
        library.work()
    for language in (DE, FR):
        library.becomes(language, "done")
    assert library.states() == {DE: "done", ES: "unknown", FR: "done", PT: "failed", NL: "dubbing"}
    assert library.billed == sorted([*before, DE, FR])


@pytest.mark.parametrize("answer", ["n\n", "\n", "yes please\n", "\x04", "\x03"], ids=["no", "enter", "words", "end", "break"])
async def test_nothing_but_yes_is_a_consent(make_shell: MakeShell, ask: Ask, answer: str) -> None:
    shell = make_shell(failures=(Failure(),))
    shell.run(str(shell.video("intro.mp4")), "--targets", FR)
    billed, before = shell.sandbox.billed(), shell.status()
    terminal = ask(shell, "retry", "failed")
    await terminal.shows(f"Retry 1 dub? {QUESTION}")
    terminal.type(answer)
    assert await terminal.ended() in (1, 130)
    assert "Traceback" not in terminal.text
    assert (shell.sandbox.billed(), shell.status()) == (billed, before)
    assert shell.run().code == 1
    assert shell.sandbox.billed() == billed


async def test_a_name_that_three_folders_have_is_asked_to_be_precise_and_nothing_is_sent(
    make_shell: MakeShell, ask: Ask
) -> None:
    shell = make_shell(failures=(Failure(),))
    for folder in ("a", "b", "c"):
        (shell.videos / folder).mkdir()
    videos = [shell.video(f"{folder}/intro.mp4") for folder in ("a", "b", "c")]
    shell.run(*map(str, videos), "--targets", FR)
    billed = shell.sandbox.billed()
    terminal = ask(shell, "retry", f"intro.mp4:{FR}")
    assert await terminal.ended() == 2
    assert all(str(video) in terminal.text for video in videos)
    assert shell.call("retry", f"intro.mp4:{FR}", "--yes").code == 2
    terminal = ask(shell, "retry", f"{videos[1]}:{FR}")
    await terminal.shows(f"Retry 1 dub? {QUESTION}")
    assert [str(video) in terminal.text for video in videos] == [False, True, False]
    terminal.type("y\n")
    assert await terminal.ended() == 0
    assert shell.run().code == 1
    assert len(shell.sandbox.billed()) == len(billed) + 1
