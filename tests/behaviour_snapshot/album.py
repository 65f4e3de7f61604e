"""The folder that a recording is written to: one text for each thing that was observed."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from tests.behaviour_snapshot.placeholders import Placeholders, group_by_subject, strip_numbers
from tests.behaviour_snapshot.product import RecordedResult

_PROGRESS: Final = re.compile(r'"event": "progress"')
_DOWNLOAD_PROGRESS: Final = re.compile(r'"event": "progress".*"language"')
_FILES_WITH_MEASUREMENTS: Final = frozenset({"durations.toml", "quota.toml"})
"""State files that hold measurements: only their keys are recorded."""

_SKIPPED_FILES: Final = frozenset({"lock", "jobs.cache", "runner.sock"})
"""State files whose content is of this very process."""


class SnapshotFolder:
    """Writes below one folder, with placeholders. Files of a product that did not change since they were recorded last are not
    recorded again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._placeholders = Placeholders()
        self._remembered_files: dict[str, str] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def subfolder(self, name: str) -> SnapshotFolder:
        """A folder in this one with placeholders of its own, for what is recorded at the same time as other parts."""
        return SnapshotFolder(self._folder / name)

    def write(self, name: str, text: str) -> None:
        """One observation."""
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self._placeholders.replace_in(text), "utf-8")

    def write_command(self, name: str, result: RecordedResult, *, interleaved: bool = False) -> None:
        """What a command printed. `interleaved`: it worked on several dubs at once, so only the order within a dub counts."""
        out, err = (
            group_by_subject(_without_progress(words), _line_subject) if interleaved else words
            for words in (result.out, result.err)
        )
        words = " ".join(result.arguments)
        self.write(f"{name}.txt", f"$ synthdub {words}\nexit code {result.exit_code}\n--- stdout\n{out}--- stderr\n{err}")

    def write_changed_files(self, name: str, *folders: Path) -> None:
        """All files below these folders: the contents of those that changed, and the names of all."""
        before = self._remembered_files
        self.look(*folders)
        self.write(f"{name}/names", "".join(f"{path}\n" for path in sorted(self._remembered_files)))
        for path, text in self._remembered_files.items():
            if before.get(path) != text:
                self.write(f"{name}/{'/'.join(Path(path).parts[3:])}", text)

    def look(self, *folders: Path) -> None:
        """Remember these files, so that `write_changed_files` records what changes from now on."""
        found = [path for folder in folders for path in sorted(folder.rglob("*"))]
        self._remembered_files = {
            self._placeholders.replace_in(str(path)): self._content(path) for path in found if path.is_file()
        }

    def _content(self, path: Path) -> str:
        if path.name in _SKIPPED_FILES:
            return ""
        data = path.read_bytes()
        if path.name in _FILES_WITH_MEASUREMENTS:
            return json.dumps(describe_value(tomllib.loads(data.decode())), indent=2) + "\n"
        if path.name.endswith(".log"):
            return describe_log(data.decode())
        if path.suffix in (".mp4", ".part") or b"\0" in data:
            return f"{len(data)} bytes, {hashlib.sha256(data).hexdigest()}\n"
        text = self._placeholders.replace_in(data.decode())
        return group_by_subject(text, strip_numbers) if path.suffix == ".jsonl" else text


def describe_log(lines: str) -> str:
    """Which kinds of lines there are: level, event and the names of the fields. How often each comes depends on the machine."""
    shapes = set()
    for line in lines.splitlines():
        fields: dict[str, Any] = json.loads(line)
        shapes.add(f"{fields['level']} {fields['event']!r} {' '.join(fields)}\n")
    return "".join(sorted(shapes))


def describe_value(value: Any) -> Any:
    """A value with the kinds of its numbers and texts instead of them; what is alike in a list once."""
    if isinstance(value, dict):
        return {key: describe_value(each) for key, each in value.items()}
    if isinstance(value, list):
        shapes = [describe_value(each) for each in value]
        return [each for at, each in enumerate(shapes) if each not in shapes[:at]]
    return (
        "<truth>" if isinstance(value, bool) else "<number>" if isinstance(value, int | float) else f"<{type(value).__name__}>"
    )


def describe_progress(lines: Iterable[str]) -> str:
    """The kinds of progress events of downloads among JSON lines, each once."""
    return "".join(
        sorted({f"{json.dumps(describe_value(json.loads(line)))}\n" for line in lines if _DOWNLOAD_PROGRESS.search(line)})
    )


def _without_progress(lines: str) -> str:
    """How many of these events come depends on the machine."""
    return "".join(line for line in lines.splitlines(keepends=True) if not _PROGRESS.search(line))


def _line_subject(line: str) -> str:
    """File and language of a line that `run` printed; what is about the whole batch comes last."""
    if line.startswith("{"):
        event = json.loads(line)
        return f"{event.get('file', '~')} {event.get('language', '')}"
    timed = re.match(r"\d\d:\d\d:\d\d  (\S+  [a-z]{2}(-[A-Z]{2})?  |\S+  )", line)
    about = timed[1] if timed else line.partition(": ")[0] if ": " in line else ""
    return about or "~"
