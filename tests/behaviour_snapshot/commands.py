"""Commands that need no service: help, usage errors, and every command on the state directory that an old version left."""

from __future__ import annotations

import os
import shutil
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from tests.behaviour_snapshot.album import SnapshotFolder
from tests.behaviour_snapshot.product import REPO_ROOT, SnapshotHome

COMMAND_NAMES: Final = (
    "run runner demo sandbox status outputs retry cancel remove relocate adopt pause resume stop languages doctor dashboard"
).split()

WRONG_ARGUMENTS: Final = (
    "--nonsense",
    "statsu",
    "missing.mp4",
    "--targets fr-FR missing.mp4",
    "--read-only",
    "run",
    "run missing.mp4 --targets fr-FR",
    "run videos",
    "run videos --targets xx-XX",
    "run videos --targets fr-FR --source-language xx",
    "run videos --targets en",
    "run videos --targets fr-FR --exclude [",
    "run videos --targets fr-FR --video-duration long",
    "run videos --targets fr-FR --visibility all",
    "run videos --targets fr-FR --tier gold",
    "run videos --targets fr-FR --max-uploads 0",
    "run videos --targets fr-FR --max-uploads many",
    "run videos --targets fr-FR --max-downloads 0",
    "run videos --targets fr-FR --poll-interval -1",
    "run videos --targets fr-FR --settle -1",
    "run videos --targets fr-FR --api-url ftp://example.com",
    "run videos --targets fr-FR --api-url http://example.com",
    "run videos --targets fr-FR --s3-endpoint-url https://a:b@example.com",
    "run videos --targets fr-FR --api-key-file missing",
    "run videos --targets fr-FR --api-key-file empty-key",
    "run videos --targets fr-FR --config missing.toml",
    "run videos --targets fr-FR --config syntax.toml",
    "run videos --targets fr-FR --config unknown.toml",
    "run videos --targets fr-FR --config type.toml",
    "run videos --targets fr-FR --config section.toml",
    "run videos --targets fr-FR --output-dir videos/clip.mp4",
    "run videos --targets fr-FR --state-dir videos/clip.mp4",
    "run empty --targets fr-FR",
    "run notes.txt --targets fr-FR",
    "run videos/not-a-video.mp4 --targets fr-FR",
    "run videos --targets fr-FR",
    "run videos --targets fr-FR --json",
    "run videos --targets fr-FR --api-key visible --api-url http://127.0.0.1:1 --tier gold",
    "run --jsn",
    "runner --nonsense",
    "status --nonsense",
    "status extra",
    "retry",
    "retry nothing.mp4",
    "retry failed",
    "cancel",
    "cancel nothing.mp4",
    "remove",
    "remove nothing.mp4",
    "relocate one",
    "relocate one two",
    "relocate notes.txt videos",
    "adopt a.mp4:fr-FR",
    "adopt a.mp4:fr-FR nothing",
    "adopt a.mp4:fr-FR 00000000-0000-4000-8000-000000000000",
    "pause extra",
    "stop",
    "status",
    "status --json",
    "outputs",
    "outputs --json",
    "pause",
    "resume",
    "demo --files 0",
    "demo --files none",
    "sandbox --config missing.toml",
    "sandbox --config syntax.toml",
    "sandbox --config fault.toml",
    "sandbox --config type.toml",
    "sandbox --port 1x",
    "doctor",
    "doctor --config unknown.toml",
    "doctor --api-url http://127.0.0.1:1 --api-key visible",
)
"""Command lines that are wrong, or that find nothing to do, in a home without a key."""

COMMANDS_ON_OLD_STATE: Final = (
    "status",
    "status --json",
    "outputs",
    "outputs --json",
    "retry failed",
    "retry failed --yes",
    "retry failed-language.mp4",
    "retry failed-language.mp4 --yes",
    "retry failed-project.mp4:fr-FR --yes",
    "retry moderated.mp4",
    "retry moderated.mp4:fr-FR --yes",
    "retry unknown.mp4",
    "retry unknown.mp4 --yes",
    "retry cancelled.mp4",
    "retry cancelled.mp4:es-ES",
    "retry intent.mp4 --yes",
    "retry intro.mp4:xx",
    "retry intro.mp4",
    "cancel unknown.mp4",
    "cancel dubbing.mp4",
    "cancel waiting.mp4:fr-FR",
    "cancel interrupted.mp4",
    "cancel uploading.mp4",
    "cancel lib",
    "remove failed-language.mp4",
    "remove failed-language.mp4 --yes",
    "remove cancelled.mp4 --yes",
    "remove dubbing.mp4 --yes",
    "remove intro.mp4",
    "relocate lib/intro.mp4 moved",
    "relocate lib/intro.mp4 moved/intro.mp4",
    "relocate lib moved",
    "adopt unknown.mp4 00000000-0000-4000-8000-000000000000",
    "pause",
    "resume",
    "stop",
    "run",
    "run lib --targets fr-FR",
    "doctor",
)
"""Each in a home of its own, so that none sees what another changed."""

BROKEN_CONFIGS: Final = {
    "syntax.toml": "max_uploads = \n",
    "unknown.toml": "# A typing mistake.\nmax_upload = 3\n",
    "type.toml": 'max_uploads = "three"\n[[faults]]\nendpoint = "download"\nkind = "nonsense"\n',
    "section.toml": "[batch]\ntargets = 3\n",
    "fault.toml": '[[faults]]\nendpoint = "S3 Nonsense"\nkind = "status"\n',
}

MAX_PARALLEL_PROCESSES: Final = 2


def record_commands(snapshots: SnapshotFolder, root: Path) -> None:
    """All of it."""
    with ThreadPoolExecutor(MAX_PARALLEL_PROCESSES) as pool:
        _record_help(snapshots, root / "help", pool)
        _record_languages(snapshots, root / "languages", pool)
        list(pool.map(lambda at: _record_wrong_arguments(snapshots, root / f"wrong-{at}", at), range(len(WRONG_ARGUMENTS))))
        list(pool.map(lambda at: _record_old_state(snapshots, root / f"old-{at}", at), range(len(COMMANDS_ON_OLD_STATE))))


def _record_help(album: SnapshotFolder, root: Path, pool: ThreadPoolExecutor) -> None:
    home = SnapshotHome(root)
    lines = [("--help",), ("--version",), *((name, "--help") for name in COMMAND_NAMES)]
    for words, said in zip(lines, pool.map(lambda words: home.run_command(*words), lines), strict=True):
        album.write_command(f"help/{' '.join(words).replace('--', '')}", said)


def _record_languages(album: SnapshotFolder, root: Path, pool: ThreadPoolExecutor) -> None:
    home = SnapshotHome(root)
    lines = [("languages",), ("languages", "--json"), ("languages", "--nonsense")]
    for words, said in zip(lines, pool.map(lambda words: home.run_command(*words), lines), strict=True):
        album.write_command(f"languages/{'-'.join(words)}", said)


def _record_wrong_arguments(album: SnapshotFolder, root: Path, at: int) -> None:
    home = SnapshotHome(root)
    home.write_video("clip.mp4")
    (home.videos / "not-a-video.mp4").write_text("text")
    (root / "empty").mkdir()
    (root / "notes.txt").write_text("text")
    (root / "empty-key").touch()
    for name, content in BROKEN_CONFIGS.items():
        (root / name).write_text(content)
    album.subfolder("wrong").write_command(
        f"{at:02} {_snapshot_name(WRONG_ARGUMENTS[at])}", home.run_command(*WRONG_ARGUMENTS[at].split())
    )


def _record_old_state(album: SnapshotFolder, root: Path, at: int) -> None:
    home = SnapshotHome(root)
    write_old_state(home)
    part = album.subfolder(f"old-state/{at:02} {_snapshot_name(COMMANDS_ON_OLD_STATE[at])}")
    part.look(root)
    part.write_command("said", home.run_command(*COMMANDS_ON_OLD_STATE[at].split()))
    part.write_changed_files("files", root)


def _snapshot_name(line: str) -> str:
    return line.replace("/", "_")[:80]


# -- the old state ---------------------------------------------------------------------------------------------------


def write_old_state(home: SnapshotHome) -> None:
    """The state that synthdub 0.1 left, and its files: only their names, sizes and times are looked at."""
    found = REPO_ROOT / "tests" / "data" / "state-0.1" / "state"
    shutil.copytree(found, home.state)
    for path in home.state.glob("jobs/*.toml"):
        text = path.read_text("utf-8").replace("@ROOT@", str(home.root))
        path.write_text(text, "utf-8")
        for file, size, mtime_ns in _files_of_job(tomllib.loads(text)):
            _make_sparse_file(Path(file), size, mtime_ns)
    (home.root / "moved").mkdir()
    if (intro := home.root / "lib" / "intro.mp4").exists():
        shutil.copy2(intro, home.root / "moved" / "intro.mp4")


def _files_of_job(job: dict[str, Any]) -> Iterator[tuple[str, int, int]]:
    yield job["source"]["path"], job["source"]["size"], job["source"]["mtime_ns"]
    for output in (dub["output"] for dub in job["dubs"].values() if "output" in dub):
        yield output["path"], output["size"], output["mtime_ns"]
        yield from ((path, 100, time) for path, time in zip(output["captions"], output["captions_ns"], strict=True))


def _make_sparse_file(path: Path, size: int, mtime_ns: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size)
    os.utime(path, ns=(mtime_ns, mtime_ns))
