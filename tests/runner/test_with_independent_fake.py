"""Batches through a service that shares no code with ours (tests/independent_fake.py) and a real S3 server, by the command
line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from synthdub_tui.jobs.model import DubState
from synthdub_tui.store.job_store import JobStore
from tests.independent_fake import API_KEY, IndependentFake, serve_fake
from tests.seaweedfs_server import SeaweedFS, seaweedfs
from tests.waiting import wait_for_output

__all__ = ["seaweedfs"]

TARGETS = ("fr-FR", "es-ES", "de-DE")


class ExternalCommand:
    """The command line, as a user has it."""

    def __init__(self, service: IndependentFake, storage: SeaweedFS, folder: Path) -> None:
        self.service = service
        self.videos = folder / "videos"
        self.videos.mkdir()
        self._state = folder / "state"
        self._environment = {
            **os.environ,
            "SYNTHESIA_API_KEY": API_KEY,
            "SYNTHDUB_API_URL": service.url,
            "SYNTHDUB_S3_ENDPOINT_URL": storage.endpoint_url,
            "SYNTHDUB_STATE_DIR": str(self._state),
            "SYNTHDUB_CONFIG": os.devnull,
        }

    def start_command(self, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "synthdub_tui", *words]
        return subprocess.Popen(command, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run_command(self, *words: str) -> tuple[int, str]:
        process = self.start_command(*words)
        out, _ = wait_for_output(process)
        return process.returncode, out

    def run(self, *words: str) -> int:
        return self.run_command("run", "--settle", "0", "--poll-interval", "0.1", "--tier", "unlimited", *words)[0]

    def read_dub_states(self, video: Path) -> set[DubState]:
        """Of a video's dubs, from the state directory: a command for each look would take most of a test's time."""
        jobs = JobStore(str(self._state)).load(set_aside=False).jobs
        return {dub.state for job in jobs if job.source.path == str(video) for dub in job.dubs.values()}

    def status(self) -> dict[str, Any]:
        found = json.loads(self.run_command("status", "--json")[1])
        assert isinstance(found, dict)
        return found

    def check_outputs(self, languages: tuple[str, ...]) -> int:
        """Every output is byte-exact what the service holds for its project; how many there are."""
        count = 0
        for file in self.status()["files"]:
            stem = Path(file["file"]).with_suffix("")
            for dub in file["dubs"]:
                for ending in ("mp4", "srt", "vtt"):
                    output = Path(f"{stem}.dubbed-{dub['language']}.{ending}")
                    assert output.read_bytes() == self.service.content(dub["project"], dub["language"], ending)
                    count += 1
            assert {dub["language"] for dub in file["dubs"]} == set(languages)
        left = [path.name for path in self.videos.iterdir() if path.suffix == ".part"]
        assert not left
        return count


@pytest.fixture
def external_command(seaweedfs: SeaweedFS, tmp_path: Path) -> Iterator[ExternalCommand]:
    def grant(key: str) -> dict[str, str]:
        given = seaweedfs.credentials_for(key)
        keys = {"accessKeyId": given.access_key, "secretAccessKey": given.secret_key, "sessionToken": given.token}
        return keys | {"bucket": seaweedfs.bucket}

    with serve_fake(IndependentFake(grant)) as service:
        yield ExternalCommand(service, seaweedfs, tmp_path)


def test_six_files_in_three_languages(external_command: ExternalCommand, seaweedfs: SeaweedFS) -> None:
    for number, ending in enumerate(("mp4", "webm", "mov", "mp4", "webm", "mov")):
        (external_command.videos / f"video-{number}.{ending}").write_bytes(os.urandom(10_000 + number))
    words = (
        str(external_command.videos),
        "--targets",
        ",".join(TARGETS),
        "--source-language",
        "de",
        "--title",
        "Course",
        "--lipsync",
    )
    assert external_command.run(*words) == 0
    assert external_command.check_outputs(TARGETS) == 18 + 36
    service = external_command.service
    asked = [data for method, path, data in service.requests if (method, path) == ("POST", "/v2/dubbing")]
    assert sorted(data.pop("title") for data in asked) == [f"Course - video-{number}" for number in range(6)]
    assert {data.pop("sourceAssetId") for data in asked} == set(service.assets)
    wanted = {"sourceLanguage": "de", "targetLanguages": list(TARGETS), "lipsyncEnabled": True}
    assert asked == [wanted | {"videoDuration": "adaptive", "visibility": "private"}] * 6
    for asset in service.assets.values():
        stored = seaweedfs.admin().get_object(Bucket=seaweedfs.bucket, Key=asset["key"])
        source = next(path for path in external_command.videos.iterdir() if asset["asked"]["title"] == f"Course - {path.stem}")
        assert stored["Body"].read() == source.read_bytes()
        assert stored["ContentType"] == asset["asked"]["contentType"]
    before = service.request_arrived
    assert external_command.run(*words) == 0
    assert service.request_arrived == before


def test_killed_at_every_request_in_turn(external_command: ExternalCommand) -> None:
    """`kill -9` when the nth request has arrived, before its answer: then run again. Only a dub whose paid request was under
    way is left to the user; nothing else is sent twice, and nothing is lost."""
    languages = TARGETS[:2]
    unknown = number = 0
    killed = True
    while killed:
        number += 1
        video = external_command.videos / f"video-{number}.mp4"
        video.write_bytes(os.urandom(5000))
        killed = _run_and_kill(external_command, video, languages, number)
        code = external_command.run(str(video), "--targets", ",".join(languages))
        if DubState.UNKNOWN in external_command.read_dub_states(video):
            unknown += 1
            assert code == 1
            assert external_command.service.count_requests("POST", "/v2/dubbing") == number
            assert external_command.run_command("retry", str(video))[0] == 1  # without consent nothing is sent
            assert external_command.run_command("retry", str(video), "--yes")[0] == 0
            external_command.run()
            external_command.service.requests.remove(("POST", "/v2/dubbing", _last_submission(external_command)))
        assert external_command.service.count_requests("POST", "/v2/dubbing") == number
    assert unknown == 1
    assert number > 8
    assert external_command.check_outputs(languages) == number * 6


def _run_and_kill(outside: ExternalCommand, video: Path, languages: tuple[str, ...], number: int) -> bool:
    """Whether the run was killed before it ended by itself."""
    start = outside.service.request_arrived
    process = outside.start_command(
        "run", str(video), "--targets", ",".join(languages), "--poll-interval", "0.1", "--settle", "0"
    )

    def kill(seen: int) -> None:
        if seen == start + number:
            process.send_signal(signal.SIGKILL)
            process.wait()

    outside.service.on_request = kill
    wait_for_output(process)
    outside.service.on_request = lambda seen: None
    return process.returncode == -signal.SIGKILL


def _last_submission(outside: ExternalCommand) -> Any:
    return [data for method, path, data in outside.service.requests if (method, path) == ("POST", "/v2/dubbing")][-1]
