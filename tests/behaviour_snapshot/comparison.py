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

from tests.behaviour_snapshot.product import REPO_ROOT
from tests.behaviour_snapshot.recorder import record_snapshot

OWN_FOLDER: Final = Path("tests") / "behaviour_snapshot"


def compare_with(reference: str, folder: Path, only: tuple[str, ...]) -> int:
    """Print how this tree differs from the reference. 1 if it does. Both recordings stay in the folder."""
    before, after = folder / "before", folder / "after"
    with check_out(reference) as tree:
        if not (tree / OWN_FOLDER).exists():
            shutil.copytree(REPO_ROOT / OWN_FOLDER, tree / OWN_FOLDER)
        words = [word for scene in only for word in ("--only", scene)]
        command = [sys.executable, "-m", "tests.behaviour_snapshot", str(before.absolute()), *words]
        subprocess.run(command, cwd=tree, env=os.environ | {"PYTHONPATH": str(tree)}, check=True)
    record_snapshot(after, only)
    found = subprocess.run(["diff", "-r", "-u", before, after], check=False)
    print(f"{'The same behaviour' if found.returncode == 0 else 'The behaviour differs'}: {before} and {after}")
    return 1 if found.returncode else 0


@contextmanager
def check_out(reference: str) -> Iterator[Path]:
    """A worktree of that reference, removed at the end."""
    with tempfile.TemporaryDirectory(prefix="behaviour-snapshot-tree-") as place:
        tree = Path(place) / "tree"
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", tree, reference], cwd=REPO_ROOT, check=True)
        try:
            yield tree
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=REPO_ROOT, check=True)
