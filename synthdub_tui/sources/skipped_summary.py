"""Counts the files that a search skipped, by folder and reason. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from synthdub_tui.humanize import many
from synthdub_tui.sources.scan import Skipped
from synthdub_tui.sources.skip_rules import Why
from synthdub_tui.text import printable

FOLDERS_KEPT: Final = 300
"""Folders that are counted separately, and other names of files that are listed. The rest is one number."""

NAMES_SHOWN: Final = 6
"""Most names of folders in a line of text."""

_VIDEOS: Final = frozenset(Why) - {Why.OTHER, Why.OWN_OUTPUT, Why.FOLDER_LINK}
_WORDS: Final = {
    Why.HIDDEN: "hidden files",
    Why.RESERVED: "files of other programs",
    Why.EXCLUDED: "excluded",
    Why.SAME_FILE: "other names of one file",
    Why.OUTPUT_COPY: "copies of outputs",
}

_Place = tuple[str, Why]


@dataclass
class LeftOut:
    """Counts by folder and reason. A folder that is skipped as a whole counts the videos below it."""

    counts: Counter[_Place] = field(default_factory=Counter)
    unbounded: set[_Place] = field(default_factory=set)  # there may be more
    whole: set[_Place] = field(default_factory=set)  # folders that are skipped as a whole
    same: list[tuple[str, str]] = field(default_factory=list)  # another name of a file, and the name that is used

    def note(self, item: Skipped) -> None:
        """Count one skipped item, whose code is a `Why`."""
        why = Why(item.code)
        place = self._place(item, why)
        self.counts[place] += item.videos if item.folder and why is not Why.FOLDER_LINK else 1
        if item.more:
            self.unbounded.add(place)
        if item.folder and place[0]:
            self.whole.add(place)
        if why is Why.SAME_FILE and len(self.same) < FOLDERS_KEPT:
            self.same.append((item.path, item.detail))

    def number(self, *whys: Why) -> int:
        """How many were skipped for these reasons."""
        return sum(number for (_, why), number in self.counts.items() if why in whys)

    @property
    def videos(self) -> int:
        """Videos that were skipped, except for our own outputs."""
        return self.number(*_VIDEOS)

    def words(self) -> str:
        """`18 videos in 3 folders (#recycle 12, @eaDir 6), 1 link to a folder (old)`; empty if there are none of these."""
        links = [path for (path, why), number in self.counts.items() if why is Why.FOLDER_LINK and number]
        return ", ".join(filter(None, (self._video_words(), _link_words(self.number(Why.FOLDER_LINK), links))))

    def rows(self) -> list[dict[str, Any]]:
        """One row for each folder and reason, for programs. An empty folder stands for all beyond `FOLDERS_KEPT`."""
        return [
            {"folder": folder, "why": why.value, "count": number, "at_least": (folder, why) in self.unbounded}
            for (folder, why), number in self.counts.items()
            if number
        ]

    def content(self) -> dict[str, Any]:
        """All counts, for programs and for the state directory."""
        return {
            "videos": self.videos,
            "folders": self.rows(),
            "same_files": [{"file": other, "taken": taken} for other, taken in self.same],
        }

    def _place(self, item: Skipped, why: Why) -> _Place:
        place = (item.path if item.folder else item.path.rpartition("/")[0] or "/", why)
        return place if place in self.counts or len(self.counts) < FOLDERS_KEPT else ("", why)

    def _video_words(self) -> str:
        places = {place: number for place, number in self.counts.items() if place[1] in _VIDEOS and number}
        if not places:
            return ""
        named: Counter[str] = Counter()
        for (folder, why), number in places.items():
            named[_last(folder) if (folder, why) in self.whole else _WORDS[why]] += number
        more = "at least " if self.unbounded & places.keys() else ""
        folders = many(len({folder for folder, _ in places}), "folder")
        return f"{more}{many(sum(places.values()), 'video')} in {folders} ({_listed(_counted(named))})"


def _link_words(number: int, links: list[str]) -> str:
    if not links:
        return ""
    return f"{many(number, 'link')} to {'a folder' if number == 1 else 'folders'} ({_listed(map(_last, links))})"


def _counted(named: Mapping[str, int]) -> Iterable[str]:
    return (f"{name} {number:,}" for name, number in sorted(named.items(), key=lambda item: -item[1]))


def _listed(words: Iterable[str]) -> str:
    listed = list(words)
    more = f" and {len(listed) - NAMES_SHOWN:,} more" if len(listed) > NAMES_SHOWN else ""
    return ", ".join(listed[:NAMES_SHOWN]) + more


def _last(folder: str) -> str:
    return printable(folder.rpartition("/")[2], 40) or "other folders"
