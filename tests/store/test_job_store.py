"""The state directory: what is saved is what is loaded, and one damaged file takes nothing else with it."""

from __future__ import annotations

import os
import stat
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from synthdub_tui.errors import ProblemError
from synthdub_tui.jobs.model import (
    SCHEMA_VERSION,
    Asset,
    Dub,
    DubState,
    Failure,
    FailureScope,
    Hold,
    Job,
    JobOptions,
    Output,
    PartRecord,
    RetryStep,
    Source,
    Stage,
    Submission,
    WaitReason,
)
from synthdub_tui.jobs.transitions import creation
from synthdub_tui.languages import OUTPUT_CODES
from synthdub_tui.store.codec import decode_job, encode_job
from synthdub_tui.store.job_store import MAX_STATE_FILE_BYTES, JobStore
from tests.jobs.factories import DE, ES, FR, NOW, OPTIONS, SOURCE, done_job, jobs_in_every_state


def make_job(number: int = 0, *targets: str) -> Job:
    source = Source(f"/videos/lesson {number}.mp4", 10, 1, "video/mp4")
    return creation.new_job(source, OPTIONS, targets or (FR,), now=NOW + number)


def read_tree(folder: Path) -> dict[str, bytes | None]:
    """Every name below the folder, with its content."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.fixture
def state_folder(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def store(state_folder: Path) -> JobStore:
    made = JobStore(str(state_folder))
    made.open()
    return made


# -- round trips ---------------------------------------------------------------------------------------------------------

times = st.floats(0, 4e9)
words = st.text(st.characters(codec="utf-8"), max_size=40)
sizes = st.integers(0, 2**62)
failures = st.builds(Failure, code=words, scope=st.sampled_from(FailureScope), at=times, detail=words)
parts = st.builds(PartRecord, size=sizes, etag=words, mtime_ns=sizes)
outputs = st.builds(
    Output.of,
    path=words | st.just("/videos/intro.dubbed-fr-FR.mp4"),
    size=sizes,
    mtime_ns=sizes,
    captions=st.lists(words | st.just("/videos/intro.dubbed-fr-FR.srt"), max_size=2).map(tuple),
    reviewed=st.booleans(),
    seconds=times,
    captions_ns=st.lists(sizes, max_size=3),
)
dubs = st.builds(
    Dub,
    state=st.sampled_from(DubState),
    since=times,
    submitted=times,
    project=words,
    video=words,
    tried=st.lists(st.sampled_from(RetryStep), max_size=3).map(tuple),
    next_rung=st.none() | st.sampled_from(RetryStep),
    erred=st.booleans(),
    checked=st.booleans(),
    failure=st.none() | failures,
    hold=st.none() | st.builds(Hold, reason=st.sampled_from(WaitReason), at=times, detail=words),
    agreed=st.lists(words, max_size=2).map(tuple),
    part=st.none() | parts,
    captions_ns=st.lists(sizes, max_size=4).map(tuple),
    output=st.none() | outputs,
)
jobs = st.builds(
    Job,
    id=words,
    source=st.builds(Source, path=words, size=sizes, mtime_ns=sizes, content_type=words, digest=words),
    options=st.builds(JobOptions, title=words, lipsync=st.booleans()),
    added=times,
    dubs=st.dictionaries(words, dubs, max_size=3),
    schema=st.just(SCHEMA_VERSION),
    stage=st.sampled_from(Stage),
    outputs=words,
    captions=st.booleans(),
    unsettled=st.booleans(),
    asset=st.none() | st.builds(Asset, id=words, created=times, uploaded=st.booleans()),
    uploads=st.integers(0, 5),
    projects=st.dictionaries(words, words, max_size=2),
    submission=st.none() | st.builds(Submission, languages=st.lists(words, max_size=2).map(tuple), at=times, project=words),
)


@settings(deadline=None, max_examples=150)
@given(jobs)
def test_a_job_comes_back_as_it_was(of: Job) -> None:
    assert decode_job(encode_job(of).decode()) == of


@pytest.mark.parametrize("state", DubState)
def test_a_job_in_every_state_is_saved_and_loaded(store: JobStore, state: DubState) -> None:
    store.save(jobs_in_every_state()[state])
    assert store.load().jobs == [jobs_in_every_state()[state]]


def test_a_file_is_readable_and_says_its_schema(store: JobStore, state_folder: Path) -> None:
    store.save(done_job(FR))
    text = (state_folder / "jobs" / f"{done_job(FR).id}.toml").read_text()
    assert text.startswith(f"schema = {SCHEMA_VERSION}\n")
    assert tomllib.loads(text)["source"]["path"] == SOURCE.path
    assert "lipsync" not in text  # what has its default is left out


def test_an_output_is_written_with_whole_paths_and_plain_numbers() -> None:
    made = Output.of("/v/intro.dubbed-fr-FR.mp4", 5, 7, ("/v/intro.dubbed-fr-FR.srt",), seconds=2.5, captions_ns=(8,))
    text = encode_job(job_with_output(made)).decode()
    assert tomllib.loads(text)["dubs"][FR]["output"] == {
        "path": "/v/intro.dubbed-fr-FR.mp4",
        "size": 5,
        "mtime_ns": 7,
        "captions": ["/v/intro.dubbed-fr-FR.srt"],
        "seconds": 2.5,
        "captions_ns": [8],
    }


@pytest.mark.parametrize(
    "output", ["[]", "5", "{}", "{path = 3, size = 1, mtime_ns = 1}", '{path = "/o", size = "1", mtime_ns = 1}']
)
def test_an_output_that_is_none_makes_the_file_damaged(output: str) -> None:
    text = encode_job(job_with_output(None)).decode() + f"output = {output}\n"
    with pytest.raises(ValueError, match=r"Expected|Object missing"):
        decode_job(text)


def job_with_output(output: Output | None) -> Job:
    """A job whose only dub is the last thing in its file."""
    return replace(done_job(FR), projects={}, asset=None, dubs={FR: Dub(DubState.DONE, 1.0, output=output)})


def test_a_person_may_annotate_a_file(store: JobStore, state_folder: Path) -> None:
    store.save(make_job())
    path = state_folder / "jobs" / f"{make_job().id}.toml"
    path.write_text("# the boss wants this first\nnote = 'hello'\n" + path.read_text())
    assert store.load().jobs == [make_job()]


def test_a_job_of_all_languages_is_far_below_the_limit() -> None:
    dub = replace(done_job(FR).dubs[FR], failure=Failure("x" * 60, FailureScope.LANGUAGE, 1.0))
    busy = replace(done_job(FR), dubs=dict.fromkeys(OUTPUT_CODES, dub))
    assert len(encode_job(busy)) < MAX_STATE_FILE_BYTES / 20


# -- opening -------------------------------------------------------------------------------------------------------------


def test_the_directory_is_the_owners_alone(store: JobStore, state_folder: Path) -> None:
    store.save(make_job())
    for path in [state_folder, *state_folder.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_a_directory_open_to_others_is_closed(state_folder: Path) -> None:
    state_folder.mkdir(mode=0o755)
    JobStore(str(state_folder)).open()
    assert stat.S_IMODE(state_folder.stat().st_mode) == 0o700


def test_what_a_crash_left_is_swept(store: JobStore, state_folder: Path) -> None:
    store.save(make_job())
    left = [state_folder / ".batch.toml.tmp", state_folder / "jobs" / f".{make_job().id}.toml.tmp"]
    for path in left:
        path.write_text("half of it")
    assert store.load().jobs == [make_job()]
    store.open()
    assert not any(path.exists() for path in left)
    assert store.load().jobs == [make_job()]


def test_opening_twice_changes_nothing(store: JobStore, state_folder: Path) -> None:
    store.save(make_job())
    store.write_document("batch", {**store.read_document("batch"), "paused": True})
    before = read_tree(state_folder)
    store.open()
    assert read_tree(state_folder) == before


@pytest.mark.parametrize("blocked", ["", "state"])
def test_a_directory_that_cannot_be_made(tmp_path: Path, blocked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if blocked:
        (tmp_path / blocked).write_text("a file")
    else:

        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(os, "makedirs", refuse)
    with pytest.raises(ProblemError) as caught:
        JobStore(str(tmp_path / "state")).open()
    assert caught.value.code == "state_unwritable"
    assert str(tmp_path / "state") in caught.value.detail


@pytest.mark.parametrize("schema", [SCHEMA_VERSION + 1, 99, "2"])
def test_a_newer_directory_is_refused_and_left_untouched(store: JobStore, state_folder: Path, schema: object) -> None:
    store.save(make_job())
    store.write_document("batch", {"schema": schema})
    (state_folder / "jobs" / ".x.toml.tmp").write_text("of the newer one")
    state_folder.chmod(0o750)
    before = read_tree(state_folder)
    with pytest.raises(ProblemError) as caught:
        JobStore(str(state_folder)).open()
    assert caught.value.code == "state_newer"
    assert read_tree(state_folder) == before
    assert stat.S_IMODE(state_folder.stat().st_mode) == 0o750


# -- loading -------------------------------------------------------------------------------------------------------------


def test_jobs_come_in_the_order_in_which_they_were_added(store: JobStore) -> None:
    for number in (3, 1, 2):
        store.save(make_job(number))
    assert [found.added for found in store.load().jobs] == [NOW + 1, NOW + 2, NOW + 3]


def test_saving_one_job_touches_one_file(store: JobStore, state_folder: Path) -> None:
    for number in range(3):
        store.save(make_job(number))
    before = read_tree(state_folder)
    store.save(creation.add_targets(make_job(1), [ES], NOW))
    after = read_tree(state_folder)
    assert [name for name in after if after[name] != before.get(name)] == [f"jobs/{make_job(1).id}.toml"]


def test_a_directory_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert JobStore(str(tmp_path / "none")).load(set_aside=False).jobs == []
    assert os.listdir(tmp_path) == []


def test_a_job_of_a_newer_version_is_refused_and_left_untouched(store: JobStore, state_folder: Path) -> None:
    store.save(make_job(0))
    newer = state_folder / "jobs" / f"{make_job(1).id}.toml"
    newer.write_text(encode_job(make_job(1)).decode().replace(f"schema = {SCHEMA_VERSION}", f"schema = {SCHEMA_VERSION + 1}"))
    (state_folder / "jobs" / "a-damaged-one.toml").write_text("damaged")
    before = read_tree(state_folder)
    with pytest.raises(ProblemError) as caught:
        store.load()
    assert caught.value.code == "state_newer"
    assert read_tree(state_folder) == before


# -- damaged files -------------------------------------------------------------------------------------------------------

SMALL_JOB_BYTES = encode_job(make_job())


def damaged_files() -> Iterator[tuple[str, bytes]]:
    yield "empty", b""
    yield "binary", bytes(range(256)) * 20
    yield "zeros", b"\0" * 4096
    yield "not UTF-8", SMALL_JOB_BYTES + b"# \xff\n"
    yield "another id", SMALL_JOB_BYTES.replace(make_job().id.encode(), b"another-id")
    yield "another type", SMALL_JOB_BYTES.replace(b"size = 10", b"size = 'ten'")
    yield "an unknown state", SMALL_JOB_BYTES.replace(b'"waiting"', b'"sleeping"')
    yield "no source", SMALL_JOB_BYTES.replace(b"[source]", b"[sauce]")
    yield "too large", SMALL_JOB_BYTES + b"#" * MAX_STATE_FILE_BYTES
    yield "nested too deep", SMALL_JOB_BYTES + b"x = " + b"[" * 5000 + b"]" * 5000
    yield "a number beyond measure", SMALL_JOB_BYTES.replace(b"size = 10", b"size = " + b"9" * 5000)
    yield "a date", SMALL_JOB_BYTES.replace(b"size = 10", b"size = 2026-01-01")


@pytest.mark.parametrize(("content"), [content for _, content in damaged_files()], ids=[name for name, _ in damaged_files()])
def test_a_damaged_file_is_set_aside_and_named_and_the_rest_loads(store: JobStore, state_folder: Path, content: bytes) -> None:
    store.save(make_job(1))
    path = state_folder / "jobs" / f"{make_job().id}.toml"
    path.write_bytes(content)
    loaded = store.load()
    assert loaded.jobs == [make_job(1)]
    (found,) = loaded.damaged
    assert found.path == str(path)
    assert Path(found.kept_path).parent == state_folder / "damaged"
    assert Path(found.kept_path).read_bytes() == content
    assert found.reason
    assert not path.exists()
    assert store.load().damaged == []
    assert stat.S_IMODE((state_folder / "damaged").stat().st_mode) == 0o700


def test_two_damaged_files_of_one_name_are_both_kept(store: JobStore, state_folder: Path) -> None:
    path = state_folder / "jobs" / "x.toml"
    kept = set()
    for content in ("one", "two", "three"):
        path.write_text(content)
        kept.add(store.load().damaged[0].kept_path)
    assert {Path(name).read_text() for name in kept} == {"one", "two", "three"}


def test_every_truncation_and_every_flipped_byte_loads_as_a_job_or_is_damaged() -> None:
    """None raises anything else, and none is taken for another job."""
    short = encode_job(replace(make_job(), dubs={FR: make_job().dubs[FR]}))
    variants = [short[:length] for length in range(len(short))]
    for mask in (0x01, 0x20, 0x80):
        variants += [short[:at] + bytes([short[at] ^ mask]) + short[at + 1 :] for at in range(len(short))]
    loaded = 0
    for variant in variants:
        try:
            found = decode_job(variant.decode())
        except (ValueError, RecursionError):
            continue
        except ProblemError as trouble:
            assert trouble.code == "state_newer"  # a flipped schema
            continue
        assert msgspec.convert(msgspec.to_builtins(found), Job) == found
        loaded += 1
    assert loaded < len(variants) / 2


def test_a_truncated_job_file_can_be_repaired_in_place(store: JobStore, state_folder: Path) -> None:
    path = state_folder / "jobs" / f"{make_job().id}.toml"
    for length in range(0, len(SMALL_JOB_BYTES), 29):
        path.write_bytes(SMALL_JOB_BYTES[:length])
        store.load()
    assert store.load().jobs in ([], [make_job()])
    path.write_bytes(SMALL_JOB_BYTES)
    assert store.load().jobs == [make_job()]


def test_looking_only_changes_nothing_on_disk(store: JobStore, state_folder: Path) -> None:
    store.save(make_job(1))
    (state_folder / "jobs" / "x.toml").write_text("damaged")
    (state_folder / "jobs" / ".y.toml.tmp").write_text("half")
    before = read_tree(state_folder)
    loaded = store.load(set_aside=False)
    assert loaded.jobs == [make_job(1)]
    assert loaded.damaged[0].kept_path == str(state_folder / "jobs" / "x.toml")
    assert read_tree(state_folder) == before


def test_a_file_that_vanishes_while_it_is_looked_at_is_no_damage(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.save(make_job(0))
    monkeypatch.setattr(store, "_names", lambda: ["gone.toml", f"{make_job(0).id}.toml"])
    loaded = store.load()
    assert (loaded.jobs, loaded.damaged) == ([make_job(0)], [])


def test_a_damaged_file_that_cannot_be_set_aside_is_a_trouble(
    store: JobStore, state_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were it left there, adding its source again would write over it."""
    (state_folder / "jobs" / "x.toml").write_text("damaged")

    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(ProblemError) as caught:
        store.load()
    assert caught.value.code == "state_unwritable"


def test_a_folder_that_cannot_be_read_is_a_trouble(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ProblemError) as caught:
        store.load()
    assert caught.value.code == "state_unwritable"


# -- documents -----------------------------------------------------------------------------------------------------------


def test_documents(store: JobStore, state_folder: Path) -> None:
    assert store.read_document("quota") == {}
    store.write_document("quota", {"calls": [[1.5, 2]], "day": {"used": 3}})
    assert store.read_document("quota") == {"calls": [[1.5, 2]], "day": {"used": 3}}
    (state_folder / "quota.toml").write_bytes(b"\xff\0")
    assert store.read_document("quota") == {}


# -- cost ----------------------------------------------------------------------------------------------------------------


def test_loading_costs_less_than_tomllib_alone() -> None:
    """The benchmark `python -m tests.benchmarks.job_store` tells the numbers; this only catches a blunder."""
    dub = done_job(FR).dubs[FR]
    text = encode_job(replace(done_job(FR), dubs={f"l{number}": dub for number in range(10)})).decode()

    def best(function: object) -> float:
        assert callable(function)
        taken = []
        for _ in range(15):
            started = time.thread_time()
            for _ in range(20):
                function(text)
            taken.append(time.thread_time() - started)
        return min(taken)

    assert best(decode_job) < best(tomllib.loads)


def test_languages_are_kept_in_the_order_in_which_they_were_asked_for(store: JobStore) -> None:
    store.save(make_job(0, FR, DE, ES))
    assert list(store.load().jobs[0].dubs) == [FR, DE, ES]
