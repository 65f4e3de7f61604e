"""Rate limits per endpoint, as sliding windows: the strictest reading of "requests per minute, hour and day"."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from synthdub_tui.sandbox.config import TIERS, EndpointRate, SandboxConfig

_WINDOWS: Final = (("minute", 60.0), ("hour", 3600.0), ("day", 86400.0))


@dataclass(frozen=True)
class Exceeded:
    """The exceeded limit, and the seconds until a request is allowed again."""

    limit: int
    reset: float


class Limits:
    """Counts the requests to each endpoint. A refused request does not count."""

    def __init__(self, config: SandboxConfig) -> None:
        self._config = config
        self._seen: defaultdict[str, list[float]] = defaultdict(list)

    def count_request(self, endpoint: str, now: float) -> Exceeded | None:
        """Count a request, or return the limit that forbids it."""
        rate = self._rate(endpoint)
        seen = self._seen[endpoint]
        del seen[: bisect_right(seen, now - _WINDOWS[-1][1])]
        hits = [hit for name, seconds in _WINDOWS if (hit := _exceeded_limit(seen, getattr(rate, name), seconds, now))]
        if hits:
            return max(hits, key=lambda hit: hit.reset)
        seen.append(now)
        return None

    def _rate(self, endpoint: str) -> EndpointRate:
        for pattern, rate in self._config.limits.items():
            if fnmatchcase(endpoint, pattern):
                return rate
        if not endpoint.startswith(("GET", "POST", "PUT")):
            return EndpointRate()  # the tiers limit the API, not the storage
        writes, reads = TIERS[self._config.tier]
        return reads if endpoint.startswith("GET") else writes


def _exceeded_limit(seen: list[float], limit: int | None, seconds: float, now: float) -> Exceeded | None:
    if limit is None:
        return None
    if len(seen) - bisect_right(seen, now - seconds) < limit:
        return None
    frees = seen[-limit] if limit else now
    return Exceeded(limit, max(0.0, frees + seconds - now))
