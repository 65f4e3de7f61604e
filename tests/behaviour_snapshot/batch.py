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

from tests.behaviour_snapshot.album import Album, progress_shapes
from tests.behaviour_snapshot.placeholders import distinct
from tests.behaviour_snapshot.product import SOURCE_TIME, Home, Said, Service, Tap, sandbox, wait_until

SANDBOX: Final = """\
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

RUN: Final = ("run", "--poll-interval", "0.1", "--tier", "unlimited", "--settle", "0")

PAIR: Final = "fr-FR,de-DE"

CASES: Final[dict[str, tuple[str, ...]]] = {
    "unknown": ("--targets", "fr-FR"),
    "done": ("--targets", PAIR),
    "language": ("--targets", PAIR),
    "project": ("--targets", PAIR),
    "moderated": ("--targets", PAIR),
    "banned": ("--targets", PAIR, "--json"),
    "refused": ("--targets", PAIR),
    "undetected": ("--targets", PAIR, "--source-language", "auto"),
    "broken": ("--targets", "fr-FR"),
    "occupied": ("--targets", "fr-FR"),
    "options": (
        *("--targets", "fr-FR", "--title", "Spring", "--lipsync", "--video-duration", "original", "--visibility", "public"),
        *("--no-captions", "--output-dir", "elsewhere", "--source-language", "it", "--json"),
    ),
}
"""What each file is called, and what `run` is given with it. One after another, so that requests come in a fixed order."""


def record(album: Album, root: Path) -> None:
    """All of it."""
    home = Home(root)
    with sandbox(home, SANDBOX) as service:
        tap = Tap(service.api_url)
        home.use(tap.url, service.storage_url)
        _Story(album, home, service).play()
        album.write("requests-to-the-api", distinct(tap.requests()))
        tap.close()
        album.write("requests-seen-by-the-service", _writes(service))


class _Story:
    """Commands in a fixed order, each recorded with what it changed on disk."""

    def __init__(self, album: Album, home: Home, service: Service) -> None:
        self._album = album
        self._home = home
        self._service = service
        self._number = 0

    def play(self) -> None:
        """From an empty state directory on."""
        self._make_the_batch()
        self._look()
        self._begin_what_does_not_end()
        self._steer_without_a_runner()
        self._go_on()
        self._meet_other_batches()
        self._lose_a_state_file()
        self._try_the_demo()

    def _make_the_batch(self) -> None:
        (self._home.videos / "occupied.dubbed-fr-FR.mp4").write_text("of somebody else")
        for number, (name, options) in enumerate(CASES.items()):
            video = self._home.video(f"{name}.mp4", 1000 + number)
            self._step(*RUN, str(video), *options)

    def _look(self) -> None:
        for words in ("status", "status --json", "outputs", "outputs --json", "doctor"):
            self._step(*words.split())

    def _begin_what_does_not_end(self) -> None:
        """An endless dub and a slow download, interrupted; one of them cancelled."""
        endless, slow = self._home.video("endless.mp4", 2000), self._home.video("slow.mp4", 2001)
        self._interrupted(endless, "fr-FR,it", lambda: self._home.dubs_under_way(endless) == 2)
        self._step("cancel", "endless.mp4:it")
        self._step("cancel", "endless.mp4:it")
        self._interrupted(slow, "nl-NL", lambda: "etag = " in self._home.stored(slow), "--json")
        self._step("status")
        self._step("cancel", "slow.mp4")

    def _steer_without_a_runner(self) -> None:
        self._step("retry", "failed")
        self._step("retry", "language.mp4")
        self._answer("n", "retry", "language.mp4")
        self._answer("y", "retry", "language.mp4")
        self._answer("n", "retry", "moderated.mp4:de-DE")
        self._step("retry", "moderated.mp4:de-DE", "banned.mp4", "--yes")
        self._step("retry", "project.mp4", "refused.mp4", "broken.mp4", "--yes")
        self._step("cancel", "broken.mp4", "refused.mp4")
        self._step("retry", "occupied.mp4")
        self._step("cancel", "unknown.mp4")
        self._step("retry", "unknown.mp4")
        self._step("adopt", "unknown.mp4:fr-FR", self._unknown_project())
        self._answer("n", "remove", "language.mp4", "banned.mp4", "slow.mp4")
        self._answer("y", "remove", "banned.mp4")
        self._step("remove", "undetected.mp4", "endless.mp4")
        os.rename(self._home.videos / "done.mp4", self._home.videos / "moved.mp4")
        self._step("relocate", "videos/done.mp4", "videos/moved.mp4")
        self._step("retry", "endless.mp4:it")
        self._step("cancel", "endless.mp4")
        self._step("pause")
        self._step("status")

    def _unknown_project(self) -> str:
        return next(str(each["project"]) for each in self._service.requests() if each.get("fault") == "reset_after")

    def _go_on(self) -> None:
        self._step(*RUN, str(self._home.video("new.mp4", 3000)), "--targets", "fr-FR")
        (self._home.videos / "occupied.dubbed-fr-FR.mp4").unlink()
        self._step(*RUN, "--resume", "--json")
        (self._home.videos / "moved.dubbed-fr-FR.mp4").unlink(missing_ok=True)
        (self._home.videos / "done.dubbed-fr-FR.mp4").unlink(missing_ok=True)
        self._download_slowly(self._home.video("slow-again.mp4", 3001))
        for words in ("status", "outputs", "outputs --json"):
            self._step(*words.split())

    def _download_slowly(self, video: Path) -> None:
        """Long enough for progress to be told."""
        said = self._home.call(*RUN, str(video), "--targets", "nl-NL", "--json")
        self._keep(said)
        self._album.write("progress-of-a-download", progress_shapes(said.out.splitlines()))

    def _meet_other_batches(self) -> None:
        """A second state directory of the same user finds receipts, and one of another user finds claims."""
        copy = self._home.videos / "copy.mp4"
        shutil.copy2(self._home.videos / "moved.mp4", copy)
        self._step(*RUN, str(copy), "--targets", "fr-FR", "--state-dir", str(self._home.root / "second-state"))
        endless = self._home.video("endless-again.mp4", 3002)
        self._interrupted(endless, "fr-FR", lambda: self._home.dubs_under_way(endless) == 1)
        other = {"SYNTHDUB_DATA_DIR": str(self._home.root / "other-data")}
        self._step(
            *RUN,
            str(endless),
            "--targets",
            "fr-FR",
            "--state-dir",
            str(self._home.root / "other-state"),
            environment=other,
        )
        self._step("status", "--state-dir", str(self._home.root / "other-state"))
        self._step("cancel", "endless-again.mp4")
        os.utime(endless, (SOURCE_TIME + 60, SOURCE_TIME + 60))
        self._step(*RUN, str(self._home.videos / "moved.mp4"), "--targets", "fr-FR", "--force-new")

    def _lose_a_state_file(self) -> None:
        next(self._home.state.glob("jobs/project-*.toml")).write_text("path = [")
        self._step("status")
        self._step("status", "--json")
        self._step(*RUN)
        self._step("status")

    def _try_the_demo(self) -> None:
        self._step("demo", "--headless", "--files", "2", "--targets", PAIR, "--folder", str(self._home.root / "demo"))

    # -- steps -------------------------------------------------------------------------------------------------------

    def _step(self, *words: str, environment: dict[str, str] | None = None) -> None:
        self._keep(self._home.call(*words, environment=environment))

    def _answer(self, reply: str, *words: str) -> None:
        self._keep(self._home.answer(reply, *words), f" - {reply}")

    def _interrupted(self, video: Path, targets: str, condition: Any, *options: str) -> None:
        """A run that is ended by a signal once the condition holds."""
        words = (*RUN, str(video), "--targets", targets, *options)
        process = self._home.start(*words)
        wait_until(condition, f"the middle of {words}")
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate()
        self._keep(Said(words, process.returncode, out, err), " - interrupted")

    def _keep(self, said: Said, note: str = "") -> None:
        named = [word.rpartition("/")[2] for word in said.words[len(RUN) if said.words[:1] == RUN[:1] else 1 :]]
        about = next((word for word in named if not word.startswith("-")), "")
        name = f"{self._number:02} {said.words[0]} {about}{note}"
        self._number += 1
        self._album.command(f"{name}/said", said, interleaved=said.words[0] in ("run", "demo"))
        self._album.files(f"{name}/files", self._home.root)


def _writes(service: Service) -> str:
    """What was asked of the service but for reads, and what it billed."""
    fields = ("endpoint", "status", "fault", "languages", "billed")
    writes = [each for each in service.requests() if each["method"] != "GET"]
    counts = Counter(json.dumps({name: each[name] for name in fields if name in each}) for each in writes)
    return "".join(sorted(f"{what}: {count}\n" for what, count in counts.items()))
