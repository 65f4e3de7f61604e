"""Which files other processes have open for writing. The processes here are real."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from synthdub_tui.sources.write_probe import observe_files

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="only Linux shows what others have open")

WRITER_PROGRAMS = {
    "appending": "f = open(path, 'ab')",
    "writing in place": "f = open(path, 'r+b')",
    "mapped": "import mmap; f = open(path, 'r+b'); m = mmap.mmap(f.fileno(), 0); f.close()",
    "by a duplicate": "import os; fd = os.open(path, os.O_RDWR); d = os.dup(fd); os.close(fd)",
}
READER_PROGRAMS = {
    "reading": "f = open(path, 'rb')",
    "mapped to read": "import mmap; f = open(path, 'rb'); m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ); f.close()",
    "path only": "import os; fd = os.open(path, os.O_PATH)",
    "mapped as a copy": "import mmap; f = open(path, 'rb'); m = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_COPY); f.close()",
}


@contextmanager
def hold_file(path: Path, program: str) -> Iterator[None]:
    """Another process that has the file in its hands."""
    code = f"import sys; path = sys.argv[1]; {program}; print('ready', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield
        process.communicate("")


@pytest.fixture(params=["rec.mp4", "my (final) [cut]\nof it.mp4", "Überblick.mp4"])
def video(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = tmp_path / str(request.param)
    path.write_bytes(b"video")
    return path


def is_open_for_writing(path: Path) -> bool:
    return observe_files([str(path)])[str(path)].is_open_for_writing


@pytest.mark.parametrize("program", WRITER_PROGRAMS.values(), ids=WRITER_PROGRAMS)
def test_a_file_that_somebody_can_write_is_seen_as_that_until_it_is_closed(video: Path, program: str) -> None:
    assert not is_open_for_writing(video)
    with hold_file(video, program):
        assert is_open_for_writing(video)
    assert not is_open_for_writing(video)


@pytest.mark.parametrize("program", READER_PROGRAMS.values(), ids=READER_PROGRAMS)
def test_who_only_reads_holds_nothing_up(video: Path, program: str) -> None:
    with hold_file(video, program):
        assert not is_open_for_writing(video)


def test_a_file_is_the_same_by_whatever_name(tmp_path: Path) -> None:
    video, link, hard = tmp_path / "a.mp4", tmp_path / "link.mp4", tmp_path / "hard.mp4"
    video.write_bytes(b"video")
    link.symlink_to(video)
    hard.hardlink_to(video)
    with hold_file(video, WRITER_PROGRAMS["appending"]):
        assert {path: look.is_open_for_writing for path, look in observe_files([str(link), str(hard)]).items()} == {
            str(link): True,
            str(hard): True,
        }


def test_what_is_gone_empty_or_no_file_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "folder.mp4").mkdir()
    os.mkfifo(tmp_path / "pipe.mp4")
    names = ("empty.mp4", "folder.mp4", "pipe.mp4", "none.mp4", "none/a.mp4")
    assert observe_files([*(str(tmp_path / name) for name in names), "a\0b"]) == {}


def test_a_process_that_ends_while_we_look_is_no_error(tmp_path: Path) -> None:
    video = tmp_path / "a.mp4"
    video.write_bytes(b"video")
    with ExitStack() as stack:
        for _ in range(5):
            process = stack.enter_context(subprocess.Popen([sys.executable, "-c", "pass"]))
            assert not is_open_for_writing(video)
            process.kill()
        assert not is_open_for_writing(video)
