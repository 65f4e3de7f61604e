"""The checks of the soaks find what they are there to find."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from synthdub_tui.jobs.model import Dub, DubState, Job, Options, Source
from synthdub_tui.sandbox.config import SandboxConfig
from synthdub_tui.store.job_store import Store
from tests.soak.batch_checks import ENDINGS, Watch, expected, paid_twice
from tests.soak.service_records import PaidRequest

DUB = ("intro", "fr-FR")
CONFIG = SandboxConfig(output_seconds=1.0)


def asked(
    time: float, status: int = 202, *, billed: bool = True, fault: str = "", endpoint: str = "POST /v2/dubbing"
) -> PaidRequest:
    return PaidRequest(time, endpoint, ("fr-FR",), status, ("fr-FR",) if billed else (), fault, "intro")


# -- paid requests -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "first",
    [
        asked(1),
        asked(1, status=0, fault="reset_after"),
        asked(1, status=0, billed=False, fault="reset_before"),
        asked(1, status=500, billed=False, fault="status"),
    ],
)
def test_a_request_sent_again_is_seen(first: PaidRequest) -> None:
    """Also where the first was not billed, since nobody on this side could know that."""
    assert len(list(paid_twice([first, asked(2)], {}))) == 1
    assert list(paid_twice([first, asked(3)], {DUB: [2.0]})) == []
    assert len(list(paid_twice([first, asked(3)], {DUB: [0.5]}))) == 1
    assert len(list(paid_twice([first, asked(3), asked(4)], {DUB: [2.0]}))) == 1


@pytest.mark.parametrize(
    "first",
    [
        asked(1, status=429, billed=False, fault="rate_limit"),
        asked(1, status=400, billed=False),
        asked(1, status=204, billed=False, endpoint="PUT /v2/dubbing/{id}"),
    ],
)
def test_what_was_surely_not_begun_may_be_sent_again(first: PaidRequest) -> None:
    assert list(paid_twice([first, asked(2)], {})) == []


# -- files -------------------------------------------------------------------------------------------------------------


class Bench:
    """A state directory with one job that is done, and its outputs."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.store = Store(str(self.state))
        self.store.open()
        source = Source(str(folder / "intro.mp4"), 1, 1, "video/mp4")
        self.job = Job("intro-0", source, Options("intro"), 1.0, {"fr-FR": Dub(DubState.DONE, 1.0)})
        self.store.save(self.job)
        self.outputs = {ending: folder / f"intro.dubbed-fr-FR.{ending}" for ending in ENDINGS}
        for ending, path in self.outputs.items():
            path.write_bytes(expected("intro", "fr-FR", ending, 1.0, 0))
        self.watch = Watch(self.state, CONFIG)
        assert list(self.watch.at_the_end()) == []


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.parametrize("ending", ENDINGS)
def test_half_a_file_is_seen(bench: Bench, ending: str) -> None:
    path = bench.outputs[ending]
    path.write_bytes(path.read_bytes()[:-1])
    assert len(list(bench.watch.now())) == 1


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_that_is_missing_is_seen(bench: Bench, ending: str) -> None:
    bench.outputs[ending].unlink()
    assert len(list(bench.watch.now())) == 1


def test_half_a_file_of_a_dub_that_is_not_done_is_seen(bench: Bench) -> None:
    bench.store.save(msgspec.structs.replace(bench.job, dubs={"fr-FR": Dub(DubState.DOWNLOADING, 1.0)}))
    assert list(bench.watch.now()) == []
    bench.outputs["mp4"].write_bytes(b"")
    assert len(list(bench.watch.now())) == 1


def test_lost_state_is_seen(bench: Bench) -> None:
    bench.store.save(msgspec.structs.replace(bench.job, dubs={}))
    assert len(list(bench.watch.now())) == 1
    (bench.state / "jobs" / "intro-0.toml").unlink()
    assert len(list(bench.watch.now())) == 1


def test_damaged_state_is_seen(bench: Bench) -> None:
    (bench.state / "jobs" / "intro-0.toml").write_text("nonsense")
    assert list(bench.watch.now())


@pytest.mark.parametrize("name", ["intro.dubbed-fr-FR.mp4.part", "state/jobs/.intro-0.toml.tmp", "state/.quota.toml.tmp"])
def test_leftovers_are_seen(bench: Bench, tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert len(list(bench.watch.at_the_end())) == 1


def test_a_dub_that_is_not_done_at_the_end_is_seen(bench: Bench) -> None:
    bench.store.save(msgspec.structs.replace(bench.job, dubs={"fr-FR": Dub(DubState.UNKNOWN, 1.0)}))
    assert len(list(bench.watch.at_the_end())) == 1
