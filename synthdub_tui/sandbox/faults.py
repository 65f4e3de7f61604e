"""Chooses the fault that affects a request, and applies it."""

from __future__ import annotations

import json
import math
import random
import threading
from dataclasses import replace
from email.utils import formatdate
from fnmatch import fnmatchcase
from typing import Any, Final

from synthdub_tui.sandbox.config import Fault
from synthdub_tui.sandbox.http_server import Response, ResponseDelivery

KINDS_BEFORE_PROCESSING: Final = frozenset({"reset_before", "hang_before", "status", "rate_limit"})
"""Kinds that prevent the processing of a request."""


class Faults:
    """The active faults. `inject` and `clear` may be called from any thread."""

    def __init__(self, faults: tuple[Fault, ...], seed: int) -> None:
        self._lock = threading.Lock()
        self._seed = seed
        self._faults = [_ActiveFault(fault, seed + index) for index, fault in enumerate(faults)]

    def inject(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(_ActiveFault(fault, self._seed + len(self._faults)))

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def fault_for(self, endpoint: str, path: str) -> Fault | None:
        """The first fault that affects this request, if any. All matching faults count the request."""
        with self._lock:
            struck = [armed for armed in self._faults if armed.applies_to(endpoint, path)]
            if not struck:
                return None
            struck[0].affected_requests += 1
            return struck[0].fault


class _ActiveFault:
    """A fault, with the numbers of matching requests (`matching_requests`) and of affected ones (`affected_requests`)."""

    def __init__(self, fault: Fault, seed: int) -> None:
        self.fault = fault
        self.matching_requests = 0
        self.affected_requests = 0
        self._random = random.Random(seed)  # noqa: S311 - for tests, not for secrets

    def applies_to(self, endpoint: str, path: str) -> bool:
        fault = self.fault
        if not (fnmatchcase(endpoint, fault.endpoint) and fnmatchcase(path, fault.path)):
            return False
        self.matching_requests += 1
        if fault.count is not None and self.affected_requests >= fault.count:
            return False
        if fault.nth and self.matching_requests not in fault.nth:
            return False
        return fault.probability >= 1 or self._random.random() < fault.probability


def response_of(fault: Fault, now: float) -> Response:
    """The answer of a fault whose kind is in `KINDS_BEFORE_PROCESSING`."""
    if fault.kind == "status":
        headers = (("Content-Type", fault.content_type), *fault.headers.items())
        return Response(fault.status, headers, fault.body.encode())
    if fault.kind == "rate_limit":
        return rate_limit_response(0, fault.seconds, now, fault.header, fault.form)
    wait = _wait(fault) if fault.kind == "hang_before" else 0.0
    return Response(0, delivery=ResponseDelivery(wait=wait, reset_at=-1))


def apply_fault(fault: Fault, response: Response) -> Response:
    """The normal answer, changed by a fault of any other kind."""
    if fault.kind == "body":
        return replace(response, body=fault.body.encode(), headers=(("Content-Type", fault.content_type),))
    if fault.kind == "change":
        return _changed(fault, response)
    wait = _wait(fault)
    return response.with_delivery(
        {
            "reset_after": ResponseDelivery(reset_at=-1),
            "reset_during": ResponseDelivery(reset_at=fault.after_bytes),
            "hang_after": ResponseDelivery(wait=wait, reset_at=-1),
            "delay": ResponseDelivery(wait=wait),
            "chunked": ResponseDelivery(chunked=True),
            "slow": ResponseDelivery(rate=fault.bytes_per_second),
            "truncate": ResponseDelivery(close_at=fault.after_bytes),
            "truncate_silently": ResponseDelivery(close_at=fault.after_bytes, with_length=False),
        }[fault.kind]
    )


def rate_limit_response(
    limit: int, reset: float, now: float, header: str = "RateLimit-Reset", form: str = "seconds"
) -> Response:
    """A 429 that gives the wait of `reset` seconds in `header` and `form`."""
    text = str(math.ceil(reset))
    if form == "epoch":
        text = str(math.ceil(now + reset))
    elif form == "date":
        text = formatdate(math.ceil(now + reset), usegmt=True)
    headers = [("Content-Type", "application/json")]
    if header != "none":
        headers += [("RateLimit-Limit", str(limit)), (header, text)]
    body = {"error": "Too Many Requests", "context": "Rate limit exceeded."}
    return Response(429, tuple(headers), json.dumps(body).encode())


def _wait(fault: Fault) -> float:
    return max(fault.seconds, 0.001)


def _changed(fault: Fault, response: Response) -> Response:
    if not isinstance(response.body, bytes) or not response.body.startswith(b"{"):
        return response
    document = json.loads(response.body)
    for path in fault.drop:
        for holder, key in _find_places(document, path.split(".")):
            holder.pop(key, None)
    for path, value in fault.set.items():
        for holder, key in _find_places(document, path.split(".")):
            holder[key] = value
    return replace(response, body=json.dumps(document).encode())


def _find_places(node: Any, keys: list[str]) -> list[tuple[dict[str, Any], str]]:
    """The objects and keys that a dotted path refers to."""
    key, *rest = keys
    if isinstance(node, list):
        chosen = node if key == "*" else node[int(key) : int(key) + 1]
        return [place for item in chosen for place in _find_places(item, rest)] if rest else []
    if not isinstance(node, dict):
        return []
    if not rest:
        return [(node, key)]
    return _find_places(node[key], rest) if key in node else []
