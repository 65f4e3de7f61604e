"""Drawing less must show the same: pieces of lines are kept."""

from __future__ import annotations

import random
import time
from pathlib import Path

from synthdub_tui.ipc.protocol import Transfer
from synthdub_tui.jobs.model import DubState
from tests.dashboard.fake_runner import TWENTY_LANGUAGES, make_dub, make_job
from tests.dashboard.opened_dashboard import open_dashboard


async def test_what_is_kept_is_what_would_be_drawn_anew(tmp_path: Path) -> None:
    chance = random.Random(7)
    codes = TWENTY_LANGUAGES[:14]
    jobs = [make_job(n, codes, DubState.DUBBING) for n in range(60)]
    async with open_dashboard(tmp_path, jobs, size=(90, 30)) as opened:
        grid, batch = opened.main.grid, opened.app.session.batch
        actions = ["move(1, 0)", "move(-1, 0)", "move(0, 1)", "move(0, -1)", "edge(0)", "edge(-1)", "column(0)", "column(-1)"]
        actions += ["mark", "mark_column", "mark_shown", "unmark", "failed_only", "sort", "page(1)"]
        now = time.time()
        grid._clock = lambda: now  # else the time between the two drawings shows
        grid.refresh()
        for _ in range(60):
            for _ in range(3):
                job = batch.rows[chance.choice(jobs).id].job
                dub = make_dub(chance.choice(list(DubState)), time.time())
                batch.update_jobs(
                    [type(job)(job.id, job.source, job.options, job.added, job.dubs | {chance.choice(codes): dub})]
                )
            batch.update_transfers(
                [Transfer(chance.choice(jobs).id, chance.choice(["", *codes]), chance.randrange(100), 100, 1.0)]
            )
            grid.draw_changes()
            await opened.main.run_action(chance.choice(actions))
            grid.draw_changes()
            region = grid.size.region
            kept = [[*strip] for strip in grid.render_lines(region)]
            grid._clear_caches()
            assert kept == [[*strip] for strip in grid.render_lines(region)]
