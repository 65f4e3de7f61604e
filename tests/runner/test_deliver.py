"""How young a source may be when it is sent: in `tests/proofs/test_exfat.py` it is on a file system of whole seconds."""

from __future__ import annotations

import pytest

from synthdub_tui.jobs.model import Source
from synthdub_tui.runner.deliver import settling

SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("mtime_ns", "now", "seconds"),
    [
        (1000 * SECOND, 1000.0, 2.0),  # written in this very second
        (1000 * SECOND, 1001.5, 0.5),
        (1000 * SECOND, 1002.0, 0.0),  # a change now has another time, even where they are of two seconds
        (1000 * SECOND, 9000.0, 0.0),
        (1000 * SECOND, 100.0, 2.0),  # of a clock that is ahead: not waited for
        (1000 * SECOND + 1, 1000.0, 0.0),  # times are finer here
    ],
)
def test_how_long_a_source_of_whole_seconds_is_left_alone(mtime_ns: int, now: float, seconds: float) -> None:
    assert settling(Source("/v/a.mp4", 1, mtime_ns, "video/mp4"), now) == pytest.approx(seconds)
