"""A state directory of 0.1 is taken over: whatever opens it, nothing that was paid for is paid for again."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from synthdub_tui.jobs.model import OPEN_STATES, Dub, DubState
from synthdub_tui.store.job_store import JobStore
from tests import legacy_state
from tests.cli.conftest import MakeShell, Shell, until

NEVER_SENT = {("uploading", "fr-FR"), ("uploading", "es-ES"), ("waiting", "fr-FR"), ("waiting", "es-ES")}
"""Title and language of what 0.1 had not asked for: the only dubs that may be paid for."""

ENDED_STATES = {DubState.DONE, DubState.FAILED, DubState.CANCELLED, DubState.UNKNOWN}

DubsByTitle = dict[tuple[str, str], Dub]


@pytest.fixture
def shell(make_shell: MakeShell) -> Shell:
    made = make_shell()
    legacy_state.write_legacy_state(made.home, made.state)
    legacy_state.load_legacy_service(made.sandbox)
    return made


def dubs_by_title(shell: Shell) -> DubsByTitle:
    """The dubs by title and language."""
    jobs = JobStore(str(shell.state)).load(set_aside=False).jobs
    return {(job.options.title, language): dub for job in jobs for language, dub in job.dubs.items()}


def library_arguments(shell: Shell) -> list[str]:
    return [str(shell.home / "lib"), "--targets", "fr-FR,es-ES"]


def studio_arguments(shell: Shell) -> list[str]:
    outputs = ["--output-dir", str(shell.home / "out")]
    options = ["--title", "Spring", "--lipsync", "--video-duration", "original"]
    return [str(shell.home / "studio"), *outputs, "--targets", "ja,de-DE", *options]


def billed_dubs(shell: Shell) -> list[tuple[str, str]]:
    return sorted((shell.sandbox.state.projects[project].title, language) for project, language in shell.sandbox.billed_dubs())


def facts_of_ended_dubs(dubs: DubsByTitle) -> dict[tuple[str, str], Any]:
    """What must stay as it is of the dubs that had ended."""
    return {
        cell: (dub.state, dub.project, dub.video, dub.output, dub.failure and dub.failure.code)
        for cell, dub in dubs.items()
        if dub.state in ENDED_STATES
    }


def read_state_files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.toml")}


def assert_all_continued(before: DubsByTitle, after: DubsByTitle) -> None:
    ended = facts_of_ended_dubs(before)
    assert {cell: what for cell, what in facts_of_ended_dubs(after).items() if cell in ended} == ended
    went_on = {cell: dub.state for cell, dub in after.items() if cell not in ended}
    assert went_on == {cell: DubState.UNKNOWN if cell[0] == "intent" else DubState.DONE for cell in before if cell not in ended}


def test_running_again_on_legacy_state_pays_only_for_unsent_dubs(shell: Shell) -> None:
    """Done, failed, cancelled and unknown stay; what was interrupted goes on; a request without an answer is unknown."""
    before, kept = dubs_by_title(shell), read_state_files(shell.state)
    assert len(before) == 30
    for words in (library_arguments(shell), studio_arguments(shell), library_arguments(shell)):
        said = shell.run_batch(*words, "--settle", "0")  # the test has just written these files, 0.1 had not
        assert (said.exit_code, "Traceback" in said.err) in ((0, False), (1, False))
    assert billed_dubs(shell) == sorted(NEVER_SENT)
    assert_all_continued(before, dubs_by_title(shell))
    assert read_state_files(shell.state / "backup-schema-2") == kept


def test_a_background_runner_continues_legacy_state(shell: Shell) -> None:
    before = dubs_by_title(shell)
    shell.start_command(
        "runner", "--state-dir", str(shell.state), "--tier", "unlimited", "--poll-interval", "0.1", "--settle", "0"
    )
    until(lambda: shell.read_status()["runner"])
    until(lambda: not any(dub.state in OPEN_STATES for dub in dubs_by_title(shell).values()))
    assert shell.run_command("stop").exit_code == 0
    assert billed_dubs(shell) == sorted(NEVER_SENT)
    assert_all_continued(before, dubs_by_title(shell))


def test_status_shows_legacy_state_and_changes_nothing(shell: Shell) -> None:
    kept = read_state_files(shell.state)
    found = shell.read_status()
    assert {state: found[state] for state in ("jobs", "dubs", "done", "failed", "cancelled", "unknown", "damaged")} == {
        "jobs": 15,
        "dubs": 30,
        "done": 12,
        "failed": 4,
        "cancelled": 2,
        "unknown": 4,  # with what was being sent when it ended
        "damaged": [],
    }
    assert {row["present"] for row in map(json.loads, shell.run_command("outputs", "--json").out.splitlines())} == {"yes"}
    assert read_state_files(shell.state) == kept
    assert billed_dubs(shell) == []


def test_cancel_and_retry_work_on_legacy_state(shell: Shell) -> None:
    kept = read_state_files(shell.state)
    assert shell.run_command("cancel", "waiting.mp4", "uploading.mp4:es-ES").exit_code == 0
    assert shell.run_command("retry", "failed-language.mp4:es-ES", "--yes").exit_code == 0
    assert read_state_files(shell.state / "backup-schema-2") == kept
    shell.run_batch("--settle", "0")
    assert billed_dubs(shell) == [("failed-language", "es-ES"), ("uploading", "fr-FR")]


def test_dubs_that_may_be_paid_are_not_retried_without_consent(shell: Shell) -> None:
    shell.run_command("retry", "unknown.mp4", "intent.mp4", "failed")
    shell.run_command("cancel", "waiting.mp4", "uploading.mp4")
    shell.run_batch("--settle", "0")
    assert billed_dubs(shell) == []


def test_a_touched_source_is_not_paid_for_without_consent(shell: Shell) -> None:
    """0.1 kept no digest: whether its content changed is not known, so the user decides."""
    shell.run_command("cancel", "waiting.mp4", "uploading.mp4")
    touched = shell.home / "lib" / "Café Zürich.mp4"
    os.utime(touched, (1.7e9, 1.7e9))
    shell.run_batch(*library_arguments(shell), "--settle", "0")
    assert billed_dubs(shell) == []
    shell.run_batch(*library_arguments(shell), "--settle", "0", "--yes")
    assert billed_dubs(shell) == [("Café Zürich", "es-ES"), ("Café Zürich", "fr-FR")]


def test_a_moved_library_is_not_paid_for_without_consent(shell: Shell) -> None:
    shell.run_command("cancel", "waiting.mp4", "uploading.mp4")
    (shell.home / "lib").rename(shell.home / "library")
    shell.run_batch(str(shell.home / "library"), "--targets", "fr-FR,es-ES", "--settle", "0")
    assert billed_dubs(shell) == []
