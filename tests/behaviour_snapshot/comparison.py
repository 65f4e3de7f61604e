"""Records the tree at a git reference beside this one, and compares."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.behaviour_snapshot.product import TREE
from tests.behaviour_snapshot.recorder import record

OWN: Final = Path("tests") / "behaviour_snapshot"


def against(reference: str, folder: Path, only: tuple[str, ...]) -> int:
    """Print how this tree differs from the reference. 1 if it does. Both recordings stay in the folder."""
    before, after = folder / "before", folder / "after"
    with checked_out(reference) as tree:
        if not (tree / OWN).exists():
            shutil.copytree(TREE / OWN, tree / OWN)
        words = [word for scene in only for word in ("--only", scene)]
        command = [sys.executable, "-m", "tests.behaviour_snapshot", str(before.absolute()), *words]
        subprocess.run(command, cwd=tree, env=os.environ | {"PYTHONPATH": str(tree)}, check=True)
    record(after, only)
    found = subprocess.run(["diff", "-r", "-u", before, after], check=False)
    print(f"{'The same behaviour' if found.returncode == 0 else 'The behaviour differs'}: {before} and {after}")
    return 1 if found.returncode else 0


@contextmanager
def checked_out(reference: str) -> Iterator[Path]:
    """A worktree of that reference, removed at the end."""
    with tempfile.TemporaryDirectory(prefix="behaviour-snapshot-tree-") as place:
        tree = Path(place) / "tree"
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", tree, reference], cwd=TREE, check=True)
        try:
            yield tree
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=TREE, check=True)
