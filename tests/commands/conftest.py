"""Tests of commands work on the runner's bench, too."""

from __future__ import annotations

from tests.runner.conftest import make_workspace, workspace

__all__ = ["make_workspace", "workspace"]
