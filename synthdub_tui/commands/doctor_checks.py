"""The checks of `synthdub doctor`: settings, key, service, state directory, disk space and terminal."""

from __future__ import annotations

import asyncio
import contextlib
import locale
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from synthdub_tui import __version__
from synthdub_tui.errors import ProblemError
from synthdub_tui.humanize import format_count
from synthdub_tui.problems import explain
from synthdub_tui.settings.model import Settings
from synthdub_tui.settings.resolve import resolve_settings
from synthdub_tui.store.job_store import JobStore
from synthdub_tui.store.lock import StateLock
from synthdub_tui.synthesia.client import SynthesiaClient
from synthdub_tui.synthesia.errors import RequestRejectedError
from synthdub_tui.synthesia.rate_gate import TIERS, RateGate
from synthdub_tui.text import make_printable

LOW_SPACE_BYTES = 1_000_000_000
"""Free bytes below which a batch of videos will soon fill the disk."""

SERVICE_TIMEOUT_SECONDS = 15.0


class Severity(StrEnum):
    """How bad a finding is."""

    GOOD = "ok"
    WARNING = "warning"
    FATAL = "fatal"


class Finding(NamedTuple):
    """The result of one check."""

    severity: Severity
    what: str
    message: str


def doctor(flags: Mapping[str, Any]) -> int:
    """Print all findings. Returns the exit code: 1 if a finding is fatal, else 0."""
    findings = [Finding(Severity.GOOD, "synthdub", f"{__version__}, Python {sys.version.split()[0]}")]
    try:
        settings = resolve_settings(flags, os.environ)
    except ProblemError as trouble:
        findings.append(_bad("configuration", trouble))
    else:
        findings += [Finding(Severity.WARNING, "configuration", warning) for warning in settings.warnings]
        findings += [_state(settings), _space(settings), _service(settings)]
    findings += _terminal()
    for finding in findings:
        print(f"{finding.severity.value:8} {finding.what:14} {make_printable(finding.message, 4096)}")
    return 1 if any(finding.severity is Severity.FATAL for finding in findings) else 0


def _bad(what: str, trouble: ProblemError, weight: Severity = Severity.FATAL) -> Finding:
    return Finding(weight, what, trouble.problem.one_line())


async def check_api_key(api_url: str, key: str) -> None:
    """Check key and API URL by requesting an asset that does not exist, which is free. Raises ProblemError if either is
    wrong."""
    client = SynthesiaClient(api_url, key, RateGate(TIERS["unlimited"]))
    try:
        async with asyncio.timeout(SERVICE_TIMEOUT_SECONDS):
            with contextlib.suppress(RequestRejectedError):
                await client.get_asset("00000000-0000-4000-8000-000000000000")
    except TimeoutError as error:
        raise ProblemError("service_unreachable", f"no answer within {SERVICE_TIMEOUT_SECONDS:.0f} s") from error
    finally:
        await client.close()


def _service(settings: Settings) -> Finding:
    if not settings.api_key:
        return _bad("key", ProblemError("no_key"))
    try:
        asyncio.run(check_api_key(settings.api_url, settings.api_key))
    except ProblemError as trouble:
        return _bad("service", trouble)
    return Finding(Severity.GOOD, "key, service", f"{settings.api_url} takes the key")


def _state(settings: Settings) -> Finding:
    store = JobStore(settings.state_dir)
    lock = StateLock(store.path("lock"))
    try:
        store.open()
        lock.acquire()
    except ProblemError as trouble:
        busy = trouble.code == "state_busy"
        return (
            Finding(Severity.GOOD, "state", f"{settings.state_dir}: a runner works on it") if busy else _bad("state", trouble)
        )
    except OSError as error:
        return _bad("state", ProblemError("state_unwritable", f"{error.strerror}: {settings.state_dir}"))
    loaded = store.load(set_aside=False)
    lock.release()
    if loaded.damaged:
        names = ", ".join(file.path for file in loaded.damaged)
        return Finding(Severity.WARNING, "state", explain("state_corrupt", names).one_line())
    if os.stat(settings.state_dir).st_mode & 0o077:  # although `open` requested 0700
        return _bad("state", ProblemError("state_readable", settings.state_dir), Severity.WARNING)
    return Finding(Severity.GOOD, "state", f"{settings.state_dir}: {format_count(len(loaded.jobs), 'file')}")


def _space(settings: Settings) -> Finding:
    folder = settings.batch.output_dir or settings.state_dir
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    free = shutil.disk_usage(folder).free
    words = f"{free / 1e9:.1f} GB free in {folder}"
    if free < LOW_SPACE_BYTES:
        return Finding(Severity.WARNING, "disk", f"{words}: make room, or use --output-dir on another disk")
    return Finding(Severity.GOOD, "disk", words)


def _terminal() -> Iterable[Finding]:
    """Checks what only the dashboard needs."""
    term = os.environ.get("TERM", "")
    if not sys.stdout.isatty():
        yield Finding(Severity.GOOD, "terminal", "none: `synthdub run` needs none")
    elif term in ("", "dumb"):
        yield Finding(Severity.WARNING, "terminal", f"TERM={term or '(unset)'} cannot draw the dashboard; use `synthdub run`")
    else:
        columns, rows = shutil.get_terminal_size()
        yield Finding(Severity.GOOD, "terminal", f"{term}, {columns}×{rows}")
    encoding = locale.getencoding()
    if encoding.lower().replace("-", "") != "utf8":
        yield Finding(
            Severity.WARNING, "locale", f"{encoding}: names may look wrong; set LANG to a UTF-8 locale, or use --ascii"
        )
