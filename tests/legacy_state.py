"""A state directory that synthdub 0.1 wrote (tests/data/state-0.1), with its videos, and a service that knows its projects."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import rtoml

from synthdub_tui.sandbox.service import Sandbox
from synthdub_tui.sandbox.service_state import DubbedVideo, Project, SandboxAsset, UploadGrant

LEGACY_STATE_FOLDER: Final = Path(__file__).parent / "data" / "state-0.1"
CLIP_BYTES: Final = (LEGACY_STATE_FOLDER / "clip.mp4").read_bytes()
UNFINISHED_JOB_NAME: Final = "dubbing"
"""Title of the video that the service was still dubbing."""


def write_legacy_state(root: Path, state: Path) -> None:
    """Put state, sources and outputs below `root`, with the sizes and times that the state gives them."""
    (state / "jobs").mkdir(parents=True)
    for document in (LEGACY_STATE_FOLDER / "state").glob("*.toml"):
        shutil.copy(document, state / document.name)
    for path in sorted((LEGACY_STATE_FOLDER / "state" / "jobs").glob("*.toml")):
        text = path.read_text(encoding="utf-8").replace("@ROOT@", str(root))
        job = rtoml.loads(text)
        moved = _legacy_job_id(job)
        (state / "jobs" / f"{moved}.toml").write_text(text.replace(job["id"], moved), encoding="utf-8")
        for video, size, mtime_ns in _files_of_job(job):
            _write_sized_file(Path(video), size, mtime_ns)


def _legacy_job_id(job: dict[str, Any]) -> str:
    """The id that 0.1 gave: the digest is its own, so that a change of today's is seen."""
    options = job["options"]
    named = ("source_language", "title", "lipsync", "video_duration", "visibility")
    usual = {"lipsync": False, "video_duration": "adaptive", "visibility": "private"}
    parts = (job["source"]["path"], *((usual | options)[name] for name in named))
    digest = hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:12]
    return f"{job['id'].rpartition('-')[0]}-{digest}"


def _files_of_job(job: dict[str, Any]) -> Iterable[tuple[str, int, int]]:
    source = job["source"]
    yield source["path"], source["size"], source["mtime_ns"]
    for output in (dub["output"] for dub in job["dubs"].values() if "output" in dub):
        yield output["path"], output["size"], output["mtime_ns"]
        for path, mtime_ns in zip(output["captions"], output["captions_ns"], strict=True):
            yield path, 100, mtime_ns


def _write_sized_file(path: Path, size: int, mtime_ns: int) -> None:
    """A file that starts as a video does; what its box of padding holds means nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    padding = size - len(CLIP_BYTES)
    path.write_bytes(CLIP_BYTES + padding.to_bytes(4, "big") + b"free" + bytes(padding - 8) if padding >= 8 else b"1" * size)
    os.utime(path, ns=(mtime_ns, mtime_ns))


def load_legacy_service(sandbox: Sandbox) -> None:
    """Let the sandbox know the assets and projects that 0.1 made, all of them complete but the one under way."""
    known = json.loads((LEGACY_STATE_FOLDER / "service.json").read_text(encoding="utf-8"))
    now = time.time()
    for asset in known["assets"]:
        expired = UploadGrant("", "", "", f"user-assets/{asset['id']}/source", expires=now - 1)
        sandbox.state.assets[asset["id"]] = SandboxAsset(
            id=asset["id"],
            title=asset["title"],
            content_type=asset["content_type"],
            detect=True,
            length=None,
            md5=None,
            grant=expired,
            uploaded_at=now - 1 if asset["uploaded"] else None,
            processed_at=now - 1,
        )
    for project in known["projects"]:
        sandbox.state.projects[project["id"]] = _project(project, now)


def _project(known: dict[str, Any], now: float) -> Project:
    ends = now + 0.5 if known["title"] == UNFINISHED_JOB_NAME else now - 1
    dubs = {dub["language"]: DubbedVideo(dub["id"], dub["language"], now - 10, ends, dub["error"]) for dub in known["dubs"]}
    return Project(known["id"], known["title"], known["asset"], now - 10, dubs, known["error"], fails_at=ends)
