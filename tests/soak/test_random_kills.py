"""The soak of kills in its short form."""

from __future__ import annotations

from pathlib import Path

from tests.soak.random_kills import SHORT_SIZE, run_soak


def test_a_batch_survives_kills(tmp_path: Path) -> None:
    counts, violations = run_soak(tmp_path, seed=1, seconds=240, kills=SHORT_SIZE.kill_range[1], size=SHORT_SIZE)
    assert violations == []
    assert counts["kills"] >= SHORT_SIZE.kill_range[1]
    assert counts["done"] == SHORT_SIZE.files * SHORT_SIZE.languages
