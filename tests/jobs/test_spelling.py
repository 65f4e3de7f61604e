"""Names where case does not matter. `lexists` stands for such a file system; a real one is in `tests/proofs/test_exfat.py`."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from synthdub_tui.jobs.spelling import Speller, as_spelled, one_name


@pytest.fixture
def ignoring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which any spelling finds a file."""
    genuine = os.path.lexists

    def lexists(path: str) -> bool:
        folder, name = os.path.split(path)
        if not folder.startswith(str(tmp_path)) or not os.path.isdir(folder):
            return genuine(path)
        return one_name(name) in {one_name(entry.name) for entry in os.scandir(folder)}

    monkeypatch.setattr(os.path, "lexists", lexists)
    return tmp_path


def test_where_case_matters_names_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "Videos").mkdir()
    (tmp_path / "Both").touch()
    (tmp_path / "bOTH").touch()
    for path in ("Videos", "videos", "vIDEOS", "Videos/no/Such.mp4", "nowhere", "Both", "bOTH", "both"):
        assert as_spelled(f"{tmp_path}/{path}") == f"{tmp_path}/{path}"
    assert (as_spelled("/"), as_spelled("//"), as_spelled("//none")) == ("/", "//", "//none")


def test_where_it_does_not_they_are_as_in_their_folders(ignoring: Path) -> None:
    (ignoring / "Videos" / "Überblick 2").mkdir(parents=True)
    (ignoring / "Videos" / "Überblick 2" / "Intro.MP4").touch()
    wanted = f"{ignoring}/Videos/Überblick 2/Intro.MP4"
    for path in (wanted, wanted.lower(), wanted.replace("Videos", "VIDEOS"), unicodedata.normalize("NFD", wanted)):
        assert as_spelled(str(ignoring) + path[len(str(ignoring)) :]) == wanted
    assert as_spelled(f"{ignoring}/videos/new/Folder") == f"{ignoring}/Videos/new/Folder"


def test_each_folder_is_looked_into_once(ignoring: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine, looked = os.listdir, []
    monkeypatch.setattr(os, "listdir", lambda path: looked.append(path) or genuine(path))
    for number in range(5):
        (ignoring / f"A{number}.mp4").touch()
    speller = Speller()
    spelled = [speller.path(f"{ignoring}/a{number}.MP4") for number in range(5)]
    assert spelled == [f"{ignoring}/A{number}.mp4" for number in range(5)]
    assert looked == [str(ignoring)]


def test_a_folder_that_cannot_be_listed_is_believed(ignoring: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (ignoring / "Videos").mkdir()

    def refuse(path: str) -> list[str]:
        raise PermissionError(path)

    monkeypatch.setattr(os, "listdir", refuse)
    assert as_spelled(f"{ignoring}/videos") == f"{ignoring}/videos"
