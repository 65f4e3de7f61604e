"""The storage of uploads and outputs is away for longer than a single try lasts: told, waited out, nothing given up."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthdub_tui.sandbox.config import Fault
from tests.proofs.sandbox_scene import running_batch, until


@pytest.mark.parametrize("endpoint", ["S3 PutObject", "download", "captions"])
async def test_an_outage_is_reported_and_waited_out(tmp_path: Path, endpoint: str) -> None:
    async with running_batch(tmp_path, faults=(Fault(endpoint, "status", status=503),)) as stage:
        await stage.add_videos(stage.write_video())
        await until(lambda: stage.shown_problem == "storage_trouble")
        stage.sandbox.clear_faults()
        await stage.wait_until_idle()
        assert set(stage.dub_states().values()) == {"done"}
        assert stage.shown_problem == ""
        assert (stage.count_calls("POST /v2/assets"), stage.count_calls("POST /v2/dubbing")) == (1, 1)
