"""`synthdub outputs`: one row for each finished output."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from typing import Any

from synthdub_tui import humanize, text
from synthdub_tui.commands.options import add_json_option, add_state_options, resolve
from synthdub_tui.jobs.model import Dub, DubState, Job
from synthdub_tui.runner.output_presence import check_presence
from synthdub_tui.settings.model import Settings
from synthdub_tui.store.job_store import JobStore
from synthdub_tui.text import make_printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add_json_option(parser, "for programs")
    add_state_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit code."""
    return outputs(resolve(arguments), as_json="json" in arguments)


def outputs(settings: Settings, *, as_json: bool) -> int:
    """Print one row per finished output, as a JSON object or in columns."""
    rows = [
        _output(job, language, dub) for job, language, dub in _finished(JobStore(settings.state_dir).load(set_aside=False).jobs)
    ]
    for row in rows:
        if as_json:
            print(text.json_text(row))
        else:
            marks = "✓" if row["reviewed"] else " "
            length = humanize.format_duration(row["seconds"]) if row["seconds"] else "-"
            size = humanize.format_size(row["size"])
            there = "" if row["present"] == "yes" else f"  ({row['present']})"
            print(f"{marks} {row['language']:8} {size:>9} {length:>11}  {make_printable(row['path'], 4096)}{there}")
    if not rows and not as_json:
        print("No finished outputs yet.")
    return 0


def _finished(jobs: Iterable[Job]) -> Iterable[tuple[Job, str, Dub]]:
    return ((job, lang, dub) for job in jobs for lang, dub in job.dubs.items() if dub.state is DubState.DONE and dub.output)


def _output(job: Job, language: str, dub: Dub) -> dict[str, Any]:
    output = dub.output
    assert output is not None
    return {
        "file": job.source.path,
        "language": language,
        "path": output.path,
        "size": output.size,
        "seconds": output.seconds,
        "age": round(time.time() - dub.since),
        "captions": list(output.captions),
        "reviewed": output.reviewed,
        "present": check_presence(output),
    }
