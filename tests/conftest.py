"""How the tests are spread over processes."""

from __future__ import annotations

import os

import pytest


@pytest.hookimpl
def pytest_xdist_auto_num_workers() -> int:
    """Two more than there are cores, since many tests wait: for timeouts, for terminals, for processes of their own."""
    return (os.cpu_count() or 1) + 2
