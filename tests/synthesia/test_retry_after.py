"""Every way in which a service may say when to come back."""

from __future__ import annotations

import pytest

from synthdub_tui.synthesia.retry_after import requested_wait

NOW = 1_792_584_000.0  # Wed, 21 Oct 2026 12:00:00 GMT


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "30"}, 30),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "0"}, 1),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": "1e300"}, 86_400),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "Wed, 21 Oct 2026 12:02:00 GMT"}, 120),
        ({"retry-after": "Wed, 21 Oct 2026 11:00:00 GMT"}, 1),
        ({"retry-after": "Wed, 21 Oct 2026 12:02:00 GMT", "date": "Wed, 21 Oct 2026 12:01:50 GMT"}, 10),
        ({"retry-after": str(int(NOW + 90))}, 90),
        ({"ratelimit-reset": str(NOW + 90), "date": "Wed, 21 Oct 2026 12:01:20 GMT"}, 10),
        ({"ratelimit-reset": "Wed, 21 Oct 2026 12:02:00 GMT"}, 120),
        ({"retry-after": "Wed, 99 Oct 2026 99:02:00 GMT"}, None),
        ({"ratelimit-reset": "45"}, 45),
        ({"ratelimit-reset": str(NOW + 90)}, 90),
        ({"ratelimit-reset": str(int(NOW + 90) * 1000)}, 90),
        ({"ratelimit-reset": "1000000001"}, 1),
        ({"ratelimit-reset": "500000"}, 86_400),
        ({"ratelimit-reset": "garbage"}, None),
        ({"ratelimit-reset": "45", "retry-after": "7"}, 7),
        ({"ratelimit-reset": "45", "retry-after": "soon"}, 45),
    ],
)
def test_asked_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert requested_wait(headers, now=NOW) == (None if seconds is None else pytest.approx(seconds))
