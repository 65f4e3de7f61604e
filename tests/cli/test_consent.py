"""Questions that stand open in a real terminal while others change the batch: only what was shown, and still is so, is done."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from synthdub_tui.sandbox.config import Fault, SimulatedFailure
from synthdub_tui.store.job_store import JobStore
from tests.cli.conftest import MakeShell, Shell, until
from tests.dashboard.pseudo_terminal import REPO_ROOT, PseudoTerminal
from tests.waiting import wait_for_exit

DE, ES, FR, NL, PT = "de-DE", "es-ES", "fr-FR", "nl-NL", "pt-PT"
FAILED_LANGUAGES: Final = (DE, ES, FR, PT)
LONG_DUB_SECONDS: Final = (3600.0, 3600.0)
YES_NO_PROMPT: Final = "[y/N]"

RunInTerminal = Callable[..., PseudoTerminal]


@pytest.fixture
async def run_in_terminal() -> AsyncIterator[RunInTerminal]:
    """`ask(shell, *words)`: that command in a terminal of its own."""
    with ExitStack() as stack:

        def in_terminal(shell: Shell, *words: str) -> PseudoTerminal:
            environment = {**shell.environment, "PYTHONPATH": str(REPO_ROOT)}
            terminal = PseudoTerminal((sys.executable, "-m", "synthdub_tui", *words), (200, 50), **environment)
            stack.callback(terminal.kill)
            return terminal

        yield in_terminal


class FailedBatch:
    """Four languages of one video have failed, each once, and a fifth keeps the runner at work."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell
        self.start_runner(str(shell.write_video("intro.mp4")), "--targets", ",".join((*FAILED_LANGUAGES, NL)))
        for language in FAILED_LANGUAGES:
            self.wait_for_state(language, "failed")
        self.wait_for_state(NL, "dubbing")

    def start_runner(self, *words: str) -> None:
        """A runner takes up the batch."""
        self.runner: subprocess.Popen[str] = self.shell.start_command(
            "run", "--poll-interval", "0.1", "--tier", "unlimited", *words
        )
        until(lambda: self.runner.poll() is not None or self._runner_pid == self.runner.pid)
        assert self.runner.poll() is None

    @property
    def _runner_pid(self) -> int | None:
        number: int | None = self.shell.read_status()["runner"] if self.shell.state.exists() else None
        return number

    def stop_runner(self) -> None:
        """The runner saves and ends."""
        assert self.shell.run_command("stop").exit_code == 0
        wait_for_exit(self.runner)

    def kill_runner(self) -> None:
        """The runner ends as in a crash."""
        self.runner.kill()
        wait_for_exit(self.runner)

    def wait_for_state(self, language: str, state: str, name: str = "intro.mp4") -> None:
        until(lambda: self.dub_states(name).get(language) == state, lambda: f"{language} {state}, not {self.dub_states(name)}")

    def dub_states(self, name: str = "intro.mp4") -> dict[str, str]:
        files = [file for file in self.shell.read_status()["files"] if Path(file["file"]).name == name]
        return {dub["language"]: dub["state"] for file in files for dub in file["dubs"]}

    def is_sending(self, language: str) -> bool:
        """Whether a paid request for that language is on its way: its intent is on disk, and no answer."""
        jobs = JobStore(str(self.shell.state)).load(set_aside=False).jobs
        return any(job.submission is not None and language in job.submission.languages for job in jobs)

    @property
    def billed_languages(self) -> list[str]:
        """Languages that were billed, each as often as it was."""
        return sorted(language for _, language in self.shell.sandbox.billed_dubs())

    def change_shown_dubs(self) -> None:
        """One dub is given up, one refused by moderation, one becomes unknown by a crash; another one fails."""
        for language in (PT, DE):
            assert self.shell.run_command("retry", f"intro.mp4:{language}", "--yes").exit_code == 0
        until(lambda: self.problem_code(PT) == "moderation")
        self.shell.run_command("cancel", f"intro.mp4:{DE}")
        self.shell.sandbox.inject(Fault("PUT /v2/dubbing/{id}", "hang_before", count=1))
        assert self.shell.run_command("retry", f"intro.mp4:{ES}", "--yes").exit_code == 0
        until(lambda: self.is_sending(ES))
        self.kill_runner()
        self.shell.sandbox.clear_faults()  # the crash may have come before the request
        self.start_runner(str(self.shell.write_video("late.mp4")), "--targets", FR)
        self.wait_for_state(FR, "failed", "late.mp4")

    def start_dubs_that_will_fail(self) -> None:
        """Of the failed dubs, one is retried and goes on at the service; another one waits, since the batch is paused."""
        assert self.shell.run_command("retry", f"intro.mp4:{PT}", "--yes").exit_code == 0
        self.wait_for_state(PT, "dubbing")
        assert self.shell.run_command("pause").exit_code == 0
        assert self.shell.run_command("retry", f"intro.mp4:{ES}", "--yes").exit_code == 0
        self.wait_for_state(ES, "waiting")

    def make_them_fail(self) -> None:
        """The first is refused by moderation. The runner dies while it sends the second, which is unknown since."""
        self.shell.sandbox.advance(LONG_DUB_SECONDS[0])
        until(lambda: self.problem_code(PT) == "moderation")
        self.shell.sandbox.inject(Fault("PUT /v2/dubbing/{id}", "hang_before", count=1))
        assert self.shell.run_command("resume").exit_code == 0
        until(lambda: self.is_sending(ES))
        self.kill_runner()
        self.shell.sandbox.clear_faults()

    def problem_code(self, language: str) -> str:
        """The code of what is wrong with a dub of the first video."""
        (dub,) = [dub for dub in self.shell.read_status()["files"][0]["dubs"] if dub["language"] == language]
        return str(dub.get("problem", {}).get("code", ""))


@pytest.fixture
def failed_batch(make_shell: MakeShell) -> FailedBatch:
    first = tuple(SimulatedFailure(languages=(language,), title="intro*", times=1, after=0.05) for language in FAILED_LANGUAGES)
    later = (SimulatedFailure(code="moderation", languages=(PT,)), SimulatedFailure(title="late*"))
    return FailedBatch(
        make_shell(failures=first + later, dubbing_seconds_by_language=dict.fromkeys((DE, NL), LONG_DUB_SECONDS))
    )


@pytest.mark.parametrize("with_runner", [True, False], ids=["with a runner", "without a runner"])
async def test_only_dubs_unchanged_since_the_question_are_retried(
    failed_batch: FailedBatch, run_in_terminal: RunInTerminal, with_runner: bool
) -> None:
    if not with_runner:
        failed_batch.stop_runner()
    terminal = run_in_terminal(failed_batch.shell, "retry", "failed")
    await terminal.wait_for_output(f"Retry 4 dubs? {YES_NO_PROMPT}")
    if not with_runner:
        failed_batch.start_runner()
    failed_batch.change_shown_dubs()
    if not with_runner:
        failed_batch.stop_runner()
    before = failed_batch.billed_languages
    terminal.type_keys("y\n")
    assert await terminal.wait_for_exit() == 1
    assert "1 dub to be retried" in terminal.text
    assert "3 dubs left alone: changed" in terminal.text
    _, _, named = terminal.text.partition("left alone: changed")
    assert all(f"intro.mp4 {language}" in named for language in (DE, ES, PT))
    assert f"intro.mp4 {FR}" not in named
    _, _, not_shown = named.partition("1 dub left alone: not shown in the question")
    assert f"late.mp4 {FR}" in not_shown and "intro.mp4" not in not_shown
    if not with_runner:
        failed_batch.start_runner()
    failed_batch.wait_for_state(FR, "done")
    assert failed_batch.dub_states() == {DE: "cancelled", ES: "unknown", FR: "done", PT: "failed", NL: "dubbing"}
    assert failed_batch.dub_states("late.mp4") == {FR: "failed"}
    assert failed_batch.billed_languages == sorted([*before, FR])


@pytest.mark.parametrize("with_runner", [True, False], ids=["with a runner", "without a runner"])
async def test_dubs_not_shown_in_the_question_are_listed_but_not_retried(
    make_shell: MakeShell, run_in_terminal: RunInTerminal, with_runner: bool
) -> None:
    """Two languages of the file are in progress when the question is asked. Then one is refused, and one becomes unknown."""
    first = tuple(SimulatedFailure(languages=(language,), times=1, after=0.05) for language in FAILED_LANGUAGES)
    seconds = {NL: (36_000.0, 36_000.0), PT: LONG_DUB_SECONDS}
    shell = make_shell(
        failures=(*first, SimulatedFailure(code="moderation", languages=(PT,))), dubbing_seconds_by_language=seconds
    )
    library = FailedBatch(shell)
    library.start_dubs_that_will_fail()
    terminal = run_in_terminal(shell, "retry", "intro.mp4")
    await terminal.wait_for_output(f"Retry 2 dubs? {YES_NO_PROMPT}")
    library.make_them_fail()
    if with_runner:
        library.start_runner()
    assert library.dub_states() == {DE: "failed", ES: "unknown", FR: "failed", PT: "failed", NL: "dubbing"}
    before = library.billed_languages
    terminal.type_keys("y\n")
    assert await terminal.wait_for_exit() == 0
    assert "2 dubs to be retried" in terminal.text
    _, _, named = terminal.text.partition("2 dubs left alone: not shown in the question")
    assert [f"intro.mp4 {language}" in named for language in FAILED_LANGUAGES] == [False, True, False, True]
    if not with_runner:
        library.start_runner()
    for language in (DE, FR):
        library.wait_for_state(language, "done")
    assert library.dub_states() == {DE: "done", ES: "unknown", FR: "done", PT: "failed", NL: "dubbing"}
    assert library.billed_languages == sorted([*before, DE, FR])


@pytest.mark.parametrize("answer", ["n\n", "\n", "yes please\n", "\x04", "\x03"], ids=["no", "enter", "words", "end", "break"])
async def test_only_yes_counts_as_consent(make_shell: MakeShell, run_in_terminal: RunInTerminal, answer: str) -> None:
    shell = make_shell(failures=(SimulatedFailure(),))
    shell.run_batch(str(shell.write_video("intro.mp4")), "--targets", FR)
    billed, before = shell.sandbox.billed_dubs(), shell.read_status()
    terminal = run_in_terminal(shell, "retry", "failed")
    await terminal.wait_for_output(f"Retry 1 dub? {YES_NO_PROMPT}")
    terminal.type_keys(answer)
    assert await terminal.wait_for_exit() in (1, 130)
    assert "Traceback" not in terminal.text
    assert (shell.sandbox.billed_dubs(), shell.read_status()) == (billed, before)
    assert shell.run_batch().exit_code == 1
    assert shell.sandbox.billed_dubs() == billed


async def test_an_ambiguous_file_name_is_refused_and_nothing_is_sent(
    make_shell: MakeShell, run_in_terminal: RunInTerminal
) -> None:
    shell = make_shell(failures=(SimulatedFailure(),))
    for folder in ("a", "b", "c"):
        (shell.videos / folder).mkdir()
    videos = [shell.write_video(f"{folder}/intro.mp4") for folder in ("a", "b", "c")]
    shell.run_batch(*map(str, videos), "--targets", FR)
    billed = shell.sandbox.billed_dubs()
    terminal = run_in_terminal(shell, "retry", f"intro.mp4:{FR}")
    assert await terminal.wait_for_exit() == 2
    assert all(str(video) in terminal.text for video in videos)
    assert shell.run_command("retry", f"intro.mp4:{FR}", "--yes").exit_code == 2
    terminal = run_in_terminal(shell, "retry", f"{videos[1]}:{FR}")
    await terminal.wait_for_output(f"Retry 1 dub? {YES_NO_PROMPT}")
    assert [str(video) in terminal.text for video in videos] == [False, True, False]
    terminal.type_keys("y\n")
    assert await terminal.wait_for_exit() == 0
    assert shell.run_batch().exit_code == 1
    assert len(shell.sandbox.billed_dubs()) == len(billed) + 1
