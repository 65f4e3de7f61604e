"""Which files are sources, which are outputs of ours, and where outputs go."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from synthdub_tui.jobs.globs import Glob
from synthdub_tui.jobs.output_paths import is_output, output_folder, output_path
from synthdub_tui.languages import OUTPUT_CODES
from synthdub_tui.sources import duplicate_names as links_module
from synthdub_tui.sources import scan as scan_module
from synthdub_tui.sources.same_file import FileStamp
from synthdub_tui.sources.scan import (
    MAX_NAMES_COUNTED,
    FoundVideo,
    SkippedPath,
    content_type,
    find_rejected_paths,
    find_sources,
)
from synthdub_tui.sources.skip_rules import SkipRules


def make_files(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"video")


def found_paths(*paths: Path | str, recursive: bool = True) -> list[str]:
    return [
        item.path for item in find_sources([str(path) for path in paths], recursive=recursive) if isinstance(item, FoundVideo)
    ]


def skipped_paths(*paths: Path | str, recursive: bool = True) -> dict[str, str]:
    return {
        item.path: item.code
        for item in find_sources([str(path) for path in paths], recursive=recursive)
        if isinstance(item, SkippedPath)
    }


# -- names ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.mp4", "video/mp4"),
        ("A.MP4", "video/mp4"),
        ("a.webm", "video/webm"),
        ("a.WebM", "video/webm"),
        ("a.mov", "video/quicktime"),
        ("a.Mov", "video/quicktime"),
        ("a.qt", "video/quicktime"),
        ("a.b.mp4", "video/mp4"),
        ("a.mkv", None),
        ("a.mp4.part", None),
        ("mp4", None),
        (".mp4", None),
        ("a.mp4 ", None),
    ],
)
def test_types_by_name(name: str, kind: str | None) -> None:
    assert content_type(name) == kind


@pytest.mark.parametrize("language", OUTPUT_CODES)
def test_outputs_of_every_language_are_known(language: str) -> None:
    assert is_output(os.path.basename(output_path("/v/a.mov", language)))


@pytest.mark.parametrize("name", ["a.dubbed-fr-fr.MP4", "a.DUBBED-FR-FR.mp4", ".dubbed-fil.mp4", "a.dubbed-es.dubbed-fr.mp4"])
def test_outputs_in_any_case(name: str) -> None:
    assert is_output(name)


@pytest.mark.parametrize("name", ["dubbed-fr.mp4", "a.dubbed.mp4", "a.dubbed-french.mp4", "a.dubbed-fr.mov", "a dubbed-fr.mp4"])
def test_what_only_looks_like_an_output(name: str) -> None:
    assert not is_output(name)


def test_where_outputs_go() -> None:
    assert output_path("/v/a.b.MOV", "fr-FR") == "/v/a.b.dubbed-fr-FR.mp4"
    assert output_path("/v/a.webm", "ja", "/out/x", "srt") == "/out/x/a.dubbed-ja.srt"


def test_the_folder_structure_is_kept_below_the_output_folder(tmp_path: Path) -> None:
    make_files(tmp_path, "in/a.mp4", "in/course/week 1/b.mp4")
    folders = [
        output_folder(item.path, item.root, "/out")
        for item in find_sources([str(tmp_path / "in")], recursive=True)
        if isinstance(item, FoundVideo)
    ]
    assert folders == ["/out", "/out/course/week 1"]


def test_a_named_file_goes_right_into_the_output_folder(tmp_path: Path) -> None:
    make_files(tmp_path, "in/course/b.mp4")
    (item,) = find_sources([str(tmp_path / "in/course/b.mp4")], recursive=True)
    assert isinstance(item, FoundVideo)
    assert output_folder(item.path, item.root, "/out") == "/out"
    assert output_folder(item.path, item.root, "") == ""


# -- scanning ------------------------------------------------------------------------------------------------------------


def test_a_folder_in_the_order_of_its_names(tmp_path: Path) -> None:
    make_files(tmp_path, "b.webm", "A.MP4", "c/d.mov", "e.qt", "notes.txt")
    names = [os.path.relpath(path, tmp_path) for path in found_paths(tmp_path)]
    assert names == ["A.MP4", "b.webm", "c/d.mov", "e.qt"]
    assert skipped_paths(tmp_path) == {str(tmp_path / "notes.txt"): "unsupported_file"}


def test_what_is_found(tmp_path: Path) -> None:
    make_files(tmp_path, "a.mov")
    (item,) = find_sources([str(tmp_path)], recursive=True)
    status = (tmp_path / "a.mov").stat()
    assert item == FoundVideo(
        str(tmp_path / "a.mov"),
        str(tmp_path),
        5,
        status.st_mtime_ns,
        "video/quicktime",
        status.st_ctime_ns,
        inode=(status.st_dev, status.st_ino),
    )


def test_not_recursive(tmp_path: Path) -> None:
    make_files(tmp_path, "a.mp4", "sub/b.mp4")
    assert found_paths(tmp_path, recursive=False) == [str(tmp_path / "a.mp4")]


def test_relative_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_files(tmp_path, "a.mp4")
    monkeypatch.chdir(tmp_path)
    assert found_paths("a.mp4", ".") == [str(tmp_path / "a.mp4")]


def test_our_outputs_are_never_sources(tmp_path: Path) -> None:
    make_files(tmp_path, "a.mp4", "a.dubbed-fr-FR.mp4", "a.dubbed-fr-FR.mp4.part", "a.dubbed-fr-FR.srt")
    assert found_paths(tmp_path) == [str(tmp_path / "a.mp4")]
    assert skipped_paths(tmp_path)[str(tmp_path / "a.dubbed-fr-FR.mp4")] == "own_output"
    (named,) = find_sources([str(tmp_path / "a.dubbed-fr-FR.mp4")], recursive=True)
    assert isinstance(named, SkippedPath)
    assert (named.code, named.named) == ("own_output", True)


def test_overlapping_paths_give_each_file_once(tmp_path: Path) -> None:
    make_files(tmp_path, "a.mp4", "sub/b.mp4")
    paths = (tmp_path / "sub", tmp_path, tmp_path / "sub/b.mp4", f"{tmp_path}/sub/../sub", f"{tmp_path}//")
    assert sorted(found_paths(*paths)) == [str(tmp_path / "a.mp4"), str(tmp_path / "sub/b.mp4")]


def test_a_folder_named_by_two_routes_gives_each_file_once(tmp_path: Path) -> None:
    """It would be paid for twice, and both outputs would have one name."""
    make_files(tmp_path, "real/a.mp4")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert found_paths(tmp_path / "link", tmp_path / "real") == [str(tmp_path / "link/a.mp4")]
    assert found_paths(tmp_path / "real/a.mp4", tmp_path / "link/a.mp4") == [str(tmp_path / "real/a.mp4")]


def test_links_to_folders_inside_are_not_followed(tmp_path: Path) -> None:
    make_files(tmp_path, "sub/a.mp4")
    (tmp_path / "sub/loop").symlink_to(tmp_path)
    (tmp_path / "sub/loop.mp4").symlink_to(tmp_path)
    assert found_paths(tmp_path) == [str(tmp_path / "sub/a.mp4")]


def test_a_link_in_circles(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").symlink_to(tmp_path / "y.mp4")
    (tmp_path / "y.mp4").symlink_to(tmp_path / "x.mp4")
    assert set(skipped_paths(tmp_path).values()) == {"source_unreadable"}
    assert skipped_paths(tmp_path / "x.mp4") == {str(tmp_path / "x.mp4"): "path_unreadable"}


def test_a_link_to_a_video_is_a_video(tmp_path: Path) -> None:
    make_files(tmp_path, "else/where.bin")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.mp4").symlink_to(tmp_path / "else/where.bin")
    assert found_paths(tmp_path / "in") == [str(tmp_path / "in/a.mp4")]


def test_a_dangling_link_is_a_trouble_only_if_it_looks_like_a_video(tmp_path: Path) -> None:
    for name in ("a.mp4", "notes.txt"):
        (tmp_path / name).symlink_to(tmp_path / "nowhere")
    assert skipped_paths(tmp_path) == {
        str(tmp_path / "a.mp4"): "source_unreadable",
        str(tmp_path / "notes.txt"): "unsupported_file",
    }


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    assert skipped_paths(tmp_path) == {str(tmp_path / "a.mp4"): "source_empty"}


def test_what_macos_leaves_on_foreign_disks(tmp_path: Path) -> None:
    make_files(tmp_path, "._a.mp4", "b.mp4")
    assert found_paths(tmp_path) == [str(tmp_path / "b.mp4")]


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    (tmp_path / "b.mp4").mkdir()
    make_files(tmp_path, "b.mp4/c.mp4")
    assert found_paths(tmp_path) == [str(tmp_path / "b.mp4/c.mp4")]
    assert skipped_paths(tmp_path) == {str(tmp_path / "a.mp4"): "unsupported_file"}


def test_a_name_that_is_not_utf_8(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9.mp4"
    try:
        Path(os.fsdecode(name)).write_bytes(b"video")
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    assert list(skipped_paths(tmp_path).values()) == ["name_invalid"]


def test_an_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_files(tmp_path, "a.mp4", "b.mp4")
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith("a.mp4"))
    assert skipped_paths(tmp_path) == {str(tmp_path / "a.mp4"): "source_unreadable"}
    assert found_paths(tmp_path) == [str(tmp_path / "b.mp4")]


def test_an_unreadable_folder_and_the_rest_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_files(tmp_path, "closed/a.mp4", "open/b.mp4")
    real = os.scandir

    def scandir(path: str) -> object:
        if path.endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(scan_module.os, "scandir", scandir)
    assert found_paths(tmp_path) == [str(tmp_path / "open/b.mp4")]
    (inside,) = (item for item in find_sources([str(tmp_path)], recursive=True) if isinstance(item, SkippedPath))
    assert (inside.code, inside.named, inside.detail) == ("path_unreadable", False, "Permission denied")
    (named,) = find_sources([str(tmp_path / "closed")], recursive=True)
    assert isinstance(named, SkippedPath)
    assert (named.code, named.named) == ("path_unreadable", True)


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    assert list(find_sources([str(tmp_path / "none")], recursive=True)) == [
        SkippedPath(str(tmp_path / "none"), "path_missing", named=True)
    ]


def test_a_named_file_of_another_type(tmp_path: Path) -> None:
    make_files(tmp_path, "a.mkv")
    (item,) = find_sources([str(tmp_path / "a.mkv")], recursive=True)
    assert item == SkippedPath(str(tmp_path / "a.mkv"), "unsupported_file", named=True)


def test_an_empty_folder(tmp_path: Path) -> None:
    assert list(find_sources([str(tmp_path)], recursive=True)) == []


def test_folders_nested_deeper_than_calls_can_be(tmp_path: Path) -> None:
    folders = [tmp_path / "d"]
    for _ in range(1200):
        folders.append(folders[-1] / "d")
    for folder in folders:
        folder.mkdir()
    make_files(folders[-1], "a.mp4")
    try:
        assert found_paths(tmp_path) == [str(folders[-1] / "a.mp4")]
    finally:  # pytest cannot remove what is so deep
        (folders[-1] / "a.mp4").unlink()
        for folder in reversed(folders):
            folder.rmdir()


def test_problems_of_named_paths_are_reported_without_a_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_files(tmp_path, "in/a.mp4", "in/b.mkv", "c.mkv")
    monkeypatch.setattr(scan_module, "_Search", None)
    wrong = find_rejected_paths([str(tmp_path / name) for name in ("in", "in/a.mp4", "none", "c.mkv")])
    assert [(Path(item.path).name, item.code, item.named) for item in wrong] == [
        ("none", "path_missing", True),
        ("c.mkv", "unsupported_file", True),
    ]


# -- what is left out ----------------------------------------------------------------------------------------------------


def relative_names(folder: Path, *more: Path, rules: SkipRules | None = None) -> list[str]:
    """What is found, relative to the folder."""
    items = find_sources([str(folder), *map(str, more)], recursive=True, rules=rules)
    return [os.path.relpath(item.path, folder) for item in items if isinstance(item, FoundVideo)]


def skipped_counts(folder: Path, *more: Path, rules: SkipRules | None = None) -> dict[str, tuple[str, int]]:
    """Reason and number of videos of what is skipped, by its path in the folder."""
    items = find_sources([str(folder), *map(str, more)], recursive=True, rules=rules)
    skipped = [item for item in items if isinstance(item, SkippedPath)]
    return {os.path.relpath(item.path, folder): (str(item.code), item.video_count) for item in skipped}


def test_bins_snapshots_and_indexes_are_left_out_and_their_videos_counted(tmp_path: Path) -> None:
    make_files(
        tmp_path,
        "a.mp4",
        "#recycle/old/b.mp4",
        "#recycle/c.mp4",
        "#recycle/note.txt",
        ".snapshot/daily.0/a.mp4",
        "x/@eaDir/a.mp4/x.mp4",
    )
    assert relative_names(tmp_path) == ["a.mp4"]
    assert skipped_counts(tmp_path) == {"#recycle": ("reserved", 2), ".snapshot": ("reserved", 1), "x/@eaDir": ("reserved", 1)}


def test_a_reserved_folder_is_taken_where_it_is_named_itself(tmp_path: Path) -> None:
    make_files(tmp_path, "#recycle/b.mp4", "#recycle/@eaDir/c.mp4", "a.mp4")
    assert found_paths(tmp_path / "#recycle") == [str(tmp_path / "#recycle/b.mp4")]
    assert sorted(relative_names(tmp_path, tmp_path / "#recycle")) == ["#recycle/b.mp4", "a.mp4"]
    assert skipped_counts(tmp_path, tmp_path / "#recycle") == {"#recycle/@eaDir": ("reserved", 1)}


def test_hidden_names_are_taken_only_if_asked_for(tmp_path: Path) -> None:
    make_files(tmp_path, "a.mp4", ".b.mp4", ".old/c.mp4", ".Trash-1000/files/d.mp4")
    assert relative_names(tmp_path) == ["a.mp4"]
    assert skipped_counts(tmp_path) == {".b.mp4": ("hidden", 0), ".old": ("hidden", 1), ".Trash-1000": ("reserved", 1)}
    assert relative_names(tmp_path, rules=SkipRules(include_hidden=True)) == [".b.mp4", ".old/c.mp4", "a.mp4"]


def test_what_is_excluded_is_left_out_below_each_named_folder(tmp_path: Path) -> None:
    make_files(tmp_path, "a.mp4", "raw/b.mp4", "x/raw/c.mp4", "x/d.mov")
    rules = SkipRules(exclude=(Glob("/raw"), Glob("*.mov")))
    assert relative_names(tmp_path, rules=rules) == ["a.mp4", "x/raw/c.mp4"]
    assert skipped_counts(tmp_path, rules=rules) == {"raw": ("excluded", 1), "x/d.mov": ("excluded", 0)}
    assert relative_names(tmp_path / "x", rules=rules) == []
    assert relative_names(tmp_path, tmp_path / "x/d.mov", rules=rules) == ["x/d.mov", "a.mp4", "x/raw/c.mp4"]


def test_counting_in_a_folder_that_is_left_out_has_an_end(tmp_path: Path) -> None:
    (tmp_path / "#snapshot").mkdir()
    for number in range(MAX_NAMES_COUNTED + 1):
        (tmp_path / f"#snapshot/{number}.mp4").touch()
    (item,) = find_sources([str(tmp_path)], recursive=True)
    assert isinstance(item, SkippedPath)
    assert (item.video_count, item.may_have_more) == (MAX_NAMES_COUNTED, True)


def test_copies_of_outputs_are_left_out_and_refused_where_they_are_named(tmp_path: Path) -> None:
    make_files(tmp_path, "a.mp4", "a.dubbed-fr-FR (1).mp4", "Copy of a.dubbed-fr-FR.mp4")
    assert relative_names(tmp_path) == ["a.mp4"]
    assert {code for code, _ in skipped_counts(tmp_path).values()} == {"output_copy", "own_output"}
    (named,) = find_sources([str(tmp_path / "a.dubbed-fr-FR (1).mp4")], recursive=True)
    assert isinstance(named, SkippedPath)
    assert (named.code, named.named) == ("output_copy", True)


def test_a_link_to_an_output_is_no_source(tmp_path: Path) -> None:
    make_files(tmp_path, "out/a.dubbed-fr-FR.mp4")
    (tmp_path / "latest.mp4").symlink_to(tmp_path / "out/a.dubbed-fr-FR.mp4")
    assert relative_names(tmp_path) == []
    assert skipped_counts(tmp_path)["latest.mp4"] == ("own_output", 0)


# -- one file under several names ----------------------------------------------------------------------------------------


def other_names(folder: Path, *more: Path, **options: object) -> dict[str, str]:
    """Other names of files that are taken, and the names by which those are."""
    items = find_sources([str(folder), *map(str, more)], recursive=True, **options)  # type: ignore[arg-type]
    others = [item for item in items if isinstance(item, SkippedPath) and item.code == "same_file"]
    return {os.path.relpath(item.path, folder): os.path.relpath(item.detail, folder) for item in others}


def stamp_at(path: Path) -> FileStamp:
    return FileStamp(path.stat().st_size, path.stat().st_mtime_ns)


def test_a_link_to_a_video_that_is_found_is_the_same_file(tmp_path: Path) -> None:
    make_files(tmp_path, "z/a.mp4")
    (tmp_path / "1.mp4").symlink_to(tmp_path / "z/a.mp4")
    (tmp_path / "2.mp4").symlink_to(tmp_path / "1.mp4")
    assert relative_names(tmp_path) == ["z/a.mp4"]
    assert other_names(tmp_path) == {"1.mp4": "z/a.mp4", "2.mp4": "z/a.mp4"}


def test_links_to_one_video_elsewhere_are_one_source(tmp_path: Path) -> None:
    make_files(tmp_path, "store/a.mp4")
    (tmp_path / "in").mkdir()
    for name in ("1.mp4", "2.mp4"):
        (tmp_path / "in" / name).symlink_to(tmp_path / "store/a.mp4")
    assert relative_names(tmp_path / "in") == ["1.mp4"]


def test_hard_links_are_one_source(tmp_path: Path) -> None:
    make_files(tmp_path, "b.mp4")
    (tmp_path / "a.mp4").hardlink_to(tmp_path / "b.mp4")
    assert relative_names(tmp_path) == ["a.mp4"]
    assert other_names(tmp_path) == {"b.mp4": "a.mp4"}


def test_files_with_one_inode_number_but_other_contents_are_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As file systems in user space have them."""
    make_files(tmp_path, "a.mp4")
    (tmp_path / "b.mp4").write_bytes(b"VIDEO")
    os.utime(tmp_path / "a.mp4", (1, 1))
    os.utime(tmp_path / "b.mp4", (1, 1))
    one = (tmp_path / "a.mp4").stat()
    monkeypatch.setattr(links_module, "_file_identity", lambda path: (one.st_dev, one.st_ino, 5, one.st_mtime_ns))
    monkeypatch.setattr(scan_module, "_inode", lambda status: (one.st_dev, one.st_ino))
    assert relative_names(tmp_path) == ["a.mp4", "b.mp4"]


def test_two_names_that_the_user_gave_are_both_taken(tmp_path: Path) -> None:
    make_files(tmp_path, "a.mp4")
    (tmp_path / "b.mp4").hardlink_to(tmp_path / "a.mp4")
    (tmp_path / "c.mp4").symlink_to(tmp_path / "a.mp4")
    assert [Path(path).name for path in found_paths(tmp_path / "c.mp4", tmp_path / "b.mp4")] == ["c.mp4", "b.mp4"]


def test_a_name_that_the_user_gave_goes_before_one_that_is_found(tmp_path: Path) -> None:
    make_files(tmp_path, "a.mp4")
    (tmp_path / "b.mp4").symlink_to(tmp_path / "a.mp4")
    assert relative_names(tmp_path, tmp_path / "b.mp4") == ["b.mp4"]
    assert other_names(tmp_path, tmp_path / "b.mp4") == {"a.mp4": "b.mp4"}


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_a_name_that_has_a_job_goes_before_one_that_has_none(tmp_path: Path, link: Callable[[Path, Path], None]) -> None:
    make_files(tmp_path, "a.mp4")
    link(tmp_path / "a.mp4", tmp_path / "b.mp4")
    jobs = {str(tmp_path / "b.mp4"): stamp_at(tmp_path / "a.mp4")}
    assert other_names(tmp_path, jobs=jobs) == {"a.mp4": "b.mp4"}


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_a_job_of_an_older_version_goes_first_too(tmp_path: Path, link: Callable[[Path, Path], None]) -> None:
    """Else the new version would be paid for under both names."""
    make_files(tmp_path, "a.mp4")
    link(tmp_path / "a.mp4", tmp_path / "b.mp4")
    expected = {"a.mp4": "b.mp4"} if link is os.link else {"b.mp4": "a.mp4"}
    assert other_names(tmp_path, jobs={str(tmp_path / "b.mp4"): FileStamp(1, 1)}) == expected


def test_a_name_of_a_file_that_has_a_job_elsewhere_is_the_same_file(tmp_path: Path) -> None:
    make_files(tmp_path, "store/a.mp4", "in/other.mp4")
    (tmp_path / "in/b.mp4").hardlink_to(tmp_path / "store/a.mp4")
    jobs = {str(tmp_path / "store/a.mp4"): stamp_at(tmp_path / "store/a.mp4")}
    assert other_names(tmp_path / "in", jobs=jobs) == {"b.mp4": "../store/a.mp4"}
    assert other_names(tmp_path / "in", jobs=jobs, force_new=True) == {}


def test_with_force_new_one_of_two_names_that_have_jobs_is_taken(tmp_path: Path) -> None:
    make_files(tmp_path, "a.mp4")
    (tmp_path / "b.mp4").hardlink_to(tmp_path / "a.mp4")
    jobs = {str(tmp_path / name): stamp_at(tmp_path / "a.mp4") for name in ("a.mp4", "b.mp4")}
    assert other_names(tmp_path, jobs=jobs) == {}  # nothing new is paid for
    assert other_names(tmp_path, jobs=jobs, force_new=True) == {"b.mp4": "a.mp4"}


# -- links to folders ----------------------------------------------------------------------------------------------------


def test_links_to_folders_are_named_and_not_followed(tmp_path: Path) -> None:
    make_files(tmp_path, "in/a.mp4", "else/b.mp4")
    (tmp_path / "in/more").symlink_to(tmp_path / "else")
    assert relative_names(tmp_path / "in") == ["a.mp4"]
    assert skipped_counts(tmp_path / "in") == {"more": ("folder_link", 0)}


def test_links_to_folders_are_followed_if_asked_for_and_loops_end(tmp_path: Path) -> None:
    make_files(tmp_path, "in/a.mp4", "in/z/c.mp4", "else/b.mp4")
    for name, target in {"more": "else", "again": "else", "loop": "in", "into": "in/z"}.items():
        (tmp_path / "in" / name).symlink_to(tmp_path / target)
    (tmp_path / "else/back").symlink_to(tmp_path / "in")
    assert relative_names(tmp_path / "in", rules=SkipRules(follow_links=True)) == ["a.mp4", "z/c.mp4", "again/b.mp4"]
    assert skipped_counts(tmp_path / "in", rules=SkipRules(follow_links=True)) == {}
