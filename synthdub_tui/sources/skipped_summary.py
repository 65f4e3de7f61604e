"""Counts the files that a search skipped, by folder and reason. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from synthdub_tui.humanize import format_count
from synthdub_tui.sources.scan import SkippedPath
from synthdub_tui.sources.skip_rules import SkipReason
from synthdub_tui.text import make_printable

MAX_FOLDERS_COUNTED: Final = 300
"""Folders that are counted separately, and other names of files that are listed. The rest is one number."""

MAX_NAMES_SHOWN: Final = 6
"""Most names of folders in a line of text."""

_VIDEOS: Final = frozenset(SkipReason) - {SkipReason.NOT_A_VIDEO, SkipReason.OWN_OUTPUT, SkipReason.FOLDER_LINK}
_REASON_WORDS: Final = {
    SkipReason.HIDDEN: "hidden files",
    SkipReason.RESERVED: "files of other programs",
    SkipReason.EXCLUDED: "excluded",
    SkipReason.SAME_FILE: "other names of one file",
    SkipReason.OUTPUT_COPY: "copies of outputs",
}

_Place = tuple[str, SkipReason]


@dataclass
class SkippedSummary:
    """Counts by folder and reason. A folder that is skipped as a whole counts the videos below it."""

    counts: Counter[_Place] = field(default_factory=Counter)
    uncounted: set[_Place] = field(default_factory=set)  # there may be more
    whole_folders: set[_Place] = field(default_factory=set)  # folders that are skipped as a whole
    duplicate_names: list[tuple[str, str]] = field(default_factory=list)  # another name of a file, and the name that is used

    def add(self, item: SkippedPath) -> None:
        """Count one skipped item, whose code is a `SkipReason`."""
        why = SkipReason(item.code)
        place = self._folder_and_reason(item, why)
        self.counts[place] += item.video_count if item.is_folder and why is not SkipReason.FOLDER_LINK else 1
        if item.may_have_more:
            self.uncounted.add(place)
        if item.is_folder and place[0]:
            self.whole_folders.add(place)
        if why is SkipReason.SAME_FILE and len(self.duplicate_names) < MAX_FOLDERS_COUNTED:
            self.duplicate_names.append((item.path, item.detail))

    def count_for(self, *reasons: SkipReason) -> int:
        """How many were skipped for these reasons."""
        return sum(number for (_, why), number in self.counts.items() if why in reasons)

    @property
    def video_count(self) -> int:
        """Videos that were skipped, except for our own outputs."""
        return self.count_for(*_VIDEOS)

    def describe(self) -> str:
        """`18 videos in 3 folders (#recycle 12, @eaDir 6), 1 link to a folder (old)`; empty if there are none of these."""
        links = [path for (path, why), number in self.counts.items() if why is SkipReason.FOLDER_LINK and number]
        return ", ".join(filter(None, (self._video_words(), _link_words(self.count_for(SkipReason.FOLDER_LINK), links))))

    def rows(self) -> list[dict[str, Any]]:
        """One row for each folder and reason, for programs. An empty folder stands for all beyond `MAX_FOLDERS_COUNTED`."""
        return [
            {"folder": folder, "why": why.value, "count": number, "at_least": (folder, why) in self.uncounted}
            for (folder, why), number in self.counts.items()
            if number
        ]

    def to_document(self) -> dict[str, Any]:
        """All counts, for programs and for the state directory."""
        return {
            "videos": self.video_count,
            "folders": self.rows(),
            "same_files": [{"file": other, "taken": taken} for other, taken in self.duplicate_names],
        }

    def _folder_and_reason(self, item: SkippedPath, why: SkipReason) -> _Place:
        place = (item.path if item.is_folder else item.path.rpartition("/")[0] or "/", why)
        return place if place in self.counts or len(self.counts) < MAX_FOLDERS_COUNTED else ("", why)

    def _video_words(self) -> str:
        places = {place: number for place, number in self.counts.items() if place[1] in _VIDEOS and number}
        if not places:
            return ""
        named: Counter[str] = Counter()
        for (folder, why), number in places.items():
            named[_folder_name(folder) if (folder, why) in self.whole_folders else _REASON_WORDS[why]] += number
        more = "at least " if self.uncounted & places.keys() else ""
        folders = format_count(len({folder for folder, _ in places}), "folder")
        return f"{more}{format_count(sum(places.values()), 'video')} in {folders} ({_join_names(_format_counts(named))})"


def _link_words(number: int, links: list[str]) -> str:
    if not links:
        return ""
    targets = "a folder" if number == 1 else "folders"
    return f"{format_count(number, 'link')} to {targets} ({_join_names(map(_folder_name, links))})"


def _format_counts(named: Mapping[str, int]) -> Iterable[str]:
    return (f"{name} {number:,}" for name, number in sorted(named.items(), key=lambda item: -item[1]))


def _join_names(words: Iterable[str]) -> str:
    listed = list(words)
    more = f" and {len(listed) - MAX_NAMES_SHOWN:,} more" if len(listed) > MAX_NAMES_SHOWN else ""
    return ", ".join(listed[:MAX_NAMES_SHOWN]) + more


def _folder_name(folder: str) -> str:
    return make_printable(folder.rpartition("/")[2], 40) or "other folders"
