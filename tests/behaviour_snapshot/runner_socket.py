"""What a runner and its clients say to each other: a fixed conversation, byte for byte, and the commands beside a runner."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.behaviour_snapshot.album import SnapshotFolder, describe_value
from tests.behaviour_snapshot.batch import RUN_ARGUMENTS, SANDBOX_CONFIG, TWO_LANGUAGES
from tests.behaviour_snapshot.product import SnapshotHome, block_until_true, running_sandbox

TARGETS_BY_VIDEO: Final = {"done": TWO_LANGUAGES, "language": TWO_LANGUAGES, "moderated": TWO_LANGUAGES, "endless": "fr-FR"}

QUIET_SECONDS: Final = 0.7
"""A client that hears nothing for so long has heard all that follows from its request: changes are sent five times a second."""

ENDED_STATES: Final = frozenset({"done", "failed", "cancelled", "unknown"})

_CHANGING_FIELDS: Final = frozenset({"up", "down", "busy", "since"})
"""Fields of the meters that are left out where they have their default, which depends on the moment."""

_PACKED_NUMBERS: Final = re.compile(r'(?<="numbers":)"([\w+/=]+)"')


def record_socket(snapshots: SnapshotFolder, root: Path) -> None:
    """All of it."""
    home = SnapshotHome(root)
    with running_sandbox(
        home, SANDBOX_CONFIG.replace("[[faults]]  # the first", "[[faults]]\ncount = 0  # the first")
    ) as service:
        home.use_service(service.api_url, service.storage_url)
        for number, (name, targets) in enumerate(TARGETS_BY_VIDEO.items()):
            _run_first(home, home.write_video(f"{name}.mp4", 1000 + number), targets)
        home.run_command("cancel", "endless.mp4")
        with _running_runner(home):
            _SocketRecording(snapshots, home).record_all()
        snapshots.write_changed_files("state-after-the-conversation", root)
        with _running_runner(home):
            _record_commands(snapshots, home)
        snapshots.write_changed_files("state-after-the-commands", root)


def _run_first(home: SnapshotHome, video: Path, targets: str) -> None:
    """Without waiting for the end of what never ends."""
    process = home.start_command(*RUN_ARGUMENTS, str(video), "--targets", targets)
    block_until_true(
        lambda: process.poll() is not None or home.count_running_dubs(home.videos / "endless.mp4"), f"the end of {video.name}"
    )
    process.terminate()
    process.communicate()


@contextmanager
def _running_runner(home: SnapshotHome) -> Iterator[None]:
    """In the background, as a dashboard starts it; it is to end at the client's request."""
    process = home.start_command("runner", "--poll-interval", "0.1", "--tier", "creator", "--settle", "0", stderr=None)
    try:
        block_until_true(lambda: _is_answering(home.state / "runner.sock", process), "the runner's socket")
        yield
        process.wait(60)
    finally:
        process.kill()
        process.communicate()


def _is_answering(path: Path, process: subprocess.Popen[str]) -> bool:
    assert process.poll() is None, "the runner ended"
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


# -- the conversation ------------------------------------------------------------------------------------------------


class _SocketRecording:
    """Requests of one client that also follows the batch, and what it hears after each."""

    def __init__(self, album: SnapshotFolder, home: SnapshotHome) -> None:
        self._snapshots = album
        self._home = home
        self._client = _RecordingClient(home.state / "runner.sock")
        self._ids = {each["file"].rpartition("/")[2].partition(".")[0]: each["id"] for each in home.read_status()["files"]}
        self._step_number = 0
        self._sent_lines: list[str] = []

    def record_all(self) -> None:
        """From the first message to the last."""
        self._record_first_messages()
        self._record_paused_requests()
        self._record_add_and_relocate()
        self._record_resume()
        self._record_invalid_requests()
        self._send({"do": "stop"})
        self._snapshots.write("conversation", "".join(self._sent_lines))

    def _record_first_messages(self) -> None:
        version = self._home.run_command("--version").out.split()[-1]
        self._send({"do": "hello", "version": version, "protocol": 6})
        self._send({"do": "status"})
        self._send({"do": "pause"})
        self._send({"do": "subscribe"})

    def _record_paused_requests(self) -> None:
        """Nothing goes on by itself, so that only the request changes something."""
        done, language, moderated, endless = (self._ids[name] for name in TARGETS_BY_VIDEO)
        self._send({"do": "retry", "cells": [[language, "de-DE", "another@1 mark"]]})
        self._send({"do": "retry", "cells": [[language, "de-DE"]]})
        self._send({"do": "retry", "cells": [[language, "de-DE"], [done, "fr-FR"]], "paid": True})
        self._send({"do": "retry", "cells": [[language, "de-DE", self._state_mark(language)]], "paid": True})
        self._send({"do": "retry", "cells": [[moderated, "de-DE"]]})
        self._send({"do": "retry", "cells": [[moderated, "de-DE", self._state_mark(moderated)]], "paid": True})
        self._send({"do": "retry", "cells": [[endless, "fr-FR"], ["no-such-job", "fr-FR"]]})
        self._send({"do": "cancel", "cells": [[endless, "fr-FR", "nothing"], [done, "fr-FR"]]})
        self._send({"do": "cancel", "cells": [[endless, "fr-FR"]]})
        self._send({"do": "review", "cells": [[done, "fr-FR"]]})
        self._send({"do": "review", "cells": [[done]], "mark": False})
        self._send({"do": "thumbnail", "cell": [moderated, "de-DE"]})
        self._send({"do": "adopt", "cell": [endless, "fr-FR"], "project": "00000000-0000-4000-8000-000000000000"})
        self._send({"do": "remove", "cells": [[endless, "fr-FR"]]})
        self._send({"do": "remove", "cells": [[endless, "fr-FR"], [moderated, "fr-FR"]], "forget": True})
        self._send({"do": "check_key"})

    def _state_mark(self, job: str) -> str:
        """What a request says about a failed dub that was shown."""
        dub = self._client.jobs_by_id()[job]["dubs"]["de-DE"]
        return f"{dub['state']}@{dub['since']} {dub['failure']['code']}@{dub['failure']['at']}"

    def _record_add_and_relocate(self) -> None:
        done, moved = self._home.videos / "done.mp4", self._home.videos / "moved.mp4"
        new = self._home.write_video("new.mp4", 1100)
        batch = {"targets": ["nl-NL", "fr-FR"], "title": "Spring", "visibility": "public", "captions": False}
        self._send({"do": "add", "paths": [str(new)], "batch": batch})
        self._send({"do": "add", "paths": [str(self._home.root / "missing")], "batch": batch})
        self._send({"do": "add", "paths": [str(new)], "batch": {}})
        self._send({"do": "add_languages", "jobs": [self._ids["done"]], "languages": ["it", "fr-FR"]})
        os.rename(done, moved)
        self._send({"do": "relocate", "old": str(done), "new": str(moved)})
        self._send({"do": "relocate", "old": str(done), "new": str(self._home.root / "missing")})
        self._send({"do": "stop_adding"})

    def _record_resume(self) -> None:
        """Everything that was asked for is done now; only how it ends is fixed, not the messages on the way."""
        self._send({"do": "resume"}, until_ended=True)
        moving = [message for message in self._client.changes_messages if message.get("transfers")]
        self._sent_lines.append(f"a transfer is {json.dumps(describe_value(moving[0]['transfers'][0]))}\n")
        self._sent_lines.append(
            f"fields of changes: {sorted({key for message in self._client.changes_messages for key in message})}\n"
        )
        self._send({"do": "thumbnail", "cell": [self._ids["done"], "it"]})

    def _record_invalid_requests(self) -> None:
        for line in (
            b"nonsense\n",
            b'{"do":"dance"}\n',
            b'{"do":"retry","id":1}\n',
            b'{"do":"hello","version":"0.0.0","protocol":1}\n',
        ):
            other = _RecordingClient(self._home.state / "runner.sock")
            other.send(line)
            self._sent_lines.append(f"another client → {line.decode()}")
            block_until_true(lambda client=other: client.is_closed or client.lines, "an answer or the end")  # type: ignore[misc]
            self._sent_lines += [f"another client ← {json.dumps(json.loads(each))}\n" for each in other.lines]
            self._sent_lines.append("another client is dropped\n" if other.is_closed else "another client stays\n")
            other.close()

    def _send(self, request: dict[str, Any], *, until_ended: bool = False) -> None:
        self._step_number += 1
        line = json.dumps({"do": request.pop("do"), "id": self._step_number, **request}, separators=(",", ":"))
        heard = len(self._client.lines)
        self._client.send(f"{line}\n".encode())
        self._sent_lines.append(f"→ {line}\n")
        answers = (f'{{"is":"reply","id":{self._step_number},', '{"is":"welcome"')
        block_until_true(lambda: any(each.startswith(answers) for each in self._client.lines[heard:]), f"an answer to {line}")
        if until_ended:
            block_until_true(self._client.have_all_ended, "the end of the work")
        self._client.wait_until_quiet()
        self._sent_lines += _merge_changes(self._client.lines[heard:])


class _RecordingClient:
    """Reads all that the runner sends, in a thread."""

    def __init__(self, path: Path) -> None:
        self.lines: list[str] = []
        self.is_closed = False
        self._last_message_at = time.monotonic()
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(str(path))
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def changes_messages(self) -> list[dict[str, Any]]:
        """All messages of that kind."""
        messages = [json.loads(line) for line in self.lines]
        return [message for message in messages if message["is"] == "changes"]

    def send(self, line: bytes) -> None:
        """As it is."""
        self._connection.sendall(line)

    def close(self) -> None:
        """Leave."""
        self._connection.close()

    def wait_until_quiet(self) -> None:
        """Until it has heard nothing for a while."""
        self._last_message_at = time.monotonic()
        block_until_true(lambda: self.is_closed or time.monotonic() - self._last_message_at > QUIET_SECONDS, "silence")

    def jobs_by_id(self) -> dict[str, dict[str, Any]]:
        """The batch as far as was heard."""
        return _latest_jobs(json.loads(line) for line in list(self.lines))

    def have_all_ended(self) -> bool:
        """Whether each dub has."""
        return all(dub["state"] in ENDED_STATES for job in self.jobs_by_id().values() for dub in job["dubs"].values())

    def _read(self) -> None:
        with self._connection.makefile("r", encoding="utf-8") as lines:
            for line in lines:
                self._last_message_at = time.monotonic()
                self.lines.append(line)
        self.is_closed = True


def _merge_changes(lines: list[str]) -> Iterator[str]:
    """What was heard after a request: the changes on the way as one, then all else as it came."""
    messages = [json.loads(line) for line in lines]
    for line, message in zip(lines, messages, strict=True):
        if json.dumps(message, separators=(",", ":"), ensure_ascii=False) != line.rstrip("\n"):
            yield "(not in the usual form of JSON)\n"
    changes = [message for message in messages if message["is"] == "changes"]
    if jobs := _latest_jobs(changes):
        yield "".join(f"← changed {_message_text(jobs[name])}\n" for name in sorted(jobs))
    if removed := sorted({name for message in changes for name in message.get("removed", ())}):
        yield f"← removed {removed}\n"
    yield from (f"← {_message_text(_without_measurements(message))}\n" for message in messages if message["is"] != "changes")


def _latest_jobs(messages: Any) -> dict[str, dict[str, Any]]:
    """The last version of each job."""
    jobs: dict[str, dict[str, Any]] = {}
    for message in messages:
        if message["is"] in ("changes", "snapshot"):
            jobs |= {job["id"]: job for job in message.get("jobs", ())}
            for name in message.get("removed", ()):
                jobs.pop(name, None)
    return jobs


def _without_measurements(message: dict[str, Any]) -> dict[str, Any]:
    """A message whose meters do not depend on the moment."""
    if (meters := message.get("meters")) is not None:
        steady = {name: value for name, value in meters.items() if name not in _CHANGING_FIELDS}
        steady["quota"] = sorted([each[0], describe_value(each[1]), each[2], "<wait>"] for each in meters.get("quota", ()))
        message = message | {"meters": steady}
    return message


def _message_text(message: dict[str, Any]) -> str:
    return _PACKED_NUMBERS.sub(_unpack_numbers, json.dumps(message, separators=(",", ":"), ensure_ascii=False))


def _unpack_numbers(found: re.Match[str]) -> str:
    """Packed numbers of eight bytes one by one, since some are times."""
    return json.dumps([number for (number,) in struct.iter_unpack("<q", base64.b64decode(found[1]))])


# -- commands --------------------------------------------------------------------------------------------------------

COMMANDS_WITH_RUNNER: Final = (
    "status",
    "status --json",
    "outputs",
    "doctor",
    "run",
    "run videos --targets fr-FR",
    "pause",
    "status",
    "retry failed",
    "retry moderated.mp4",
    "retry moderated.mp4:de-DE --yes",
    "retry nothing.mp4",
    "cancel new.mp4",
    "cancel language.mp4",
    "remove language.mp4",
    "remove new.mp4 --yes",
    "adopt moderated.mp4:de-DE 00000000-0000-4000-8000-000000000000",
    "relocate videos/moved.mp4 videos/again.mp4",
    "resume",
    "status",
    "stop",
)


def _record_commands(album: SnapshotFolder, home: SnapshotHome) -> None:
    """Commands that ask the runner."""
    shutil.copy2(home.videos / "moved.mp4", home.videos / "again.mp4")
    for number, line in enumerate(COMMANDS_WITH_RUNNER):
        album.write_command(f"commands/{number:02} {line.replace('/', '_')}", home.run_command(*line.split()))
