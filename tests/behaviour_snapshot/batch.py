"""A batch against the sandbox: dubs that are done, failed, refused, moderated, unknown, cancelled, held or under way, and what
each command then does to them."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections import Counter
from pathlib import Path
from typing import Any, Final

from tests.behaviour_snapshot.album import SnapshotFolder, describe_progress
from tests.behaviour_snapshot.placeholders import drop_repeated
from tests.behaviour_snapshot.product import (
    SOURCE_MTIME_SECONDS,
    RecordedResult,
    RecordingProxy,
    SandboxAddress,
    SnapshotHome,
    block_until_true,
    running_sandbox,
)

SANDBOX_CONFIG: Final = """\
processing_seconds = 0.05
dubbing_seconds = [0.1, 0.1]
output_seconds = 1.0

[dubbing_seconds_by_title]
"*endless*" = [3600, 3600]

[[failures]]
title = "language"
languages = ["de-DE"]
times = 1

[[failures]]
kind = "project"
title = "project"
code = "video_duration_limit_reached"
times = 1

[[failures]]
title = "moderated"
languages = ["de-DE"]
code = "moderation"

[[failures]]
kind = "project"
title = "banned"
code = "moderation"

[[failures]]
kind = "refused"
title = "refused"
languages = ["de-DE"]
code = "invalid_target_language"

[[failures]]
kind = "asset"
title = "undetected"
code = "language_detect"

[[failures]]
kind = "asset"
title = "broken"
code = "asset_upload"

[[faults]]  # the first paid request of all
endpoint = "POST /v2/dubbing"
kind = "reset_after"
nth = [1]

[[faults]]
endpoint = "download"
kind = "slow"
path = "*/nl-NL/*"
bytes_per_second = 4000
"""

RUN_ARGUMENTS: Final = ("run", "--poll-interval", "0.1", "--tier", "unlimited", "--settle", "0")

TWO_LANGUAGES: Final = "fr-FR,de-DE"

TARGETS_BY_VIDEO: Final[dict[str, tuple[str, ...]]] = {
    "unknown": ("--targets", "fr-FR"),
    "done": ("--targets", TWO_LANGUAGES),
    "language": ("--targets", TWO_LANGUAGES),
    "project": ("--targets", TWO_LANGUAGES),
    "moderated": ("--targets", TWO_LANGUAGES),
    "banned": ("--targets", TWO_LANGUAGES, "--json"),
    "refused": ("--targets", TWO_LANGUAGES),
    "undetected": ("--targets", TWO_LANGUAGES, "--source-language", "auto"),
    "broken": ("--targets", "fr-FR"),
    "occupied": ("--targets", "fr-FR"),
    "options": (
        *("--targets", "fr-FR", "--title", "Spring", "--lipsync", "--video-duration", "original", "--visibility", "public"),
        *("--no-captions", "--output-dir", "elsewhere", "--source-language", "it", "--json"),
    ),
}
"""What each file is called, and what `run` is given with it. One after another, so that requests come in a fixed order."""


def record_batch(snapshots: SnapshotFolder, root: Path) -> None:
    """All of it."""
    home = SnapshotHome(root)
    with running_sandbox(home, SANDBOX_CONFIG) as service:
        tap = RecordingProxy(service.api_url)
        home.use_service(tap.url, service.storage_url)
        _BatchRecording(snapshots, home, service).record_all()
        snapshots.write("requests-to-the-api", drop_repeated(tap.requests()))
        tap.close()
        snapshots.write("requests-seen-by-the-service", _write_requests(service))


class _BatchRecording:
    """Commands in a fixed order, each recorded with what it changed on disk."""

    def __init__(self, album: SnapshotFolder, home: SnapshotHome, service: SandboxAddress) -> None:
        self._snapshots = album
        self._home = home
        self._service = service
        self._step_number = 0

    def record_all(self) -> None:
        """From an empty state directory on."""
        self._make_the_batch()
        self._remember_files()
        self._record_endless_work()
        self._record_changes_without_runner()
        self._record_next_run()
        self._record_other_batches()
        self._record_lost_state_file()
        self._record_demo()

    def _make_the_batch(self) -> None:
        (self._home.videos / "occupied.dubbed-fr-FR.mp4").write_text("of somebody else")
        for number, (name, options) in enumerate(TARGETS_BY_VIDEO.items()):
            video = self._home.write_video(f"{name}.mp4", 1000 + number)
            self._record_command(*RUN_ARGUMENTS, str(video), *options)

    def _remember_files(self) -> None:
        for words in ("status", "status --json", "outputs", "outputs --json", "doctor"):
            self._record_command(*words.split())

    def _record_endless_work(self) -> None:
        """An endless dub and a slow download, interrupted; one of them cancelled."""
        endless, slow = self._home.write_video("endless.mp4", 2000), self._home.write_video("slow.mp4", 2001)
        self._run_until_then_interrupt(endless, "fr-FR,it", lambda: self._home.count_running_dubs(endless) == 2)
        self._record_command("cancel", "endless.mp4:it")
        self._record_command("cancel", "endless.mp4:it")
        self._run_until_then_interrupt(slow, "nl-NL", lambda: "etag = " in self._home.read_job(slow), "--json")
        self._record_command("status")
        self._record_command("cancel", "slow.mp4")

    def _record_changes_without_runner(self) -> None:
        self._record_command("retry", "failed")
        self._record_command("retry", "language.mp4")
        self._record_answered_command("n", "retry", "language.mp4")
        self._record_answered_command("y", "retry", "language.mp4")
        self._record_answered_command("n", "retry", "moderated.mp4:de-DE")
        self._record_command("retry", "moderated.mp4:de-DE", "banned.mp4", "--yes")
        self._record_command("retry", "project.mp4", "refused.mp4", "broken.mp4", "--yes")
        self._record_command("cancel", "broken.mp4", "refused.mp4")
        self._record_command("retry", "occupied.mp4")
        self._record_command("cancel", "unknown.mp4")
        self._record_command("retry", "unknown.mp4")
        self._record_command("adopt", "unknown.mp4:fr-FR", self._record_unknown_project())
        self._record_answered_command("n", "remove", "language.mp4", "banned.mp4", "slow.mp4")
        self._record_answered_command("y", "remove", "banned.mp4")
        self._record_command("remove", "undetected.mp4", "endless.mp4")
        os.rename(self._home.videos / "done.mp4", self._home.videos / "moved.mp4")
        self._record_command("relocate", "videos/done.mp4", "videos/moved.mp4")
        self._record_command("retry", "endless.mp4:it")
        self._record_command("cancel", "endless.mp4")
        self._record_command("pause")
        self._record_command("status")

    def _record_unknown_project(self) -> str:
        return next(str(each["project"]) for each in self._service.read_requests() if each.get("fault") == "reset_after")

    def _record_next_run(self) -> None:
        self._record_command(*RUN_ARGUMENTS, str(self._home.write_video("new.mp4", 3000)), "--targets", "fr-FR")
        (self._home.videos / "occupied.dubbed-fr-FR.mp4").unlink()
        self._record_command(*RUN_ARGUMENTS, "--resume", "--json")
        (self._home.videos / "moved.dubbed-fr-FR.mp4").unlink(missing_ok=True)
        (self._home.videos / "done.dubbed-fr-FR.mp4").unlink(missing_ok=True)
        self._record_slow_download(self._home.write_video("slow-again.mp4", 3001))
        for words in ("status", "outputs", "outputs --json"):
            self._record_command(*words.split())

    def _record_slow_download(self, video: Path) -> None:
        """Long enough for progress to be told."""
        said = self._home.run_command(*RUN_ARGUMENTS, str(video), "--targets", "nl-NL", "--json")
        self._write_step(said)
        self._snapshots.write("progress-of-a-download", describe_progress(said.out.splitlines()))

    def _record_other_batches(self) -> None:
        """A second state directory of the same user finds receipts, and one of another user finds claims."""
        copy = self._home.videos / "copy.mp4"
        shutil.copy2(self._home.videos / "moved.mp4", copy)
        self._record_command(
            *RUN_ARGUMENTS, str(copy), "--targets", "fr-FR", "--state-dir", str(self._home.root / "second-state")
        )
        endless = self._home.write_video("endless-again.mp4", 3002)
        self._run_until_then_interrupt(endless, "fr-FR", lambda: self._home.count_running_dubs(endless) == 1)
        other = {"SYNTHDUB_DATA_DIR": str(self._home.root / "other-data")}
        self._record_command(
            *RUN_ARGUMENTS,
            str(endless),
            "--targets",
            "fr-FR",
            "--state-dir",
            str(self._home.root / "other-state"),
            environment=other,
        )
        self._record_command("status", "--state-dir", str(self._home.root / "other-state"))
        self._record_command("cancel", "endless-again.mp4")
        os.utime(endless, (SOURCE_MTIME_SECONDS + 60, SOURCE_MTIME_SECONDS + 60))
        self._record_command(*RUN_ARGUMENTS, str(self._home.videos / "moved.mp4"), "--targets", "fr-FR", "--force-new")

    def _record_lost_state_file(self) -> None:
        next(self._home.state.glob("jobs/project-*.toml")).write_text("path = [")
        self._record_command("status")
        self._record_command("status", "--json")
        self._record_command(*RUN_ARGUMENTS)
        self._record_command("status")

    def _record_demo(self) -> None:
        self._record_command(
            "demo", "--headless", "--files", "2", "--targets", TWO_LANGUAGES, "--folder", str(self._home.root / "demo")
        )

    # -- steps -------------------------------------------------------------------------------------------------------

    def _record_command(self, *words: str, environment: dict[str, str] | None = None) -> None:
        self._write_step(self._home.run_command(*words, environment=environment))

    def _record_answered_command(self, reply: str, *words: str) -> None:
        self._write_step(self._home.answer_prompt(reply, *words), f" - {reply}")

    def _run_until_then_interrupt(self, video: Path, targets: str, condition: Any, *options: str) -> None:
        """A run that is ended by a signal once the condition holds."""
        words = (*RUN_ARGUMENTS, str(video), "--targets", targets, *options)
        process = self._home.start_command(*words)
        block_until_true(condition, f"the middle of {words}")
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate()
        self._write_step(RecordedResult(words, process.returncode, out, err), " - interrupted")

    def _write_step(self, said: RecordedResult, note: str = "") -> None:
        named = [
            word.rpartition("/")[2]
            for word in said.arguments[len(RUN_ARGUMENTS) if said.arguments[:1] == RUN_ARGUMENTS[:1] else 1 :]
        ]
        about = next((word for word in named if not word.startswith("-")), "")
        name = f"{self._step_number:02} {said.arguments[0]} {about}{note}"
        self._step_number += 1
        self._snapshots.write_command(f"{name}/said", said, interleaved=said.arguments[0] in ("run", "demo"))
        self._snapshots.write_changed_files(f"{name}/files", self._home.root)


def _write_requests(service: SandboxAddress) -> str:
    """What was asked of the service but for reads, and what it billed."""
    fields = ("endpoint", "status", "fault", "languages", "billed")
    writes = [each for each in service.read_requests() if each["method"] != "GET"]
    counts = Counter(json.dumps({name: each[name] for name in fields if name in each}) for each in writes)
    return "".join(sorted(f"{what}: {count}\n" for what, count in counts.items()))
