"""A fake runner whose jobs move on by themselves through all states, for trying the dashboard by hand."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from pathlib import Path

from msgspec.structs import replace

from synthdub_tui.ipc.protocol import BatchStatus, RateLimitUsage, Transfer
from synthdub_tui.jobs.model import DubState, Job
from tests.dashboard.fake_runner import TWENTY_LANGUAGES, FakeRunner, make_dub, make_job


async def start_animated_runner(path: Path, files: int, languages: int, ready: threading.Event) -> None:
    """Jobs in all states, moving on by themselves."""

    chance = random.Random(1)
    names = [
        "",
        "",
        "",
        "",
        "日本語の講義 その一.mp4",
        "evil\x1b[31m[red]name[/].mp4",
        "a very long name of a lesson about nothing in particular (final) v2.mp4",
    ]
    jobs = [
        make_job(n, TWENTY_LANGUAGES[:languages], name=f"{n}-{name}" if (name := chance.choice(names)) else "")
        for n in range(files)
    ]
    codes = ["processing_error", "moderation", "download_failed"]
    order = list(DubState)
    runner = FakeRunner(path, [_job_in_mixed_states(job, chance, order, codes) for job in jobs])
    await runner.start()
    ready.set()
    while True:
        await asyncio.sleep(0.2)
        job = chance.choice(list(runner.jobs.values()))
        language = chance.choice(list(job.dubs))
        dub = make_dub(chance.choice(order), time.time(), job.source.path, code=chance.choice(codes))
        job = replace(job, dubs=job.dubs | {language: dub})
        runner.jobs[job.id] = job
        moving = [
            Transfer(j.id, code, int(time.time() * 9e6 + len(code)) % 50_000_000, 50_000_000, 1e6)
            for j in list(runner.jobs.values())[:30]
            for code, d in j.dubs.items()
            if d.state is DubState.DOWNLOADING
        ][:8]
        meters = BatchStatus(
            time.time(),
            paused=runner.batch_status.paused,
            busy=True,
            up=chance.random() * 3e6,
            down=chance.random() * 9e6,
            quota=(
                RateLimitUsage("GET", (30, 4000), ((60, 60.0), (20000, 86400.0)), 0.0),
                RateLimitUsage("POST", (9,), ((10, 60.0),), 4.0),
            ),
        )
        runner.push_changes(job, transfers=moving, meters=meters)


def _job_in_mixed_states(job: Job, chance: random.Random, order: list[DubState], codes: list[str]) -> Job:
    now = time.time() - chance.random() * 5000
    dubs = {code: make_dub(chance.choice(order), now, job.source.path, code=chance.choice(codes)) for code in job.dubs}
    return replace(job, dubs=dubs)
