"""Every error that can be met is explained, and no outside text steers the terminal."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import synthdub_tui
from synthdub_tui.errors import ProblemError
from synthdub_tui.problems import PROBLEMS, RetryAdvice, explain
from synthdub_tui.text import make_printable

PACKAGE_FOLDER = Path(synthdub_tui.__file__).parent

# Position of the code among the arguments of what takes one.
CODE_ARGUMENT_POSITIONS = {
    "ProblemError": 0,
    "explain": 0,
    "Failure": 0,
    "RequestRejectedError": 0,
    "NotSentError": 0,
    "UnknownOutcomeError": 0,
    "ServiceUnavailableError": 0,
    "InvalidApiKeyError": 0,
    "RejectedFile": 1,
    "SkippedPath": 1,
    "fail_unsent_dubs": 1,
    "fail_dub": 2,
    "record_rejected": 1,
    "_untaken": 1,
    "_lost": 1,
    "_trouble": 0,
}


def literal_texts(node: ast.expr) -> Iterator[str]:
    """Texts that an argument may be: itself, or either side of `a if b else c`."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.IfExp(body=body, orelse=orelse):
            yield from literal_texts(body)
            yield from literal_texts(orelse)


def raised_codes() -> Iterator[tuple[str, str]]:
    """(code, place) of every literal code in the program."""
    for path in sorted(PACKAGE_FOLDER.rglob("*.py")):
        if path.parent.name in ("sandbox",):
            continue  # speaks the service's language
        tree = ast.parse(path.read_text())
        own = {
            base.id
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef)
            for base in node.bases
            if isinstance(base, ast.Name)
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            is_super = called == "__init__" and "ProblemError" in own
            position = 0 if is_super else CODE_ARGUMENT_POSITIONS.get(called)
            if position is not None and len(node.args) > position:
                for code in literal_texts(node.args[position]):
                    yield code, f"{path.relative_to(PACKAGE_FOLDER)}:{node.lineno}"


def test_the_search_finds_codes() -> None:
    codes = {code for code, _ in raised_codes()}
    assert {
        "no_key",
        "state_busy",
        "config_invalid",
        "path_missing",
        "submission_unknown",
        "moderation",
        "disk_full",
    } - codes <= {"moderation"}
    assert len(codes) > 30


def test_every_code_that_is_raised_is_explained() -> None:
    unknown = {(code, place) for code, place in raised_codes() if code and code not in PROBLEMS}
    assert not unknown


def test_every_code_of_the_service_is_explained() -> None:
    service = {"moderation", "video_duration_limit_reached", "invalid_target_language", "processing_error"}
    assert service | {"asset_upload", "language_detect", "BrokenAssetUrlError"} <= set(PROBLEMS)


def test_no_code_is_explained_twice() -> None:
    """A later entry would take the place of the first in silence."""
    tree = ast.parse((PACKAGE_FOLDER / "problems.py").read_text())
    (table,) = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "_table"]
    assert len(table.args) == len(PROBLEMS)


@pytest.mark.parametrize("code", PROBLEMS)
def test_every_problem_says_what_happened_and_what_to_do(code: str) -> None:
    problem = PROBLEMS[code]
    assert problem.code == code
    assert problem.title
    assert not problem.title.endswith(".")
    assert problem.remedy.endswith((".", "fr-FR,es-ES")), problem.remedy
    assert not problem.cause or problem.cause.endswith(".")
    assert all(text == make_printable(text) for text in (problem.title, problem.cause, problem.remedy))


PROBLEM_EXPECTATIONS = {
    "401 (or 403)": ("key_rejected", "scope", "Studio"),
    "no key at all": ("no_key", "key", "Legacy (v2)"),
    "415": ("media_type", "415", "mp4, webm or mov"),
    "S3 ExpiredToken": ("credentials_expired", "ExpiredToken", "new asset"),
    "S3 AuthorizationHeaderMalformed": ("upload_region", "eu-west-1", "--s3-endpoint-url"),
    "polling never completes: wrong id": ("project_not_found", "another account", "key"),
    "complete, but the language never comes": ("missing_in_project", "dropped", "Retry"),
    "moderation": ("moderation", "rules", "Do not send it again"),
}
"""The vendor's troubleshooting rows: problem, a word of its cause, a word of its remedy. “Complete, but no download URL” is no
problem here (the runner keeps polling), nor is “the wrong file resumes” (options are part of a job's identity)."""


@pytest.mark.parametrize("symptom", PROBLEM_EXPECTATIONS)
def test_every_row_of_the_vendors_troubleshooting_has_its_cause_and_remedy(symptom: str) -> None:
    code, cause, remedy = PROBLEM_EXPECTATIONS[symptom]
    problem = PROBLEMS[code]
    assert cause in problem.cause
    assert remedy in problem.remedy


def test_retries_that_may_harm_the_account_or_pay_twice_ask_first() -> None:
    assert {code for code, problem in PROBLEMS.items() if problem.retry is RetryAdvice.ASK} == {
        "moderation",
        "submission_unknown",
        "source_touched",
        "source_maybe_moved",
        "no_audio",
        "already_paid",
        "claimed",
    }


@pytest.mark.parametrize(
    "code",
    [
        "output_exists",
        "output_claimed",
        "output_unwritable",
        "output_unmounted",
        "disk_full",
        "name_too_long",
        "name_refused",
        "source_missing",
        "source_unreadable",
        "source_changed",
        "source_unsettled",
    ],
)
def test_a_first_submission_is_never_called_free(code: str) -> None:
    """What stops a dub before it is paid for is mended, and then the dub is paid for."""
    remedy = PROBLEMS[code].remedy
    assert "costs credits like any" in remedy
    assert "it is free" not in remedy


def test_an_unknown_code_has_a_general_explanation() -> None:
    problem = explain("flux_\x1b[31mcapacitor", "words")
    assert problem.retry is RetryAdvice.COSTS
    assert "\x1b" not in problem.title
    assert "flux_" in problem.title
    assert problem.detail == "words"


def test_a_trouble_tells_itself() -> None:
    trouble = ProblemError("disk_full", "/out\nx")
    assert str(trouble) == trouble.problem.one_line()
    assert "The disk is full (/out\N{REPLACEMENT CHARACTER}x)." in str(trouble)


@pytest.mark.parametrize(
    "text",
    [
        "\x1b[2J",
        "\x9b31m",
        "a\nb",
        "a\rb",
        "a\tb",
        "\x07",
        "\u202eevil",
        "\u2066x\u2069",
        "\u2028",
        "\x00",
        "\x7f",
        "\udcff",
        "\ufeff",
    ],
)
def test_terminal_control_characters_are_replaced(text: str) -> None:
    shown = make_printable(text)
    assert shown.isprintable()
    assert "\N{REPLACEMENT CHARACTER}" in shown
    assert len(shown) == len(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("می\u200cخواهم.mp4", "میخواهم.mp4"),
        ("क्\u200dष.mp4", "क्ष.mp4"),
        ("ക്\u200d.mp4", "ക്.mp4"),
        ("👩\u200d👩🏽\u200d👧.mp4", "👩👩🏽👧.mp4"),
        ("❤\ufe0f\u200d🔥", "❤\ufe0f🔥"),
        ("in\u200dtro.mp4", "in\ufffdtro.mp4"),
        ("\u200dintro \u200c.mp4", "\ufffdintro \ufffd.mp4"),
        ("é\u200d\u202ex", "é\ufffdx"),
    ],
)
def test_joiners_are_left_out_where_they_belong_and_shown_where_they_would_hide(text: str, shown: str) -> None:
    assert make_printable(text) == shown


@settings(deadline=None)
@given(st.text(), st.integers(1, 50))
def test_what_is_shown_is_printable_and_short(text: str, limit: int) -> None:
    shown = make_printable(text, limit)
    assert shown.isprintable()
    assert len(shown) <= limit


@pytest.mark.parametrize("text", ["Ünïcödé 日本語 العربية", "a b.mp4", "👩‍🚀"[:1]])
def test_plain_text_stays(text: str) -> None:
    assert make_printable(text) == text
