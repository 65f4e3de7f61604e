"""The tests that the documents name exist, each by its file and its whole name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPO_ROOT = Path(__file__).parent.parent
CODE_SPAN = re.compile(r"`([^`\n]+)`")
TEST_REFERENCE = re.compile(r"(?:tests/)?([a-z0-9_/]+\.py)(?:::(\w+))?")
LEAST_REFERENCES = {"answers.md": 1, "libraries.md": 20, "money.md": 20, "promises.md": 80}


def spans_of(document: str) -> list[str]:
    return CODE_SPAN.findall((REPO_ROOT / "docs" / document).read_text(encoding="utf-8"))


def is_defined(path: str, name: str) -> bool:
    """Whether the file below `tests/` exists and, if a name is given, defines that function or method."""
    file = REPO_ROOT / "tests" / path
    return file.is_file() and (not name or f"def {name}(" in file.read_text(encoding="utf-8"))


@pytest.mark.parametrize("document", LEAST_REFERENCES)
def test_every_test_that_a_document_names_exists(document: str) -> None:
    found = [reference.groups("") for span in spans_of(document) if (reference := TEST_REFERENCE.fullmatch(span))]
    assert len(found) >= LEAST_REFERENCES[document]
    assert [f"{path}::{name}" for path, name in found if not is_defined(path, name)] == []


@pytest.mark.parametrize("document", LEAST_REFERENCES)
def test_every_test_is_named_with_its_file_and_its_whole_name(document: str) -> None:
    spans = [span for span in spans_of(document) if "::" in span or span.startswith("test_")]
    assert [span for span in spans if not TEST_REFERENCE.fullmatch(span)] == []
