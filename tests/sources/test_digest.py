"""The digest of a content is the same however it is read, and there is none of a content that was not read whole."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthdub_tui.sources import digest
from synthdub_tui.sources.digest import (
    DigestCancelledError,
    FileChangedError,
    RangeDigests,
    compute_digest,
    compute_fingerprint,
)

CONTENT_BYTES = 250
RANGE_BYTES = 32
READ_BYTES = digest.READ_CHUNK_BYTES
CONTENT = random.Random(1).randbytes(CONTENT_BYTES)


@pytest.fixture(autouse=True, scope="module")
def short_ranges() -> Iterator[None]:
    """Ranges of 32 bytes read in pieces of 10: what holds for them holds for mebibytes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digest, "DIGEST_RANGE_BYTES", RANGE_BYTES)
        patch.setattr(digest, "READ_CHUNK_BYTES", 10)
        yield


def hash_range(digests: RangeDigests, content: bytes, start: int, end: int, piece: int = 7) -> None:
    reader = digests.hasher_at(start)
    for at in range(start, end, piece):
        reader.update(content[at : min(at + piece, end)])


def expected_digest(content: bytes) -> str:
    digests = RangeDigests(len(content))
    hash_range(digests, content, 0, len(content))
    return digests.result()


@given(st.permutations(range(0, CONTENT_BYTES, 2 * RANGE_BYTES)), st.integers(1, CONTENT_BYTES))
def test_parts_may_be_read_in_any_order(parts: list[int], piece: int) -> None:
    digests = RangeDigests(CONTENT_BYTES)
    for start in parts:
        assert not digests.result()
        hash_range(digests, CONTENT, start, min(start + 2 * RANGE_BYTES, CONTENT_BYTES), piece)
    assert digests.result() == expected_digest(CONTENT)


def test_parts_may_be_read_in_threads() -> None:
    digests, together = RangeDigests(CONTENT_BYTES), threading.Barrier(4, timeout=30)

    def work(part: int) -> None:
        together.wait()
        hash_range(digests, CONTENT, part * 2 * RANGE_BYTES, min((part + 1) * 2 * RANGE_BYTES, CONTENT_BYTES), 1)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert digests.result() == expected_digest(CONTENT)


@given(st.lists(st.tuples(st.integers(0, CONTENT_BYTES), st.integers(0, CONTENT_BYTES)), max_size=20))
def test_passes_that_were_broken_off_change_nothing(passes: list[tuple[int, int]]) -> None:
    digests = RangeDigests(CONTENT_BYTES)
    for start, end in passes:
        hash_range(digests, CONTENT, start, end)
    covered = [
        any(start <= at and min(at + RANGE_BYTES, CONTENT_BYTES) <= end for start, end in passes)
        for at in range(0, CONTENT_BYTES, RANGE_BYTES)
    ]
    assert bool(digests.result()) == all(covered)
    hash_range(digests, CONTENT, 0, CONTENT_BYTES)
    assert digests.result() == expected_digest(CONTENT)


def test_a_range_whose_halves_were_read_apart_gives_no_digest() -> None:
    digests = RangeDigests(RANGE_BYTES)
    hash_range(digests, CONTENT, RANGE_BYTES // 2, RANGE_BYTES)
    hash_range(digests, CONTENT, 0, RANGE_BYTES // 2)
    assert digests.result() == ""


def test_what_was_read_whole_first_counts() -> None:
    digests, other = RangeDigests(CONTENT_BYTES), CONTENT[::-1]
    hash_range(digests, other, 0, RANGE_BYTES - 1)
    for content in (CONTENT, other):
        hash_range(digests, content, 0, CONTENT_BYTES)
    assert digests.result() == expected_digest(CONTENT)


def test_bytes_beyond_the_size_do_not_count() -> None:
    digests = RangeDigests(100)
    hash_range(digests, CONTENT, 0, CONTENT_BYTES)
    assert digests.result() == expected_digest(CONTENT[:100])


@given(st.binary(min_size=1, max_size=200), st.integers(0), st.integers(1, 255))
def test_one_other_byte_makes_another_digest(content: bytes, at: int, change: int) -> None:
    at %= len(content)
    other = content[:at] + bytes([content[at] ^ change]) + content[at + 1 :]
    assert len({expected_digest(content), expected_digest(other), expected_digest(content + b"\0")}) == 3


def test_ranges_that_changed_places_make_another_digest() -> None:
    assert expected_digest(CONTENT[:RANGE_BYTES] + CONTENT[RANGE_BYTES : 2 * RANGE_BYTES]) != expected_digest(
        CONTENT[RANGE_BYTES : 2 * RANGE_BYTES] + CONTENT[:RANGE_BYTES]
    )


# -- files ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def source_path(tmp_path: Path) -> Path:
    made = tmp_path / "a.mp4"
    made.write_bytes(CONTENT)
    return made


def test_a_file_is_read_with_its_progress(source_path: Path) -> None:
    seen: list[int] = []
    assert compute_digest(str(source_path), size=CONTENT_BYTES, progress=seen.append) == expected_digest(CONTENT)
    assert seen == list(range(10, CONTENT_BYTES + 1, 10))


def test_a_descriptor_stays_open_and_where_it_was(source_path: Path) -> None:
    with source_path.open("rb", buffering=0) as file:
        file.seek(5)
        assert compute_digest(file.fileno(), size=CONTENT_BYTES) == expected_digest(CONTENT)
        assert compute_fingerprint(file.fileno()) == compute_fingerprint(str(source_path))
        assert file.tell() == 5


def test_computing_a_digest_can_be_cancelled(source_path: Path) -> None:
    seen: list[int] = []
    with pytest.raises(DigestCancelledError):
        compute_digest(str(source_path), size=CONTENT_BYTES, progress=seen.append, stop=lambda: len(seen) == 3)
    assert seen == [10, 20, 30]


def test_a_file_of_another_size_has_no_digest(source_path: Path) -> None:
    with pytest.raises(FileChangedError, match="251 bytes became 250"):
        compute_digest(str(source_path), size=CONTENT_BYTES + 1)


@pytest.mark.parametrize("change", ["shorter", "longer", "touched", "rewritten"])
def test_a_file_that_changes_meanwhile_has_no_digest(source_path: Path, change: str) -> None:
    def progress(sent: int) -> None:
        if sent != 50:
            return
        if change in ("shorter", "longer"):
            os.truncate(source_path, CONTENT_BYTES + (10 if change == "longer" else -100))
        else:
            source_path.write_bytes(CONTENT if change == "touched" else CONTENT[::-1])
            os.utime(source_path, ns=(0, 12_345_678_901))

    with pytest.raises(FileChangedError):
        compute_digest(str(source_path), size=CONTENT_BYTES, progress=progress)


def test_what_cannot_be_read_says_so(tmp_path: Path) -> None:
    for function in (compute_fingerprint, lambda file: compute_digest(file, size=1)):
        with pytest.raises(FileNotFoundError):
            function(str(tmp_path / "none.mp4"))


def test_a_pipe_in_the_place_of_a_file_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    with pytest.raises(FileChangedError):
        compute_digest(str(tmp_path / "a.mp4"), size=1)


@pytest.mark.parametrize(
    "size", [0, 1, digest.FINGERPRINT_END_BYTES, digest.FINGERPRINT_END_BYTES + 1, 3 * digest.FINGERPRINT_END_BYTES]
)
def test_a_fingerprint_knows_size_beginning_and_end(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(bytes(size))
    found = {compute_fingerprint(str(path))}
    path.write_bytes(bytes(size + 1))
    found.add(compute_fingerprint(str(path)))
    for place in {0, size - 1} if size else ():
        content = bytearray(size)
        content[place] = 1
        path.write_bytes(content)
        found.add(compute_fingerprint(str(path)))
    assert len(found) == 2 + len({0, size - 1} if size else ())


def test_a_content_has_the_digest_that_it_always_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Digests are kept for years: another rule for them would have every library read again, and sources paid for again."""
    monkeypatch.setattr(digest, "DIGEST_RANGE_BYTES", 32 * 1024 * 1024)
    monkeypatch.setattr(digest, "READ_CHUNK_BYTES", READ_BYTES)  # as the program does: ten bytes at a time take ten seconds
    path = tmp_path / "a.mp4"
    path.write_bytes(b"synthdub" * 1000)
    os.truncate(path, digest.DIGEST_RANGE_BYTES + 1)
    assert compute_fingerprint(str(path)) == "ends:f69365107b9cd334ce3ba03d70361bc0"
    assert compute_digest(str(path), size=digest.DIGEST_RANGE_BYTES + 1) == "xxh3:1a49cfc8e195e17e624b69977d23f784"
