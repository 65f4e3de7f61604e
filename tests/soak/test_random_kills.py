"""The soak of kills in its short form."""

from __future__ import annotations

from pathlib import Path

from tests.soak.random_kills import SHORT, soak


def test_a_batch_survives_kills(tmp_path: Path) -> None:
    counts, violations = soak(tmp_path, seed=1, seconds=240, kills=SHORT.kills[1], size=SHORT)
    assert violations == []
    assert counts["kills"] >= SHORT.kills[1]
    assert counts["done"] == SHORT.files * SHORT.languages
