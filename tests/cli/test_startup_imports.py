"""What each command may import: commands that only look must start at once."""

from __future__ import annotations

import sys

import pytest

from tests.cli.conftest import Shell

HELP = {"cli", "errors", "problems", "text"}
LOOK = HELP | {
    *("commands", "humanize", "jobs", "jobs.model", "jobs.batch_options", "runner", "runner.output_presence"),
    *("settings", "settings.config_file", "settings.model", "settings.resolve", "sources", "sources.same_file"),
    *("store", "store.codec", "store.interning", "store.job_store", "store.migrations", "files"),
}
ENGINE = {"asyncio", "boto3", "httpx", "rtoml", "tomli_w", "ssl"}

MAY: dict[tuple[str, ...], set[str]] = {
    ("--help",): HELP,
    ("--version",): HELP,
    ("run", "--help"): HELP,
    ("languages",): HELP | {"commands", "commands.languages", "languages"},
    ("status",): LOOK | {"commands.status", "ipc", "ipc.socket_path", "runner.events", "msgspec", "platformdirs"},
    ("outputs",): LOOK | {"commands.outputs", "msgspec", "platformdirs"},
}
"""The modules of this program and the packages of others that a command may import."""

COSTLY = {"asyncio", "ssl", "json", "tomllib", "socket"}
"""Modules of Python itself that the same commands do without."""


BARE = {"sitecustomize", "_distutils_hack", "typing_extensions", "org"}
"""What the environment of a test run brings in before any program, and what msgspec imports and platformdirs asks for."""


USUAL = {"SYNTHDUB_API_URL": None, "SYNTHDUB_S3_ENDPOINT_URL": None}
"""The environment of a user."""


def imported(shell: Shell, *words: str, **environment: str | None) -> set[str]:
    """Modules that a command imports, by `python -X importtime`."""
    said = shell.call(*words, PYTHONPROFILEIMPORTTIME="1", **environment)
    assert said.code == 0
    lines = [line for line in said.err.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines} - {"imported package"}


def packages(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


@pytest.mark.parametrize("words", MAY)
def test_commands_that_only_look_import_what_they_need(shell: Shell, words: tuple[str, ...]) -> None:
    modules = imported(shell, *words, **USUAL)
    own = {name.removeprefix("synthdub_tui.") for name in modules if name.startswith("synthdub_tui.")}
    others = packages(modules) - sys.stdlib_module_names - BARE - {"synthdub_tui"}
    assert own | {name for name in others if not name.startswith("_")} <= MAY[words]
    assert packages(modules) & COSTLY == set()


def test_looking_at_a_batch_takes_a_parser_more(shell: Shell) -> None:
    shell.run(str(shell.video("intro.mp4")), "--targets", "fr-FR")
    assert "rtoml" in packages(imported(shell, "status", **USUAL))
    assert packages(imported(shell, "outputs", **USUAL)) & ENGINE == {"rtoml"}


def test_the_engine_needs_no_textual(shell: Shell) -> None:
    shell.video("intro.mp4")
    modules = imported(shell, "run", str(shell.videos), "--targets", "fr-FR", "--poll-interval", "0.1")
    assert packages(modules) & {"textual", "asyncio"} == {"asyncio"}
