"""Lets dubs share equal values in memory: with 10,000 jobs in 20 languages that saves a third of everything."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from msgspec.structs import force_setattr

from synthdub_tui.jobs.model import NEVER, Job


def share_equal_values(jobs: Iterable[Job]) -> None:
    """Let dubs of freshly decoded jobs share equal projects and times. Outputs share theirs when they are created."""
    for job in jobs:
        times = {NEVER: NEVER}
        for dub in job.dubs.values():
            if dub.project:
                force_setattr(dub, "project", sys.intern(dub.project))
                force_setattr(dub, "submitted", times.setdefault(dub.submitted, dub.submitted))
            force_setattr(dub, "since", times.setdefault(dub.since, dub.since))
