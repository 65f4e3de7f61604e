"""How the tests are spread over processes."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_timeout
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadFileScheduling

settings.register_profile("busy machines", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("busy machines")

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed program does not compile itself at every start
sys.dont_write_bytecode = False

TEARDOWN_LIMIT_SECONDS = 300.0


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Two more than there are cores, since many tests wait: for timeouts, for terminals, for processes of their own."""
    return (os.cpu_count() or 1) + 2


FILES_TO_START_FIRST: Final = (
    "tests/proofs/test_network_table.py",
    "tests/runner/test_kill_points.py",
    "tests/runner/test_with_independent_fake.py",
    "tests/soak/test_random_kills.py",
    "tests/cli/test_signals.py",
    "tests/benchmarks/test_short_benchmarks.py",
    "tests/proofs/test_exfat.py",
    "tests/cli/test_commands.py",
    "tests/cli/test_utf8_mode.py",
    "tests/dashboard/test_screenshots.py",
)
"""Begun first: one of them at the end would be waited for by all the other processes."""

FILES_SPLIT_BY_TEST: Final = frozenset(
    {
        "tests/benchmarks/test_short_benchmarks.py",
        "tests/cli/test_commands.py",
        "tests/cli/test_utf8_mode.py",
        "tests/cli/test_signals.py",
        "tests/proofs/test_exfat.py",
    }
)
"""Their tests take seconds each and share nothing, so each goes to whichever process is free; other files stay together."""


class FileScheduling(LoadFileScheduling):
    """Which tests one process takes as a whole."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return nodeid if file in FILES_SPLIT_BY_TEST else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    return FileScheduling(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {file: place for place, file in enumerate(FILES_TO_START_FIRST)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(places)))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Bound what ends a test, too: pytest-timeout stops its clock as soon as a test fails."""
    limit = pytest_timeout.Settings(TEARDOWN_LIMIT_SECONDS, "signal", func_only=False, disable_debugger_detection=False)
    item.config.hook.pytest_timeout_set_timer(item=item, settings=limit)


@pytest.fixture(autouse=True, scope="session")
def _default_signal_handlers() -> None:
    """Programs inherit which signals are ignored: after `nohup pytest`, those that tests start would outlive a hang-up, and
    after `pytest &` in a script Ctrl+C."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _separate_data_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Receipts of what was paid outlive state directories, but no test."""
    data: Path = tmp_path_factory.mktemp("data")
    monkeypatch.setenv("SYNTHDUB_DATA_DIR", str(data))
    monkeypatch.setenv("XDG_DATA_HOME", str(data))  # where a test gives settings an environment of its own
