"""The way of every request to either server: faults, then its handler, then the journal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from synthdub_tui.sandbox import faults
from synthdub_tui.sandbox.clock import SandboxClock
from synthdub_tui.sandbox.config import SandboxConfig
from synthdub_tui.sandbox.http_server import DisconnectedError, Note, Request, Response
from synthdub_tui.sandbox.journal import Journal, Record
from synthdub_tui.sandbox.rate_limits import Limits


class Gate:
    """The parts that both servers share."""

    def __init__(self, config: SandboxConfig, root: Path) -> None:
        self.config = config
        self.clock = SandboxClock()
        self.faults = faults.Faults(config.faults, config.seed)
        self.limits = Limits(config)
        self.journal = Journal(root / "journal.jsonl")

    async def handle(self, request: Request, endpoint: str, handler: Callable[[Request], Awaitable[Response]]) -> Response:
        """Answer a request, changed by the fault that affects it, if any. Records it in the journal."""
        fault = self.faults.fault_for(endpoint, request.path)
        if fault is not None and fault.kind in faults.KINDS_BEFORE_PROCESSING:
            response = faults.response_of(fault, self.clock.now())
        else:
            try:
                response = await handler(request)
            except DisconnectedError:
                self._note(request, endpoint, Response(0), "disconnected")
                raise
            if fault is not None:
                response = faults.apply_fault(fault, response)
        self._note(request, endpoint, response, fault.kind if fault else "")
        return response

    def _note(self, request: Request, endpoint: str, response: Response, fault: str) -> None:
        note: Note = response.note
        self.journal.add(
            Record(
                time=self.clock.now(),
                endpoint=endpoint,
                method=request.method,
                path=request.path,
                status=response.status,
                asset=note.asset,
                project=note.project,
                languages=note.languages,
                billed=note.billed,
                bytes_in=request.received,
                bytes_out=response.size,
                fault=fault,
            )
        )
