"""Tests of commands work on the runner's bench, too."""

from __future__ import annotations

from tests.runner.conftest import bench, make_bench

__all__ = ["bench", "make_bench"]
