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

from synthdub_tui.jobs.model import NEVER, JobOptions
from synthdub_tui.store.receipts import ModerationVerdict, PaidContent, Receipts, SavedOutput, account_id

CONTENT = PaidContent(1000, "xxh3:aa", "en adaptive private")
FR, ES = "fr-FR", "es-ES"


def open_receipts(folder: Path, account: str = "me") -> Receipts:
    return Receipts(str(folder), account)


def record_intent(paid: Receipts, *languages: str, content: PaidContent = CONTENT, **more: object) -> str:
    return paid.record_intent(content, languages or (FR,), at=5.0, **more)  # type: ignore[arg-type]


def paid_project(paid: Receipts, language: str = FR, content: PaidContent = CONTENT) -> list[str]:
    return [receipt.project for receipt in paid.find(content) if receipt.may_be_paid_for(language)]


def output_file(**more: object) -> SavedOutput:
    return SavedOutput(**({"id": "", "language": FR, "path": "/v/a.mp4", "size": 7, "mtime_ns": 3, "fingerprint": "f"} | more))  # type: ignore[arg-type]


def test_a_paid_request_is_known_before_its_answer(tmp_path: Path) -> None:
    record_intent(open_receipts(tmp_path), FR, ES)
    again = open_receipts(tmp_path)
    assert paid_project(again, FR) == paid_project(again, ES) == [""]
    assert paid_project(again, "de-DE") == []
    assert again.has_size(1000)
    assert not again.has_size(1256)  # of the same file of receipts


def test_the_newest_request_comes_first_with_its_project(tmp_path: Path) -> None:
    paid = open_receipts(tmp_path)
    for project in ("p1", "p2"):
        paid.record_accepted(1000, record_intent(paid), project)
    assert paid_project(open_receipts(tmp_path)) == ["p2", "p1"]


def test_what_was_refused_or_failed_does_not_stand(tmp_path: Path) -> None:
    paid = open_receipts(tmp_path)
    paid.record_rejected(1000, record_intent(paid, FR, ES), [FR])
    paid.record_rejected(1000, record_intent(paid, FR))
    paid.record_accepted(1000, record_intent(paid, FR, ES), "p")
    paid.record_failed(1000, "p", FR, "processing_error")
    again = open_receipts(tmp_path)
    assert paid_project(again, FR) == []
    assert paid_project(again, ES) == ["p", ""]
    assert again.find(CONTENT)[0].failure_codes == {FR: "processing_error"}


def test_other_accounts_contents_and_options_are_not_mixed_up(tmp_path: Path) -> None:
    record_intent(open_receipts(tmp_path))
    assert not open_receipts(tmp_path, "other").has_size(1000)
    assert paid_project(open_receipts(tmp_path, "other")) == []
    paid = open_receipts(tmp_path)
    assert paid_project(paid, content=PaidContent(1000, "xxh3:bb", CONTENT.options)) == []
    assert paid_project(paid, content=PaidContent(1000, CONTENT.digest, "en adaptive private lipsync")) == []


def test_the_title_does_not_belong_to_what_is_paid_for() -> None:
    assert PaidContent.from_options(1, "d", JobOptions("intro")) == PaidContent.from_options(1, "d", JobOptions("renamed"))
    assert PaidContent.from_options(1, "d", JobOptions("intro")) != PaidContent.from_options(
        1, "d", JobOptions("intro", lipsync=True)
    )


def test_a_request_is_not_recorded_where_another_process_paid_meanwhile(tmp_path: Path) -> None:
    mine, theirs = open_receipts(tmp_path), open_receipts(tmp_path)
    assert paid_project(mine) == []
    assert record_intent(theirs, unless_paid={FR: NEVER})
    assert record_intent(mine, FR, unless_paid={FR: NEVER}) == ""
    assert record_intent(mine, ES, unless_paid={ES: NEVER})
    assert record_intent(mine, FR)  # the user said so


def test_what_moderation_refused_is_known_whatever_the_options(tmp_path: Path) -> None:
    paid = open_receipts(tmp_path)
    request = record_intent(paid, FR)
    paid.record_moderated(1000, request, FR, "words")
    other = replace(CONTENT, options="de adaptive private")
    assert open_receipts(tmp_path).find_verdict(other, FR) == ModerationVerdict(is_whole_video=False, message="words")
    assert open_receipts(tmp_path).find_verdict(other, ES) is None
    paid.record_moderated(1000, request, "", "all of it")
    assert open_receipts(tmp_path).find_verdict(other, ES) == ModerationVerdict(is_whole_video=True, message="all of it")
    assert open_receipts(tmp_path).find_verdict(replace(CONTENT, digest="xxh3:bb"), FR) is None


def test_a_refused_project_is_refused_whole(tmp_path: Path) -> None:
    paid = open_receipts(tmp_path)
    paid.record_accepted(1000, record_intent(paid, FR), "p")
    paid.record_project_moderated(1000, "p", "words")
    assert open_receipts(tmp_path).find_verdict(CONTENT, ES) == ModerationVerdict(is_whole_video=True, message="words")


def test_failures_of_older_receipts_tell_what_moderation_refused(tmp_path: Path) -> None:
    paid = open_receipts(tmp_path)
    paid.record_accepted(1000, record_intent(paid, FR, ES), "p")
    paid.record_failed(1000, "p", FR, "moderation")
    paid.record_failed(1000, "p", ES, "processing_error")
    assert open_receipts(tmp_path).find_verdict(CONTENT, FR) == ModerationVerdict(is_whole_video=False, message="")
    assert open_receipts(tmp_path).find_verdict(CONTENT, ES) is None


def test_a_request_is_not_recorded_for_what_another_process_saw_refused_meanwhile(tmp_path: Path) -> None:
    one, other = open_receipts(tmp_path), open_receipts(tmp_path)
    one.record_moderated(1000, record_intent(one, FR), FR, "")
    assert record_intent(other, FR, ES, unless_moderated=(FR, ES)) == ""
    assert record_intent(other, FR, ES, unless_moderated=(ES,)) != ""


def test_an_output_is_found_by_its_receipt_and_by_its_content(tmp_path: Path) -> None:
    paid = open_receipts(tmp_path)
    paid.record_accepted(1000, record_intent(paid), "p")
    paid.record_saved(CONTENT, "p", output_file())
    again = open_receipts(tmp_path)
    assert again.find(CONTENT)[0].outputs[FR].path == "/v/a.mp4"
    assert again.is_own_output(7, lambda: "f")
    assert not again.is_own_output(7, lambda: "g")
    assert not again.is_own_output(8, lambda: pytest.fail("its content need not be read"))


def test_an_output_without_a_receipt_is_ours_all_the_same(tmp_path: Path) -> None:
    open_receipts(tmp_path).record_saved(CONTENT, "unknown", output_file())
    assert open_receipts(tmp_path).is_own_output(7, lambda: "f")


@given(cut=st.integers(1, 60), garbage=st.binary(max_size=40))
def test_a_line_that_a_crash_cut_off_damages_no_other(
    tmp_path_factory: pytest.TempPathFactory, cut: int, garbage: bytes
) -> None:
    folder = tmp_path_factory.mktemp("torn")
    record_intent(open_receipts(folder), FR)
    (path,) = (folder / "receipts").iterdir()
    with path.open("ab") as file:
        file.write(path.read_bytes()[:-cut] + garbage)
    record_intent(open_receipts(folder), ES)
    again = open_receipts(folder)
    assert paid_project(again, FR)[-1:] == paid_project(again, ES)[-1:] == [""]


def test_a_reader_sees_what_was_appended_since(tmp_path: Path) -> None:
    reader, writer = open_receipts(tmp_path), open_receipts(tmp_path)
    assert paid_project(reader) == []
    writer.record_accepted(1000, record_intent(writer), "p")
    assert paid_project(reader) == ["p"]


def test_many_processes_append_whole_lines(tmp_path: Path) -> None:
    code = (
        "import sys; from synthdub_tui.store.receipts import PaidContent, Receipts;"
        "r = Receipts(sys.argv[1], 'me');"
        "[r.record_intent(PaidContent(1000, 'd', ''), [f'{sys.argv[2]}-{n}'], at=0) for n in range(20)]"
    )
    children = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(number)]) for number in range(4)]
    assert [child.wait(timeout=60) for child in children] == [0] * 4
    languages = {
        language for each in open_receipts(tmp_path).find(PaidContent(1000, "d", "")) for language in each.request.languages
    }
    assert languages == {f"{number}-{n}" for number in range(4) for n in range(20)}


def test_only_the_owner_reads_them(tmp_path: Path) -> None:
    record_intent(open_receipts(tmp_path / "data"))
    folder = tmp_path / "data" / "receipts"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.stat().st_mode & 0o777 for path in folder.iterdir()] == [0o600]


def test_a_link_in_its_place_is_not_written_through(tmp_path: Path) -> None:
    folder = tmp_path / "receipts"
    folder.mkdir()
    (folder / f"{1000 % 256:02x}.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        record_intent(open_receipts(tmp_path))
    assert not os.path.lexists(tmp_path / "elsewhere")


def test_the_key_cannot_be_read_from_the_account() -> None:
    assert "secret-key" not in account_id("https://api.synthesia.io", "secret-key")
    assert account_id("https://a", "k") != account_id("https://b", "k") != account_id("https://b", "l")
