"""Locales of other encodings than UTF-8, made where Debian's package `locales` is installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

UTF_8_ENVIRONMENT: Final[dict[str, str | None]] = {"LC_ALL": "C.UTF-8", "PYTHONUTF8": None, "PYTHONCOERCECLOCALE": None}
ASCII_ENVIRONMENT: Final[dict[str, str | None]] = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
"""Python's way to have ASCII for everything: needs no locale."""

BUILT_LOCALES: Final = {"de_DE.ISO-8859-1": ("de_DE", "ISO-8859-1"), "ja_JP.eucJP": ("ja_JP", "EUC-JP")}


def build_locale(name: str, folder: Path) -> dict[str, str | None]:
    """The environment of a locale of `BUILT_LOCALES`, built in a folder; skips the test where it cannot be built."""
    program = shutil.which("localedef")
    if program is None:
        pytest.skip("there is no localedef to make a locale with")
    language, encoding = BUILT_LOCALES[name]
    built = subprocess.run([program, "-i", language, "-f", encoding, str(folder / name)], capture_output=True, check=False)
    if not (folder / name / "LC_CTYPE").exists():
        pytest.skip(
            f"localedef makes no {name} (Debian: apt-get install locales): {built.stderr.decode(errors='replace')[:200]}"
        )
    return {"LOCPATH": str(folder), "LC_ALL": name, "PYTHONUTF8": None, "PYTHONCOERCECLOCALE": None}
