"""What a search left out, in words and for programs."""

from __future__ import annotations

from synthdub_tui.sources.scan import Skipped
from synthdub_tui.sources.skipped_summary import FOLDERS_KEPT, LeftOut


def left_out(*items: Skipped) -> LeftOut:
    counted = LeftOut()
    for item in items:
        counted.note(item)
    return counted


def test_videos_are_counted_by_the_folder_that_is_left_out() -> None:
    counted = left_out(
        Skipped("/lib/#recycle", "reserved", folder=True, videos=12),
        Skipped("/lib/x/@eaDir", "reserved", folder=True, videos=3),
        Skipped("/lib/y/@eaDir", "reserved", folder=True, videos=1),
        Skipped("/lib/.a.mp4", "hidden"),
        Skipped("/lib/.b.mp4", "hidden"),
        Skipped("/lib/notes.txt", "unsupported_file"),
        Skipped("/lib/a.dubbed-fr.mp4", "own_output"),
    )
    assert counted.words() == "18 videos in 4 folders (#recycle 12, @eaDir 4, hidden files 2)"
    assert counted.rows()[0] == {"folder": "/lib/#recycle", "why": "reserved", "count": 12, "at_least": False}
    assert counted.content()["videos"] == 18


def test_a_count_that_was_given_up_is_a_lower_bound() -> None:
    counted = left_out(Skipped("/lib/#snapshot", "reserved", folder=True, videos=1500, more=True))
    assert counted.words() == "at least 1,500 videos in 1 folder (#snapshot 1,500)"
    assert counted.rows()[0]["at_least"] is True


def test_folders_without_videos_are_not_worth_a_word() -> None:
    counted = left_out(Skipped("/lib/.stfolder", "reserved", folder=True), Skipped("/lib/notes.txt", "unsupported_file"))
    assert counted.words() == ""


def test_links_to_folders_are_named_without_escape_codes() -> None:
    counted = left_out(Skipped("/lib/o\x1b[2Jld", "folder_link", "/old", folder=True))
    assert counted.words().startswith("1 link to a folder (o")
    assert "\x1b" not in counted.words()


def test_other_names_of_a_file_are_listed() -> None:
    counted = left_out(Skipped("/lib/b.mp4", "same_file", "/lib/a.mp4"))
    assert counted.content()["same_files"] == [{"file": "/lib/b.mp4", "taken": "/lib/a.mp4"}]


def test_however_many_folders_there_are_what_is_kept_is_bounded_and_nothing_goes_uncounted() -> None:
    many = FOLDERS_KEPT * 3
    counted = left_out(*(Skipped(f"/lib/{number}/.a.mp4", "hidden") for number in range(many)))
    counted_same = left_out(*(Skipped(f"/lib/{number}.mp4", "same_file", "/a") for number in range(many)))
    assert len(counted.rows()) == FOLDERS_KEPT + 1
    assert counted.content()["videos"] == many
    assert len(counted_same.content()["same_files"]) == FOLDERS_KEPT
