"""Receipts of what was paid: durable, read by all processes, never damaged by one that dies while it writes."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthdub_tui.jobs.model import NEVER, Options
from synthdub_tui.store.receipts import Content, Receipts, SavedOutput, Verdict, account_of

CONTENT = Content(1000, "xxh3:aa", "en adaptive private")
FR, ES = "fr-FR", "es-ES"


def receipts(folder: Path, account: str = "me") -> Receipts:
    return Receipts(str(folder), account)


def intend(paid: Receipts, *languages: str, content: Content = CONTENT, **more: object) -> str:
    return paid.intend(content, languages or (FR,), at=5.0, **more)  # type: ignore[arg-type]


def standing(paid: Receipts, language: str = FR, content: Content = CONTENT) -> list[str]:
    return [receipt.project for receipt in paid.find(content) if receipt.stands_for(language)]


def output(**more: object) -> SavedOutput:
    return SavedOutput(**({"id": "", "language": FR, "path": "/v/a.mp4", "size": 7, "mtime_ns": 3, "fingerprint": "f"} | more))  # type: ignore[arg-type]


def test_a_paid_request_is_known_before_its_answer(tmp_path: Path) -> None:
    intend(receipts(tmp_path), FR, ES)
    again = receipts(tmp_path)
    assert standing(again, FR) == standing(again, ES) == [""]
    assert standing(again, "de-DE") == []
    assert again.any_of_size(1000)
    assert not again.any_of_size(1256)  # of the same file of receipts


def test_the_newest_request_comes_first_with_its_project(tmp_path: Path) -> None:
    paid = receipts(tmp_path)
    for project in ("p1", "p2"):
        paid.accepted(1000, intend(paid), project)
    assert standing(receipts(tmp_path)) == ["p2", "p1"]


def test_what_was_refused_or_failed_does_not_stand(tmp_path: Path) -> None:
    paid = receipts(tmp_path)
    paid.refused(1000, intend(paid, FR, ES), [FR])
    paid.refused(1000, intend(paid, FR))
    paid.accepted(1000, intend(paid, FR, ES), "p")
    paid.failed(1000, "p", FR, "processing_error")
    again = receipts(tmp_path)
    assert standing(again, FR) == []
    assert standing(again, ES) == ["p", ""]
    assert again.find(CONTENT)[0].failed == {FR: "processing_error"}


def test_other_accounts_contents_and_options_are_not_mixed_up(tmp_path: Path) -> None:
    intend(receipts(tmp_path))
    assert not receipts(tmp_path, "other").any_of_size(1000)
    assert standing(receipts(tmp_path, "other")) == []
    paid = receipts(tmp_path)
    assert standing(paid, content=Content(1000, "xxh3:bb", CONTENT.options)) == []
    assert standing(paid, content=Content(1000, CONTENT.digest, "en adaptive private lipsync")) == []


def test_the_title_does_not_belong_to_what_is_paid_for() -> None:
    assert Content.of(1, "d", Options("intro")) == Content.of(1, "d", Options("renamed"))
    assert Content.of(1, "d", Options("intro")) != Content.of(1, "d", Options("intro", lipsync=True))


def test_a_request_is_not_recorded_where_another_process_paid_meanwhile(tmp_path: Path) -> None:
    mine, theirs = receipts(tmp_path), receipts(tmp_path)
    assert standing(mine) == []
    assert intend(theirs, unless_paid={FR: NEVER})
    assert intend(mine, FR, unless_paid={FR: NEVER}) == ""
    assert intend(mine, ES, unless_paid={ES: NEVER})
    assert intend(mine, FR)  # the user said so


def test_what_moderation_refused_is_known_whatever_the_options(tmp_path: Path) -> None:
    paid = receipts(tmp_path)
    request = intend(paid, FR)
    paid.moderated(1000, request, FR, "words")
    other = replace(CONTENT, options="de adaptive private")
    assert receipts(tmp_path).verdict(other, FR) == Verdict(whole=False, words="words")
    assert receipts(tmp_path).verdict(other, ES) is None
    paid.moderated(1000, request, "", "all of it")
    assert receipts(tmp_path).verdict(other, ES) == Verdict(whole=True, words="all of it")
    assert receipts(tmp_path).verdict(replace(CONTENT, digest="xxh3:bb"), FR) is None


def test_a_refused_project_is_refused_whole(tmp_path: Path) -> None:
    paid = receipts(tmp_path)
    paid.accepted(1000, intend(paid, FR), "p")
    paid.moderated_in(1000, "p", "words")
    assert receipts(tmp_path).verdict(CONTENT, ES) == Verdict(whole=True, words="words")


def test_failures_of_older_receipts_tell_what_moderation_refused(tmp_path: Path) -> None:
    paid = receipts(tmp_path)
    paid.accepted(1000, intend(paid, FR, ES), "p")
    paid.failed(1000, "p", FR, "moderation")
    paid.failed(1000, "p", ES, "processing_error")
    assert receipts(tmp_path).verdict(CONTENT, FR) == Verdict(whole=False, words="")
    assert receipts(tmp_path).verdict(CONTENT, ES) is None


def test_a_request_is_not_recorded_for_what_another_process_saw_refused_meanwhile(tmp_path: Path) -> None:
    one, other = receipts(tmp_path), receipts(tmp_path)
    one.moderated(1000, intend(one, FR), FR, "")
    assert intend(other, FR, ES, unless_moderated=(FR, ES)) == ""
    assert intend(other, FR, ES, unless_moderated=(ES,)) != ""


def test_an_output_is_found_by_its_receipt_and_by_its_content(tmp_path: Path) -> None:
    paid = receipts(tmp_path)
    paid.accepted(1000, intend(paid), "p")
    paid.saved(CONTENT, "p", output())
    again = receipts(tmp_path)
    assert again.find(CONTENT)[0].outputs[FR].path == "/v/a.mp4"
    assert again.is_ours(7, lambda: "f")
    assert not again.is_ours(7, lambda: "g")
    assert not again.is_ours(8, lambda: pytest.fail("its content need not be read"))


def test_an_output_without_a_receipt_is_ours_all_the_same(tmp_path: Path) -> None:
    receipts(tmp_path).saved(CONTENT, "unknown", output())
    assert receipts(tmp_path).is_ours(7, lambda: "f")


@given(cut=st.integers(1, 60), garbage=st.binary(max_size=40))
def test_a_line_that_a_crash_cut_off_damages_no_other(
    tmp_path_factory: pytest.TempPathFactory, cut: int, garbage: bytes
) -> None:
    folder = tmp_path_factory.mktemp("torn")
    intend(receipts(folder), FR)
    (path,) = (folder / "receipts").iterdir()
    with path.open("ab") as file:
        file.write(path.read_bytes()[:-cut] + garbage)
    intend(receipts(folder), ES)
    again = receipts(folder)
    assert standing(again, FR)[-1:] == standing(again, ES)[-1:] == [""]


def test_a_reader_sees_what_was_appended_since(tmp_path: Path) -> None:
    reader, writer = receipts(tmp_path), receipts(tmp_path)
    assert standing(reader) == []
    writer.accepted(1000, intend(writer), "p")
    assert standing(reader) == ["p"]


def test_many_processes_append_whole_lines(tmp_path: Path) -> None:
    code = (
        "import sys; from synthdub_tui.store.receipts import *;"
        "r = Receipts(sys.argv[1], 'me');"
        "[r.intend(Content(1000, 'd', ''), [f'{sys.argv[2]}-{n}'], at=0) for n in range(20)]"
    )
    children = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(number)]) for number in range(4)]
    assert [child.wait(timeout=60) for child in children] == [0] * 4
    languages = {language for each in receipts(tmp_path).find(Content(1000, "d", "")) for language in each.request.languages}
    assert languages == {f"{number}-{n}" for number in range(4) for n in range(20)}


def test_only_the_owner_reads_them(tmp_path: Path) -> None:
    intend(receipts(tmp_path / "data"))
    folder = tmp_path / "data" / "receipts"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.stat().st_mode & 0o777 for path in folder.iterdir()] == [0o600]


def test_a_link_in_its_place_is_not_written_through(tmp_path: Path) -> None:
    folder = tmp_path / "receipts"
    folder.mkdir()
    (folder / f"{1000 % 256:02x}.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        intend(receipts(tmp_path))
    assert not os.path.lexists(tmp_path / "elsewhere")


def test_the_key_cannot_be_read_from_the_account() -> None:
    assert "secret-key" not in account_of("https://api.synthesia.io", "secret-key")
    assert account_of("https://a", "k") != account_of("https://b", "k") != account_of("https://b", "l")
