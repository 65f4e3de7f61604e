"""One path for a file, however it is named.

`lexists` stands for a file system on which case does not matter; a real one is in `tests/proofs/test_exfat.py`.
"""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from synthdub_tui.files import PathSpeller, absolute_path, path_key, spell_as_on_disk


@pytest.fixture
def case_insensitive_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which any spelling finds a file."""
    genuine = os.path.lexists

    def lexists(path: str) -> bool:
        folder, name = os.path.split(path)
        if not folder.startswith(str(tmp_path)) or not os.path.isdir(folder):
            return genuine(path)
        return path_key(name) in {path_key(entry.name) for entry in os.scandir(folder)}

    monkeypatch.setattr(os.path, "lexists", lexists)
    return tmp_path


def test_names_stay_unchanged_on_a_case_sensitive_file_system(tmp_path: Path) -> None:
    (tmp_path / "Videos").mkdir()
    (tmp_path / "Both").touch()
    (tmp_path / "bOTH").touch()
    for path in ("Videos", "videos", "vIDEOS", "Videos/no/Such.mp4", "nowhere", "Both", "bOTH", "both"):
        assert spell_as_on_disk(f"{tmp_path}/{path}") == f"{tmp_path}/{path}"
    assert (spell_as_on_disk("/"), spell_as_on_disk("//"), spell_as_on_disk("//none")) == ("/", "/", "/none")


def test_names_take_the_spelling_on_disk_if_case_does_not_matter(case_insensitive_folder: Path) -> None:
    (case_insensitive_folder / "Videos" / "Überblick 2").mkdir(parents=True)
    (case_insensitive_folder / "Videos" / "Überblick 2" / "Intro.MP4").touch()
    wanted = f"{case_insensitive_folder}/Videos/Überblick 2/Intro.MP4"
    for path in (wanted, wanted.lower(), wanted.replace("Videos", "VIDEOS"), unicodedata.normalize("NFD", wanted)):
        assert spell_as_on_disk(str(case_insensitive_folder) + path[len(str(case_insensitive_folder)) :]) == wanted
    assert spell_as_on_disk(f"{case_insensitive_folder}/videos/new/Folder") == f"{case_insensitive_folder}/Videos/new/Folder"


def test_each_folder_is_listed_once(case_insensitive_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine, looked = os.listdir, []
    monkeypatch.setattr(os, "listdir", lambda path: looked.append(path) or genuine(path))
    for number in range(5):
        (case_insensitive_folder / f"A{number}.mp4").touch()
    speller = PathSpeller()
    spelled = [speller.spell(f"{case_insensitive_folder}/a{number}.MP4") for number in range(5)]
    assert spelled == [f"{case_insensitive_folder}/A{number}.mp4" for number in range(5)]
    assert looked == [str(case_insensitive_folder)]


def test_a_path_in_an_unlistable_folder_stays_as_typed(case_insensitive_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (case_insensitive_folder / "Videos").mkdir()

    def refuse(path: str) -> list[str]:
        raise PermissionError(path)

    monkeypatch.setattr(os, "listdir", refuse)
    assert spell_as_on_disk(f"{case_insensitive_folder}/videos") == f"{case_insensitive_folder}/videos"


@pytest.mark.parametrize("named", ["NFC", "NFD"])
@pytest.mark.parametrize("stored", ["NFC", "NFD"])
def test_composed_and_decomposed_accents_name_the_same_file(tmp_path: Path, named: str, stored: str) -> None:
    """macOS stores them decomposed, and says so to whoever reads its disks and archives; people type them composed."""
    there = tmp_path / unicodedata.normalize(stored, "Série") / unicodedata.normalize(stored, "leçon é.mp4")
    there.parent.mkdir()
    there.touch()
    assert spell_as_on_disk(f"{tmp_path}/{unicodedata.normalize(named, 'Série/leçon é.mp4')}") == str(there)


def test_two_files_that_differ_in_that_alone_stay_two(tmp_path: Path) -> None:
    both = [tmp_path / unicodedata.normalize(form, "é.mp4") for form in ("NFC", "NFD")]
    for path in both:
        path.touch()
    assert [spell_as_on_disk(str(path)) for path in both] == [str(path) for path in both]
    third = "e\u0323\u0302.mp4"
    mixed = [tmp_path / "\u1ec7.mp4", tmp_path / "\u1eb9\u0302.mp4"]
    for path in mixed:
        path.touch()
    assert spell_as_on_disk(f"{tmp_path}/{third}") == f"{tmp_path}/{third}"  # either may be meant


def test_the_usual_ways_of_writing_a_path_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lib").mkdir()
    clip = tmp_path / "lib" / "clip.mp4"
    clip.touch()
    monkeypatch.chdir(tmp_path)
    for path in (
        "lib/clip.mp4",
        "./lib//clip.mp4",
        "lib/../lib/./clip.mp4",
        f"/{clip}",
        f"//{clip}",
        f"{tmp_path}/lib/../lib/clip.mp4",
    ):
        assert absolute_path(path) == str(clip), path


def test_a_step_up_after_a_link_leads_where_the_system_goes(tmp_path: Path) -> None:
    """Another file of that name, where the letters alone lead, is not the one that was meant."""
    for folder in ("here", "there/inner"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "here" / "link").symlink_to(tmp_path / "there" / "inner")
    for path in ("here/clip.mp4", "there/clip.mp4"):
        (tmp_path / path).write_text(path)
    found = absolute_path(f"{tmp_path}/here/link/../clip.mp4")
    assert Path(found).read_text() == Path(f"{tmp_path}/here/link/../clip.mp4").read_text() == "there/clip.mp4"
    assert absolute_path(f"{tmp_path}/here/link/..") == f"{tmp_path}/there"


def test_a_linked_folder_keeps_its_name_where_a_step_up_changes_nothing(tmp_path: Path) -> None:
    """Its jobs are known under that name."""
    (tmp_path / "real" / "sub").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for path in ("link/sub/..", "link/sub/../", "link/../link"):
        assert absolute_path(f"{tmp_path}/{path}") == f"{tmp_path}/link"


def test_a_path_that_no_file_can_have_stays_as_it_is() -> None:
    assert absolute_path("/a/../b\0") == "/b\0"
