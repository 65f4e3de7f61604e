"""The checks of the soaks find what they are there to find."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from synthdub_tui.jobs.model import Dub, DubState, Job, JobOptions, Source
from synthdub_tui.sandbox.config import SandboxConfig
from synthdub_tui.store.job_store import JobStore
from tests.soak.batch_checks import OUTPUT_EXTENSIONS, BatchChecker, expected_output, find_double_payments
from tests.soak.service_records import PaidRequestRecord

DUB_KEY = ("intro", "fr-FR")
SANDBOX_CONFIG = SandboxConfig(output_seconds=1.0)


def paid_request(
    time: float, status: int = 202, *, billed: bool = True, fault: str = "", endpoint: str = "POST /v2/dubbing"
) -> PaidRequestRecord:
    return PaidRequestRecord(time, endpoint, ("fr-FR",), status, ("fr-FR",) if billed else (), fault, "intro")


# -- paid requests -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "first",
    [
        paid_request(1),
        paid_request(1, status=0, fault="reset_after"),
        paid_request(1, status=0, billed=False, fault="reset_before"),
        paid_request(1, status=500, billed=False, fault="status"),
    ],
)
def test_a_repeated_paid_request_is_found(first: PaidRequestRecord) -> None:
    """Also where the first was not billed, since nobody on this side could know that."""
    assert len(list(find_double_payments([first, paid_request(2)], {}))) == 1
    assert list(find_double_payments([first, paid_request(3)], {DUB_KEY: [2.0]})) == []
    assert len(list(find_double_payments([first, paid_request(3)], {DUB_KEY: [0.5]}))) == 1
    assert len(list(find_double_payments([first, paid_request(3), paid_request(4)], {DUB_KEY: [2.0]}))) == 1


@pytest.mark.parametrize(
    "first",
    [
        paid_request(1, status=429, billed=False, fault="rate_limit"),
        paid_request(1, status=400, billed=False),
        paid_request(1, status=204, billed=False, endpoint="PUT /v2/dubbing/{id}"),
    ],
)
def test_a_request_that_was_surely_refused_may_be_repeated(first: PaidRequestRecord) -> None:
    assert list(find_double_payments([first, paid_request(2)], {})) == []


# -- files -------------------------------------------------------------------------------------------------------------


class CheckedBatch:
    """A state directory with one job that is done, and its outputs."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.store = JobStore(str(self.state))
        self.store.open()
        source = Source(str(folder / "intro.mp4"), 1, 1, "video/mp4")
        self.job = Job("intro-0", source, JobOptions("intro"), 1.0, {"fr-FR": Dub(DubState.DONE, 1.0)})
        self.store.save(self.job)
        self.outputs = {ending: folder / f"intro.dubbed-fr-FR.{ending}" for ending in OUTPUT_EXTENSIONS}
        for ending, path in self.outputs.items():
            path.write_bytes(expected_output("intro", "fr-FR", ending, 1.0, 0))
        self.checker = BatchChecker(self.state, SANDBOX_CONFIG)
        assert list(self.checker.check_at_end()) == []


@pytest.fixture
def batch(tmp_path: Path) -> CheckedBatch:
    return CheckedBatch(tmp_path)


@pytest.mark.parametrize("ending", OUTPUT_EXTENSIONS)
def test_a_partial_file_is_found(batch: CheckedBatch, ending: str) -> None:
    path = batch.outputs[ending]
    path.write_bytes(path.read_bytes()[:-1])
    assert len(list(batch.checker.check_now())) == 1


@pytest.mark.parametrize("ending", OUTPUT_EXTENSIONS)
def test_a_missing_file_is_found(batch: CheckedBatch, ending: str) -> None:
    batch.outputs[ending].unlink()
    assert len(list(batch.checker.check_now())) == 1


def test_a_partial_file_of_an_unfinished_dub_is_found(batch: CheckedBatch) -> None:
    batch.store.save(msgspec.structs.replace(batch.job, dubs={"fr-FR": Dub(DubState.DOWNLOADING, 1.0)}))
    assert list(batch.checker.check_now()) == []
    batch.outputs["mp4"].write_bytes(b"")
    assert len(list(batch.checker.check_now())) == 1


def test_lost_state_is_found(batch: CheckedBatch) -> None:
    batch.store.save(msgspec.structs.replace(batch.job, dubs={}))
    assert len(list(batch.checker.check_now())) == 1
    (batch.state / "jobs" / "intro-0.toml").unlink()
    assert len(list(batch.checker.check_now())) == 1


def test_damaged_state_is_found(batch: CheckedBatch) -> None:
    (batch.state / "jobs" / "intro-0.toml").write_text("nonsense")
    assert list(batch.checker.check_now())


@pytest.mark.parametrize("name", ["intro.dubbed-fr-FR.mp4.part", "state/jobs/.intro-0.toml.tmp", "state/.quota.toml.tmp"])
def test_leftover_files_are_found(batch: CheckedBatch, tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert len(list(batch.checker.check_at_end())) == 1


def test_an_unfinished_dub_at_the_end_is_found(batch: CheckedBatch) -> None:
    batch.store.save(msgspec.structs.replace(batch.job, dubs={"fr-FR": Dub(DubState.UNKNOWN, 1.0)}))
    assert len(list(batch.checker.check_at_end())) == 1
