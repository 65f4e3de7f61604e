"""State directories of an older synthdub: copied as they are, read as what they mean today, changed only when needed."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from synthdub_tui import files as durable
from synthdub_tui.errors import ProblemError
from synthdub_tui.jobs.model import SCHEMA_VERSION, DubState, ModerationRefusal
from synthdub_tui.jobs.transitions import download
from synthdub_tui.store.job_store import JobStore

JOB_ID = "welcome-01-e42926fb5e73"

# As the last synthdub of schema 1 wrote it, but for the folder.
SCHEMA_1 = """\
schema = 1
id = "welcome-01-e42926fb5e73"
added = 1795410723.297265
stage = "ended"
uploads = 1

[source]
path = "FOLDER/welcome-01.mp4"
size = 42953
mtime_ns = 1795410723274186359
content_type = "video/mp4"

[options]
title = "welcome-01"
source_language = "en"

[dubs.fr-FR]
state = "done"
since = 1795410730.5873306
submitted = 1795410724.5087566
project = "a8ee4e65-4693-468f-b255-6a4a78174569"
video = "add749c6-a126-4685-ad2e-1b3b21167d38"

[dubs.fr-FR.output]
path = "FOLDER/welcome-01.dubbed-fr-FR.mp4"
size = 60523
mtime_ns = 1795410730569251760
captions = [
    "FOLDER/welcome-01.dubbed-fr-FR.srt",
    "FOLDER/welcome-01.dubbed-fr-FR.vtt",
]
seconds = 4.01

[asset]
id = "ba3e7d62-8b85-4380-ba66-81908163142a"
created = 1795410723.3422434
uploaded = true
ready = true
language = "en"

[projects]
a8ee4e65-4693-468f-b255-6a4a78174569 = "ba3e7d62-8b85-4380-ba66-81908163142a"
"""


@pytest.fixture
def schema_1_folder(tmp_path: Path) -> Path:
    """A state directory of schema 1, and outputs of which one was deleted since."""
    (tmp_path / "welcome-01.dubbed-fr-FR.srt").write_text("1")
    os.utime(tmp_path / "welcome-01.dubbed-fr-FR.srt", ns=(5, 5))
    state = tmp_path / "state"
    (state / "jobs").mkdir(parents=True)
    (state / "batch.toml").write_text("schema = 1\npaused = true\n")
    (state / "quota.toml").write_text("anything\n")
    (state / "jobs" / f"{JOB_ID}.toml").write_text(SCHEMA_1.replace("FOLDER", str(tmp_path)))
    (state / "jobs" / "broken.toml").write_text("broken\n")
    return state


def read_files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def open_store(folder: Path) -> JobStore:
    store = JobStore(str(folder))
    store.open()
    return store


def test_it_is_copied_as_it_was_then_called_of_this_schema(schema_1_folder: Path) -> None:
    before = read_files(schema_1_folder)
    store = open_store(schema_1_folder)
    assert read_files(schema_1_folder / "backup-schema-1") == before
    assert stat.S_IMODE((schema_1_folder / "backup-schema-1" / "jobs").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (schema_1_folder / "backup-schema-1").rglob("*.toml")} == {0o600}
    assert store.read_document("batch").items() >= {"schema": SCHEMA_VERSION, "paused": True}.items()
    after = read_files(schema_1_folder)
    assert {name: after[name] for name in before if name != "batch.toml"} == {
        name: content for name, content in before.items() if name != "batch.toml"
    }


def test_its_jobs_are_read_as_what_they_mean_today(schema_1_folder: Path) -> None:
    """Captions were ours by their names; now they are by the times that they have."""
    loaded = open_store(schema_1_folder).load()
    (job,) = loaded.jobs
    dub = job.dubs["fr-FR"]
    assert (job.id, job.schema, dub.state) == (JOB_ID, SCHEMA_VERSION, DubState.DONE)
    assert dub.output is not None
    assert dub.output.captions_ns == (5,)
    assert [Path(found.path).name for found in loaded.damaged] == ["broken.toml"]


def test_a_changed_job_is_written_in_this_schema_and_the_copy_stays(schema_1_folder: Path) -> None:
    store = open_store(schema_1_folder)
    kept = read_files(schema_1_folder / "backup-schema-1")
    (job,) = store.load().jobs
    store.save(download.set_reviewed(job, "fr-FR", True))
    assert (schema_1_folder / "jobs" / f"{JOB_ID}.toml").read_text().startswith(f"schema = {SCHEMA_VERSION}\n")
    assert open_store(schema_1_folder).load().jobs == [download.set_reviewed(job, "fr-FR", True)]
    assert read_files(schema_1_folder / "backup-schema-1") == kept


def test_who_only_looks_changes_nothing(schema_1_folder: Path) -> None:
    before = read_files(schema_1_folder)
    assert [job.id for job in JobStore(str(schema_1_folder)).load(set_aside=False).jobs] == [JOB_ID]
    assert read_files(schema_1_folder) == before


def test_an_interrupted_copy_is_made_again(schema_1_folder: Path) -> None:
    before = read_files(schema_1_folder)
    (schema_1_folder / "backup-schema-1.part" / "jobs").mkdir(parents=True)
    (schema_1_folder / "backup-schema-1.part" / "jobs" / f"{JOB_ID}.toml").write_text("half of")
    open_store(schema_1_folder)
    assert read_files(schema_1_folder / "backup-schema-1") == before
    assert not (schema_1_folder / "backup-schema-1.part").exists()


def test_without_room_for_the_copy_nothing_is_changed(schema_1_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = read_files(schema_1_folder)

    def full(path: str, data: bytes, mode: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(durable, "write_new", full)
        with pytest.raises(ProblemError) as caught:
            open_store(schema_1_folder)
    assert caught.value.code == "state_unwritable"
    assert read_files(schema_1_folder) == before
    assert open_store(schema_1_folder).read_document("batch")["schema"] == SCHEMA_VERSION


def test_a_directory_that_lost_its_schema_is_taken_for_the_oldest(schema_1_folder: Path) -> None:
    (schema_1_folder / "batch.toml").unlink()
    open_store(schema_1_folder)
    assert f"jobs/{JOB_ID}.toml" in read_files(schema_1_folder / "backup-schema-1")


def test_a_new_directory_needs_no_copy(tmp_path: Path) -> None:
    open_store(tmp_path / "state")
    assert sorted(os.listdir(tmp_path / "state")) == ["batch.toml", "jobs"]


@pytest.mark.parametrize("schema", ["0", "-3", '"1"'])
def test_a_schema_that_there_never_was_is_a_damaged_file(schema_1_folder: Path, schema: str) -> None:
    path = schema_1_folder / "jobs" / f"{JOB_ID}.toml"
    path.write_text(path.read_text().replace("schema = 1", f"schema = {schema}"))
    assert [Path(found.path).name for found in open_store(schema_1_folder).load().damaged] == ["broken.toml", f"{JOB_ID}.toml"]


@pytest.mark.parametrize(
    "dubs", ["dubs = 3", "dubs = [1]", "[dubs]\nfr-FR = 1", '[dubs.fr-FR.output]\ncaptions = [3, "\\u0000"]']
)
def test_old_files_of_any_shape_are_read_or_set_aside(schema_1_folder: Path, dubs: str) -> None:
    path = schema_1_folder / "jobs" / f"{JOB_ID}.toml"
    path.write_text(f"schema = 1\n{dubs}\n")
    assert len(open_store(schema_1_folder).load().damaged) == 2


REFUSED_DUBS = """
[dubs.es-ES]
state = "failed"
since = 5.0
{project}

[dubs.es-ES.failure]
code = "{code}"
scope = "{scope}"
at = 5.0
detail = "words"
"""


@pytest.mark.parametrize(
    ("code", "scope", "about"),
    [
        ("moderation", "language", "es-ES"),
        ("content_moderation", "submission", "es-ES"),
        ("moderation", "project", ""),
        ("processing_error", "language", None),
        ("moderation", "download", None),
    ],
)
def test_what_moderation_refused_is_a_fact_of_the_job(schema_1_folder: Path, code: str, scope: str, about: str | None) -> None:
    path = schema_1_folder / "jobs" / f"{JOB_ID}.toml"
    path.write_text(path.read_text() + REFUSED_DUBS.format(code=code, scope=scope, project='project = "p"'))
    (job,) = open_store(schema_1_folder).load().jobs
    assert job.refused == (() if about is None else (ModerationRefusal(about, 5.0, 42953, "", "words"),))


def test_a_video_of_which_the_service_accepted_nothing_was_refused_as_a_whole(schema_1_folder: Path) -> None:
    path = schema_1_folder / "jobs" / f"{JOB_ID}.toml"
    before = path.read_text()
    start, end = before.index("[dubs.fr-FR]"), before.index("[asset]")
    path.write_text(before[:start] + REFUSED_DUBS.format(code="moderation", scope="submission", project="") + before[end:])
    (job,) = open_store(schema_1_folder).load().jobs
    assert job.refusal_for("de-DE") is not None
