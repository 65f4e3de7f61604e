"""How the tests are spread over processes."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
import pytest_timeout
from hypothesis import HealthCheck, settings

settings.register_profile("busy machines", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("busy machines")

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed program does not compile itself at every start
sys.dont_write_bytecode = False

END_SECONDS = 300.0


@pytest.hookimpl
def pytest_xdist_auto_num_workers() -> int:
    """Two more than there are cores, since many tests wait: for timeouts, for terminals, for processes of their own."""
    return (os.cpu_count() or 1) + 2


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Bound what ends a test, too: pytest-timeout stops its clock as soon as a test fails."""
    limit = pytest_timeout.Settings(END_SECONDS, "signal", func_only=False, disable_debugger_detection=False)
    item.config.hook.pytest_timeout_set_timer(item=item, settings=limit)


@pytest.fixture(autouse=True, scope="session")
def _hang_ups_end_programs() -> None:
    """Programs inherit which signals are ignored: after `nohup pytest`, those that tests start would outlive a hang-up."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def _apart(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Receipts of what was paid outlive state directories, but no test."""
    data: Path = tmp_path_factory.mktemp("data")
    monkeypatch.setenv("SYNTHDUB_DATA_DIR", str(data))
    monkeypatch.setenv("XDG_DATA_HOME", str(data))  # where a test gives settings an environment of its own
