"""Which files are sources, which are outputs of ours, and where outputs go."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from synthdub_tui.jobs.output_paths import is_output, output_folder, output_path
from synthdub_tui.languages import OUTPUT
from synthdub_tui.sources import scan as scan_module
from synthdub_tui.sources.scan import Found, Skipped, content_type, refused, scan


def make(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"video")


def found(*paths: Path | str, recursive: bool = True) -> list[str]:
    return [item.path for item in scan([str(path) for path in paths], recursive=recursive) if isinstance(item, Found)]


def skipped(*paths: Path | str, recursive: bool = True) -> dict[str, str]:
    return {
        item.path: item.code for item in scan([str(path) for path in paths], recursive=recursive) if isinstance(item, Skipped)
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


@pytest.mark.parametrize("language", OUTPUT)
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
    make(tmp_path, "in/a.mp4", "in/course/week 1/b.mp4")
    folders = [
        output_folder(item.path, item.root, "/out")
        for item in scan([str(tmp_path / "in")], recursive=True)
        if isinstance(item, Found)
    ]
    assert folders == ["/out", "/out/course/week 1"]


def test_a_named_file_goes_right_into_the_output_folder(tmp_path: Path) -> None:
    make(tmp_path, "in/course/b.mp4")
    (item,) = scan([str(tmp_path / "in/course/b.mp4")], recursive=True)
    assert isinstance(item, Found)
    assert output_folder(item.path, item.root, "/out") == "/out"
    assert output_folder(item.path, item.root, "") == ""


# -- scanning ------------------------------------------------------------------------------------------------------------


def test_a_folder_in_the_order_of_its_names(tmp_path: Path) -> None:
    make(tmp_path, "b.webm", "A.MP4", "c/d.mov", "e.qt", "notes.txt")
    names = [os.path.relpath(path, tmp_path) for path in found(tmp_path)]
    assert names == ["A.MP4", "b.webm", "c/d.mov", "e.qt"]
    assert skipped(tmp_path) == {str(tmp_path / "notes.txt"): "unsupported_file"}


def test_what_is_found(tmp_path: Path) -> None:
    make(tmp_path, "a.mov")
    (item,) = scan([str(tmp_path)], recursive=True)
    status = (tmp_path / "a.mov").stat()
    assert item == Found(
        str(tmp_path / "a.mov"),
        str(tmp_path),
        5,
        status.st_mtime_ns,
        "video/quicktime",
        status.st_ctime_ns,
        inode=(status.st_dev, status.st_ino),
    )


def test_not_recursive(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "sub/b.mp4")
    assert found(tmp_path, recursive=False) == [str(tmp_path / "a.mp4")]


def test_relative_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "a.mp4")
    monkeypatch.chdir(tmp_path)
    assert found("a.mp4", ".") == [str(tmp_path / "a.mp4")]


def test_our_outputs_are_never_sources(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "a.dubbed-fr-FR.mp4", "a.dubbed-fr-FR.mp4.part", "a.dubbed-fr-FR.srt")
    assert found(tmp_path) == [str(tmp_path / "a.mp4")]
    assert skipped(tmp_path)[str(tmp_path / "a.dubbed-fr-FR.mp4")] == "own_output"
    (named,) = scan([str(tmp_path / "a.dubbed-fr-FR.mp4")], recursive=True)
    assert isinstance(named, Skipped)
    assert (named.code, named.named) == ("own_output", True)


def test_overlapping_paths_give_each_file_once(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "sub/b.mp4")
    paths = (tmp_path / "sub", tmp_path, tmp_path / "sub/b.mp4", f"{tmp_path}/sub/../sub", f"{tmp_path}//")
    assert sorted(found(*paths)) == [str(tmp_path / "a.mp4"), str(tmp_path / "sub/b.mp4")]


def test_a_folder_named_by_two_routes_gives_each_file_once(tmp_path: Path) -> None:
    """It would be paid for twice, and both outputs would have one name."""
    make(tmp_path, "real/a.mp4")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert found(tmp_path / "link", tmp_path / "real") == [str(tmp_path / "link/a.mp4")]
    assert found(tmp_path / "real/a.mp4", tmp_path / "link/a.mp4") == [str(tmp_path / "real/a.mp4")]


def test_links_to_folders_inside_are_not_followed(tmp_path: Path) -> None:
    make(tmp_path, "sub/a.mp4")
    (tmp_path / "sub/loop").symlink_to(tmp_path)
    (tmp_path / "sub/loop.mp4").symlink_to(tmp_path)
    assert found(tmp_path) == [str(tmp_path / "sub/a.mp4")]


def test_a_link_in_circles(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").symlink_to(tmp_path / "y.mp4")
    (tmp_path / "y.mp4").symlink_to(tmp_path / "x.mp4")
    assert set(skipped(tmp_path).values()) == {"source_unreadable"}
    assert skipped(tmp_path / "x.mp4") == {str(tmp_path / "x.mp4"): "path_unreadable"}


def test_a_link_to_a_video_is_a_video(tmp_path: Path) -> None:
    make(tmp_path, "else/where.bin")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.mp4").symlink_to(tmp_path / "else/where.bin")
    assert found(tmp_path / "in") == [str(tmp_path / "in/a.mp4")]


def test_a_dangling_link_is_a_trouble_only_if_it_looks_like_a_video(tmp_path: Path) -> None:
    for name in ("a.mp4", "notes.txt"):
        (tmp_path / name).symlink_to(tmp_path / "nowhere")
    assert skipped(tmp_path) == {str(tmp_path / "a.mp4"): "source_unreadable", str(tmp_path / "notes.txt"): "unsupported_file"}


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    assert skipped(tmp_path) == {str(tmp_path / "a.mp4"): "source_empty"}


def test_what_macos_leaves_on_foreign_disks(tmp_path: Path) -> None:
    make(tmp_path, "._a.mp4", "b.mp4")
    assert found(tmp_path) == [str(tmp_path / "b.mp4")]


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    (tmp_path / "b.mp4").mkdir()
    make(tmp_path, "b.mp4/c.mp4")
    assert found(tmp_path) == [str(tmp_path / "b.mp4/c.mp4")]
    assert skipped(tmp_path) == {str(tmp_path / "a.mp4"): "unsupported_file"}


def test_a_name_that_is_not_utf_8(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9.mp4"
    try:
        Path(os.fsdecode(name)).write_bytes(b"video")
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    assert list(skipped(tmp_path).values()) == ["name_invalid"]


def test_an_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "a.mp4", "b.mp4")
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith("a.mp4"))
    assert skipped(tmp_path) == {str(tmp_path / "a.mp4"): "source_unreadable"}
    assert found(tmp_path) == [str(tmp_path / "b.mp4")]


def test_an_unreadable_folder_and_the_rest_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "closed/a.mp4", "open/b.mp4")
    real = os.scandir

    def scandir(path: str) -> object:
        if path.endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(scan_module.os, "scandir", scandir)
    assert found(tmp_path) == [str(tmp_path / "open/b.mp4")]
    (inside,) = (item for item in scan([str(tmp_path)], recursive=True) if isinstance(item, Skipped))
    assert (inside.code, inside.named, inside.detail) == ("path_unreadable", False, "Permission denied")
    (named,) = scan([str(tmp_path / "closed")], recursive=True)
    assert isinstance(named, Skipped)
    assert (named.code, named.named) == ("path_unreadable", True)


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    assert list(scan([str(tmp_path / "none")], recursive=True)) == [Skipped(str(tmp_path / "none"), "path_missing", named=True)]


def test_a_named_file_of_another_type(tmp_path: Path) -> None:
    make(tmp_path, "a.mkv")
    (item,) = scan([str(tmp_path / "a.mkv")], recursive=True)
    assert item == Skipped(str(tmp_path / "a.mkv"), "unsupported_file", named=True)


def test_an_empty_folder(tmp_path: Path) -> None:
    assert list(scan([str(tmp_path)], recursive=True)) == []


def test_folders_nested_deeper_than_calls_can_be(tmp_path: Path) -> None:
    folders = [tmp_path / "d"]
    for _ in range(1200):
        folders.append(folders[-1] / "d")
    for folder in folders:
        folder.mkdir()
    make(folders[-1], "a.mp4")
    try:
        assert found(tmp_path) == [str(folders[-1] / "a.mp4")]
    finally:  # pytest cannot remove what is so deep
        (folders[-1] / "a.mp4").unlink()
        for folder in reversed(folders):
            folder.rmdir()


def test_what_is_wrong_with_the_named_paths_is_told_without_a_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "in/a.mp4", "in/b.mkv", "c.mkv")
    monkeypatch.setattr(scan_module, "_Search", None)
    wrong = refused([str(tmp_path / name) for name in ("in", "in/a.mp4", "none", "c.mkv")])
    assert [(Path(item.path).name, item.code, item.named) for item in wrong] == [
        ("none", "path_missing", True),
        ("c.mkv", "unsupported_file", True),
    ]
