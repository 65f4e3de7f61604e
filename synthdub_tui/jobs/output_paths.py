"""Paths of outputs: how to recognise them, and where they go. Pure."""

from __future__ import annotations

import os
import re
from typing import Final

_OUTPUT: Final = re.compile(r"\.dubbed-[a-z]{2,3}(-[a-z0-9]{2,8})?\.mp4$", re.IGNORECASE)


def is_output(name: str) -> bool:
    """Whether a name has the form of an output. Outputs are never sources."""
    return _OUTPUT.search(name) is not None


def output_path(source: str, language: str, folder: str = "", ending: str = "mp4") -> str:
    """Path of a source's output: next to the source, or in `folder`."""
    directory, name = os.path.split(source)
    stem = os.path.splitext(name)[0]
    return os.path.join(folder or directory, f"{stem}.dubbed-{language}.{ending}")


def output_folder(path: str, root: str, output_dir: str) -> str:
    """Folder of a source's outputs under --output-dir, keeping the structure below the named folder `root`."""
    if not output_dir:
        return ""
    return os.path.normpath(os.path.join(output_dir, os.path.relpath(os.path.dirname(path), root)))
