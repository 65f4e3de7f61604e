"""What the documents say of the tests is true: each test that they name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPO_ROOT = Path(__file__).parent.parent
TEST_REFERENCE = re.compile(r"`(?:tests/)?([a-z_/]+\.py)(?:::(test_\w+))?`")


def named(document: str) -> list[tuple[str, str]]:
    return TEST_REFERENCE.findall((REPO_ROOT / "docs" / document).read_text(encoding="utf-8"))


@pytest.mark.parametrize("document", ["libraries.md", "money.md"])
def test_every_test_that_a_document_names_exists(document: str) -> None:
    found = named(document)
    assert len(found) > 20
    missing = [
        f"{path}::{test}"
        for path, test in found
        if not (REPO_ROOT / "tests" / path).is_file()
        or (test and f"def {test}(" not in (REPO_ROOT / "tests" / path).read_text("utf-8"))
    ]
    assert missing == []
