"""The answer to the last request of an upload is lost: what arrived is not sent again."""

from __future__ import annotations

import pytest

from synthdub_tui.sandbox.config import Fault
from synthdub_tui.sources.digest import compute_digest
from tests.runner.conftest import Workspace

DENIED_HEAD_OBJECT = Fault("S3 HeadObject", "status", status=403)


@pytest.mark.parametrize("lost", [Fault("S3 CompleteMultipartUpload", "reset_after"), Fault("S3 Complete*", "truncate")])
@pytest.mark.parametrize("look", [(), (DENIED_HEAD_OBJECT,)], ids=["at the storage", "at the service"])
async def test_what_arrived_without_an_answer_is_not_sent_again(
    workspace: Workspace, lost: Fault, look: tuple[Fault, ...]
) -> None:
    for fault in (lost, *look):
        workspace.sandbox.inject(fault)
    video = workspace.write_video("intro.mp4", 9_000_000)
    result = await workspace.run(video, targets=("fr-FR",))
    assert (result.exit_code, result.states("intro.mp4")) == (0, {"fr-FR": "done"})
    assert (workspace.count_calls("S3 UploadPart"), workspace.count_calls("POST /v2/assets"), workspace.billed_dubs) == (
        1,
        1,
        1,
    )
    assert result.jobs["intro.mp4"].source.digest == compute_digest(str(video), size=video.stat().st_size)


async def test_what_did_not_arrive_is_sent_again(workspace: Workspace) -> None:
    workspace.sandbox.inject(Fault("S3 CompleteMultipartUpload", "status", status=500, count=6))
    result = await workspace.run(workspace.write_video("intro.mp4", 9_000_000), targets=("fr-FR",))
    assert (result.exit_code, result.states("intro.mp4")) == (0, {"fr-FR": "done"})
    assert workspace.count_calls("S3 UploadPart") == 2
