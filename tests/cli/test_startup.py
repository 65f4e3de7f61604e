"""What each command may import: commands that only look must start at once."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Shell

HEAVY = {"textual", "rich", "boto3", "botocore", "s3transfer", "httpx", "httpcore", "h11", "asyncio", "ssl"}


def imported(shell: Shell, *words: str) -> set[str]:
    """Top-level packages that a command imports, by `python -X importtime`."""
    said = shell.call(*words, PYTHONPROFILEIMPORTTIME="1")
    assert said.code == 0
    lines = [line for line in said.err.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


@pytest.mark.parametrize("words", [("--help",), ("--version",), ("run", "--help"), ("status",), ("outputs",), ("languages",)])
def test_commands_that_only_look_import_nothing_heavy(shell: Shell, words: tuple[str, ...]) -> None:
    assert imported(shell, *words) & HEAVY == set()


@pytest.mark.parametrize("words", [("--help",), ("--version",), ("languages",)])
def test_help_needs_no_schemas_either(shell: Shell, words: tuple[str, ...]) -> None:
    assert imported(shell, *words) & {"msgspec", "tomllib", "platformdirs", "socket"} == set()


def test_the_engine_needs_no_textual(shell: Shell) -> None:
    shell.video("intro.mp4")
    assert imported(shell, "run", str(shell.videos), "--targets", "fr-FR", "--poll-interval", "0.1") & {"textual"} == set()
