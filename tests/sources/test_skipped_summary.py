"""What a search left out, in words and for programs."""

from __future__ import annotations

from synthdub_tui.sources.scan import SkippedPath
from synthdub_tui.sources.skipped_summary import MAX_FOLDERS_COUNTED, SkippedSummary


def summary_of(*items: SkippedPath) -> SkippedSummary:
    counted = SkippedSummary()
    for item in items:
        counted.add(item)
    return counted


def test_videos_are_counted_by_the_folder_that_is_left_out() -> None:
    counted = summary_of(
        SkippedPath("/lib/#recycle", "reserved", is_folder=True, video_count=12),
        SkippedPath("/lib/x/@eaDir", "reserved", is_folder=True, video_count=3),
        SkippedPath("/lib/y/@eaDir", "reserved", is_folder=True, video_count=1),
        SkippedPath("/lib/.a.mp4", "hidden"),
        SkippedPath("/lib/.b.mp4", "hidden"),
        SkippedPath("/lib/notes.txt", "unsupported_file"),
        SkippedPath("/lib/a.dubbed-fr.mp4", "own_output"),
    )
    assert counted.describe() == "18 videos in 4 folders (#recycle 12, @eaDir 4, hidden files 2)"
    assert counted.rows()[0] == {"folder": "/lib/#recycle", "why": "reserved", "count": 12, "at_least": False}
    assert counted.to_document()["videos"] == 18


def test_a_count_that_was_given_up_is_a_lower_bound() -> None:
    counted = summary_of(SkippedPath("/lib/#snapshot", "reserved", is_folder=True, video_count=1500, may_have_more=True))
    assert counted.describe() == "at least 1,500 videos in 1 folder (#snapshot 1,500)"
    assert counted.rows()[0]["at_least"] is True


def test_folders_without_videos_are_not_worth_a_word() -> None:
    counted = summary_of(
        SkippedPath("/lib/.stfolder", "reserved", is_folder=True), SkippedPath("/lib/notes.txt", "unsupported_file")
    )
    assert counted.describe() == ""


def test_links_to_folders_are_named_without_escape_codes() -> None:
    counted = summary_of(SkippedPath("/lib/o\x1b[2Jld", "folder_link", "/old", is_folder=True))
    assert counted.describe().startswith("1 link to a folder (o")
    assert "\x1b" not in counted.describe()


def test_other_names_of_a_file_are_listed() -> None:
    counted = summary_of(SkippedPath("/lib/b.mp4", "same_file", "/lib/a.mp4"))
    assert counted.to_document()["same_files"] == [{"file": "/lib/b.mp4", "taken": "/lib/a.mp4"}]


def test_however_many_folders_there_are_what_is_kept_is_bounded_and_nothing_goes_uncounted() -> None:
    many = MAX_FOLDERS_COUNTED * 3
    counted = summary_of(*(SkippedPath(f"/lib/{number}/.a.mp4", "hidden") for number in range(many)))
    counted_same = summary_of(*(SkippedPath(f"/lib/{number}.mp4", "same_file", "/a") for number in range(many)))
    assert len(counted.rows()) == MAX_FOLDERS_COUNTED + 1
    assert counted.to_document()["videos"] == many
    assert len(counted_same.to_document()["same_files"]) == MAX_FOLDERS_COUNTED
