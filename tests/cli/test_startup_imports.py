"""What each command may import: commands that only look must start at once."""

from __future__ import annotations

import sys

import pytest

from synthdub_tui.cli import COMMANDS, INTERNAL_COMMANDS
from tests.cli.conftest import Shell

PARSER_MODULES = {"cli", "errors", "problems", "text", "commands", "commands.options"}
HELP_MODULES = PARSER_MODULES | {"commands.dashboard"}
STATUS_MODULES = PARSER_MODULES | {
    *("humanize", "jobs", "jobs.model", "jobs.batch_options", "runner", "runner.output_presence"),
    *("settings", "settings.config_file", "settings.model", "settings.resolve", "sources", "sources.same_file"),
    *("store", "store.codec", "store.interning", "store.job_store", "store.migrations", "files"),
}
RUNNER_PACKAGES = {"asyncio", "boto3", "httpx", "rtoml", "tomli_w", "ssl"}

ALLOWED_MODULES: dict[tuple[str, ...], set[str]] = {
    ("--help",): HELP_MODULES,
    ("--version",): HELP_MODULES,
    ("run", "--help"): PARSER_MODULES | {"commands.run"},
    ("languages",): PARSER_MODULES | {"commands.languages", "languages"},
    ("status",): STATUS_MODULES | {"commands.status", "ipc", "ipc.socket_path", "runner.events", "msgspec", "platformdirs"},
    ("outputs",): STATUS_MODULES | {"commands.outputs", "msgspec", "platformdirs"},
}
"""The modules of this program and the packages of others that a command may import."""

COSTLY_PACKAGES = {"asyncio", "ssl", "json", "tomllib", "socket"}
"""Modules of Python itself that the same commands do without."""


INTERPRETER_PACKAGES = {"sitecustomize", "_distutils_hack", "typing_extensions", "org"}
"""What the environment of a test run brings in before any program, and what msgspec imports and platformdirs asks for."""


USUAL_ENVIRONMENT = {"SYNTHDUB_API_URL": None, "SYNTHDUB_S3_ENDPOINT_URL": None}
"""The environment of a user."""


def imported_modules(shell: Shell, *words: str, **environment: str | None) -> set[str]:
    """Modules that a command imports, by `python -X importtime`."""
    said = shell.run_command(*words, PYTHONPROFILEIMPORTTIME="1", **environment)
    assert said.exit_code == 0
    lines = [line for line in said.err.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines} - {"imported package"}


def top_level_packages(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


@pytest.mark.parametrize("words", ALLOWED_MODULES)
def test_read_only_commands_import_only_what_they_need(shell: Shell, words: tuple[str, ...]) -> None:
    modules = imported_modules(shell, *words, **USUAL_ENVIRONMENT)
    own = {name.removeprefix("synthdub_tui.") for name in modules if name.startswith("synthdub_tui.")}
    others = top_level_packages(modules) - sys.stdlib_module_names - INTERPRETER_PACKAGES - {"synthdub_tui"}
    assert own | {name for name in others if not name.startswith("_")} <= ALLOWED_MODULES[words]
    assert top_level_packages(modules) & COSTLY_PACKAGES == set()


def test_reading_a_batch_imports_only_the_toml_parser_more(shell: Shell) -> None:
    shell.run_batch(str(shell.write_video("intro.mp4")), "--targets", "fr-FR")
    assert "rtoml" in top_level_packages(imported_modules(shell, "status", **USUAL_ENVIRONMENT))
    assert top_level_packages(imported_modules(shell, "outputs", **USUAL_ENVIRONMENT)) & RUNNER_PACKAGES == {"rtoml"}


def test_a_run_does_not_import_textual(shell: Shell) -> None:
    shell.write_video("intro.mp4")
    modules = imported_modules(shell, "run", str(shell.videos), "--targets", "fr-FR", "--poll-interval", "0.1")
    assert top_level_packages(modules) & {"textual", "asyncio"} == {"asyncio"}


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - INTERNAL_COMMANDS))
def test_the_help_of_a_command_does_not_load_what_only_its_work_needs(shell: Shell, command: str) -> None:
    loaded = top_level_packages(imported_modules(shell, command, "--help", **USUAL_ENVIRONMENT))
    assert loaded & (RUNNER_PACKAGES | {"botocore", "h11", "textual", "tomllib"}) == set()
