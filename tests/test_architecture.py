"""What import contracts cannot see, on the syntax trees of the program: I/O in the domain, docstrings, names, sizes."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

PACKAGE: Final = Path(__file__).parent.parent / "synthdub_tui"
TREES: Final = {
    str(path.relative_to(PACKAGE)): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))
}

FORBIDDEN_IN_JOBS: Final = re.compile(
    r"open|input|print|io\.\w+|os\.(?!path\b|fspath\b|fsencode\b|fsdecode\b|sep\b|PathLike\b|environ\b)\w+|os\.environ\b.*"
    r"|os\.path\.(exists|lexists|isfile|isdir|islink|ismount|getsize|get[amc]time|realpath|samefile|abspath|expanduser)"
    r"|(Path|pathlib\.Path)|time\.\w+|datetime\.(datetime\.)?(now|today|utcnow)|random\.\w+|socket\.\w+"
)
"""Calls that read or change the world, ask for the time or for chance. `os.path.join` and the like only work on texts."""

BUILTIN_ERRORS: Final = {"SystemExit", "KeyboardInterrupt", "StopIteration", "StopAsyncIteration"}
"""Exceptions of Python that do not end in Error."""

MAX_LINES: Final = 400
LONG_FILES: Final = {
    "dashboard/app.py": 405,
    "dashboard/grid_model.py": 464,
    "dashboard/screens/main.py": 436,  # the methods that name each key's action
    "dashboard/screens/outputs.py": 447,
    "dashboard/widgets/grid.py": 430,
    "jobs/model.py": 461,
    "problems.py": 764,
    "runner/duration_model.py": 430,
    "runner/payment_history.py": 432,
    "runner/runner.py": 855,
    "store/receipts.py": 418,
    "synthesia/client.py": 423,
    "synthesia/schema.py": 480,
}
"""Files that are longer than `MAX_LINES`, with the lines that they have. They may only become shorter."""


def called_names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yields what is called or read by a dotted name, with the line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node.lineno


def classes() -> Iterator[tuple[str, ast.ClassDef]]:
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                yield path, node


def base_names(node: ast.ClassDef) -> set[str]:
    return {ast.unparse(base).rpartition(".")[2] for base in node.bases}


def own_errors() -> set[str]:
    """Returns the names of the classes that derive from SynthdubError."""
    found = {"SynthdubError"}
    while new := {node.name for _, node in classes() if base_names(node) & found} - found:
        found |= new
    return found


@pytest.mark.parametrize("path", [path for path in TREES if path.startswith("jobs/")])
def test_the_domain_reads_no_files_and_asks_for_no_time(path: str) -> None:
    assert [f"{name} in line {line}" for name, line in called_names(TREES[path]) if FORBIDDEN_IN_JOBS.fullmatch(name)] == []


@pytest.mark.parametrize(
    "code", ["open(path)", "os.stat(path)", "os.path.exists(path)", "time.time()", "Path(path)", "os.listdir(folder)"]
)
def test_the_search_for_input_and_output_finds_it(code: str) -> None:
    assert [name for name, _ in called_names(ast.parse(code)) if FORBIDDEN_IN_JOBS.fullmatch(name)]


@pytest.mark.parametrize("code", ["os.path.join(a, b)", "os.fsencode(name)", "os.path.splitext(name)", "self.open_dubs()"])
def test_the_search_for_input_and_output_leaves_pure_functions_alone(code: str) -> None:
    assert [name for name, _ in called_names(ast.parse(code)) if FORBIDDEN_IN_JOBS.fullmatch(name)] == []


@pytest.mark.parametrize("path", TREES)
def test_each_module_says_what_it_is_for(path: str) -> None:
    words = ast.get_docstring(TREES[path])
    assert words, path
    if path.endswith("__init__.py"):
        assert len(re.findall(r"[.!?](?:\s|$)", words.partition("\n\n")[0])) <= 2, "one sentence says what belongs here"


def test_no_two_public_classes_share_a_name() -> None:
    names = Counter(
        node.name
        for tree in TREES.values()
        for node in tree.body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_all_exceptions_are_of_one_hierarchy_and_end_in_error() -> None:
    errors = own_errors()
    assert len(errors) > 15
    assert [name for name in errors if not name.endswith("Error")] == []
    strangers = [
        f"{path}: {node.name}"
        for path, node in classes()
        if node.name not in errors and any(base.endswith(("Error", "Exception")) for base in base_names(node))
    ]
    assert strangers == []


def test_what_is_raised_is_an_error() -> None:
    raised = {
        (ast.unparse(node.exc.func).rpartition(".")[2], f"{path}:{node.lineno}")
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)
    }
    wrong = {
        (name, place)
        for name, place in raised
        if name[:1].isupper() and not name.endswith("Error") and name not in BUILTIN_ERRORS
    }
    assert wrong == set()


def test_modules_are_imported_by_statements() -> None:
    """A name in a string is seen by no import contract. `cli` imports the named command, `preload` the screens."""
    users = {path for path, tree in TREES.items() for name, _ in called_names(tree) if name.endswith("import_module")}
    assert users <= {"cli.py", "dashboard/preload.py"}


def test_no_file_grows_beyond_one_thing() -> None:
    lines = {path: len((PACKAGE / path).read_text(encoding="utf-8").splitlines()) for path in TREES}
    assert {path: count for path, count in lines.items() if count > LONG_FILES.get(path, MAX_LINES)} == {}
    assert [path for path in LONG_FILES if lines.get(path, 0) <= MAX_LINES] == [], "no longer too long: take it off the list"


def test_a_style_sheet_lies_beside_the_code_that_it_is_for() -> None:
    sheets = [path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.tcss")]
    assert sheets
    assert [str(sheet) for sheet in sheets if str(sheet.with_suffix(".py")) not in TREES] == []


def test_the_program_names_no_document_that_it_does_not_ship() -> None:
    root = PACKAGE.parent
    named = {
        (path, name)
        for path in TREES
        for name in re.findall(r"[\w/.-]+\.md\b", (PACKAGE / path).read_text(encoding="utf-8"))
        if not any((place / name).is_file() for place in (root, root / "docs"))
    }
    assert named == set()
    assert [path for path, tree in TREES.items() if re.search(r"design rule \d+", ast.unparse(tree))] == []


EXPLAINED: Final = re.compile(r"`([a-z_]\w*)`(?::| is called| returns)")
"""How a docstring begins to explain a parameter, an attribute or a word."""

NAMED_FILE: Final = re.compile(r"`(?:[\w/]+/)?(\w+\.py)`")


def explainable_names(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> set[str]:
    """Returns what the docstring of a function or class may explain: its parameters, attributes, methods and words."""
    docstring = ast.get_docstring(node, clean=False)
    found = set()
    for part in ast.walk(node):
        match part:
            case ast.arg(arg=name) | ast.Name(id=name) | ast.Attribute(attr=name):
                found.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.add(name)
            case ast.Constant(value=str(name)) if name != docstring:
                found.add(name)
    return found


def wrong_explanations(tree: ast.Module) -> list[str]:
    return [
        f"{node.name}: {name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        for name in EXPLAINED.findall(ast.get_docstring(node) or "")
        if name not in explainable_names(node)
    ]


def test_docstrings_explain_names_that_exist() -> None:
    assert {path: wrong for path, tree in TREES.items() if (wrong := wrong_explanations(tree))} == {}
    assert wrong_explanations(ast.parse('def f(new):\n    """`old`: what it was called before."""')) == ["f: old"]


def test_files_that_the_program_names_exist() -> None:
    files = {path.rpartition("/")[2] for path in TREES}
    named = {(path, name) for path in TREES for name in NAMED_FILE.findall((PACKAGE / path).read_text(encoding="utf-8"))}
    assert len(named) > 5
    assert [(path, name) for path, name in named if name not in files] == []
