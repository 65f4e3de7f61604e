"""`docs/architecture.md` is true: its files and names exist, and its picture of the rooms agrees with imports and contracts."""

from __future__ import annotations

import ast
import functools
import itertools
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO_ROOT = Path(__file__).parent.parent
PACKAGE = REPO_ROOT / "synthdub_tui"
DOCUMENT = REPO_ROOT / "docs" / "architecture.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")

PICTURE = re.compile(r"^```rooms\n(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```.*?^```\n", re.MULTILINE | re.DOTALL)
CODE_SPAN = re.compile(r"`([^`\n]+)`")
FILE_REFERENCE = re.compile(r"([\w/.-]+\.(?:py|toml|json|md))(?:::([\w.]+))?")
LINK = re.compile(r"\]\(([^)#]+)\)")
UPWARD_IMPORT = re.compile(r"^- `([^`]+)` imports `([^`]+)`$", re.MULTILINE)
USERS_FILES = {"config.toml"}


def spans() -> list[str]:
    return CODE_SPAN.findall(BLOCK.sub("", TEXT))


def section(heading: str) -> str:
    """Returns the text below the heading that begins with these characters, up to the next heading of its level."""
    level = heading.split()[0]
    after = TEXT.split(f"\n{heading}", 1)[1]
    return re.split(rf"^{level} ", after, maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> list[list[str]]:
    """Returns the cells of each row of the tables in the text, without headings."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    tables = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    headings = {index - 1 for index, line in enumerate(lines) if set(line) <= set("|-")}
    return [cells for index, cells in enumerate(tables) if index not in headings and not set(lines[index]) <= set("|-")]


# -- files and names ---------------------------------------------------------------------------------------------------


@functools.cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def defined_in(body: list[ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    """Yields the names that a module or class defines, with their statements."""
    for node in body:
        match node:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                yield node.name, node
            case ast.Assign():
                yield from ((target.id, node) for target in node.targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name, node


def instance_attributes(node: ast.ClassDef) -> Iterator[tuple[str, ast.stmt]]:
    """Yields the attributes that the methods of a class assign to `self`."""
    for part in ast.walk(node):
        for target in (
            part.targets if isinstance(part, ast.Assign) else [part.target] if isinstance(part, ast.AnnAssign) else []
        ):
            if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self":
                yield target.attr, part


def is_defined(file: Path, dotted: str) -> bool:
    """Whether the file defines this name, such as `function`, `Class`, `Class.method` or `Class.attribute`.

    A test is named without its class.
    """
    if PACKAGE not in file.parents:
        return any(
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == dotted for node in ast.walk(tree_of(file))
        )
    known = dict(defined_in(tree_of(file).body))
    for name in dotted.split("."):
        if name not in known:
            return False
        node = known[name]
        known = {**dict(instance_attributes(node)), **dict(defined_in(node.body))} if isinstance(node, ast.ClassDef) else {}
    return True


def file_of(path: str) -> Path:
    """Returns the file of a reference: below the package, or below the project for tests, documents and settings."""
    inside = PACKAGE / path
    return inside if inside.is_file() else REPO_ROOT / path


def missing_references(text: str) -> list[str]:
    found = [reference.groups() for span in CODE_SPAN.findall(text) if (reference := FILE_REFERENCE.fullmatch(span))]
    return [
        f"{path}::{name}" if name else path
        for path, name in found
        if path not in USERS_FILES and (not file_of(path).is_file() or (name and not is_defined(file_of(path), name)))
    ]


def test_every_file_and_name_in_the_document_exists() -> None:
    assert sum("::" in span for span in spans()) > 120
    assert missing_references(TEXT) == []


def test_every_reference_in_the_document_has_the_form_that_is_checked() -> None:
    assert [span for span in spans() if ("::" in span or ".py" in span) and not FILE_REFERENCE.fullmatch(span)] == []


def test_every_class_and_member_in_the_document_exists() -> None:
    named = [span for span in spans() if re.fullmatch(r"[A-Z]\w*[a-z]\w*(?:\.\w+)?", span)]
    assert len(named) > 20
    files = list(PACKAGE.rglob("*.py"))
    assert [span for span in named if not any(is_defined(file, span) for file in files)] == []


def test_every_other_word_of_code_in_the_document_is_one_of_the_source() -> None:
    words = {"__main__", *re.findall(r"\w+", "".join(file.read_text(encoding="utf-8") for file in PACKAGE.rglob("*.py")))}
    named = [span for span in spans() if re.fullmatch(r"\w+", span)]
    assert len(named) > 20
    assert [span for span in named if span not in words] == []


def test_every_folder_in_the_document_exists() -> None:
    folders = [span for span in spans() if re.fullmatch(r"[\w/]+/", span)]
    assert len(folders) > 2
    assert [folder for folder in folders if not any((place / folder).is_dir() for place in (PACKAGE, REPO_ROOT))] == []


@pytest.mark.parametrize(
    "reference", ["runner/no_such_file.py", "runner/runner.py::NoSuch", "runner/runner.py::Runner.no_such"]
)
def test_a_wrong_reference_is_found(reference: str) -> None:
    assert missing_references(f"see `{reference}`") == [reference]


@pytest.mark.parametrize("link", sorted(set(LINK.findall(TEXT))))
def test_every_link_leads_to_a_document(link: str) -> None:
    assert (DOCUMENT.parent / link).is_file()


# -- rooms -------------------------------------------------------------------------------------------------------------


def picture() -> list[list[str]]:
    """Returns the rooms of each line of the picture, from above."""
    found = PICTURE.search(TEXT)
    assert found is not None
    lines = [line.strip() for line in found[1].splitlines()]
    assert lines[1::2] == ["↓"] * (len(lines) // 2)
    return [line.split(" | ") for line in lines[::2]]


def line_of_room() -> dict[str, int]:
    return {room: number for number, rooms in enumerate(picture()) for room in rooms}


def room_of(module: str) -> str:
    """Returns the room of a module such as `synthdub_tui.jobs.model`; empty for the package itself."""
    return module.split(".")[1] if "." in module else ""


def rooms_of_package() -> set[str]:
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    return (folders | {path.stem for path in PACKAGE.glob("*.py")}) - {"__init__"}


def imports_of(file: Path) -> Iterator[str]:
    """Yields the modules of the package that a file imports, also within functions and for types only."""
    own = ["synthdub_tui", *file.relative_to(PACKAGE).parent.parts]
    for node in ast.walk(tree_of(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if room_of(alias.name) and alias.name.startswith("synthdub_tui."))
        elif isinstance(node, ast.ImportFrom):
            base = (
                ".".join([*own[: len(own) - node.level + 1], *filter(None, [node.module])]) if node.level else node.module or ""
            )
            if base == "synthdub_tui":
                yield from (f"{base}.{alias.name}" for alias in node.names)
            elif base.startswith("synthdub_tui."):
                yield base


def upward_imports(line: dict[str, int]) -> set[tuple[str, str]]:
    """Returns the imports (file, module) of another room that is not below the file's own."""
    found = set()
    for file in PACKAGE.rglob("*.py"):
        path = file.relative_to(PACKAGE)
        own = path.parts[0].removesuffix(".py")
        for module in imports_of(file):
            room = room_of(module)
            if own != "__init__" and room in line and room != own and line[room] <= line[own]:
                found.add((path.as_posix(), module.removeprefix("synthdub_tui.").replace(".", "/") + ".py"))
    return found


def contract_layers() -> list[list[str]]:
    """Returns the rooms of each layer of the import contracts, from above. Layers of single modules are left out."""
    contracts = tomllib.loads((REPO_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers" and "commands" in str(contract)]
    names = [[name.strip("() ").removeprefix("synthdub_tui.") for name in re.split(r"[|:]", layer)] for layer in layers]
    return [rooms for layer in names if (rooms := [name for name in layer if "." not in name])]


def test_the_picture_shows_every_room_once() -> None:
    shown = [room for rooms_ in picture() for room in rooms_]
    assert sorted(shown) == sorted(rooms_of_package())


def test_every_room_of_the_picture_is_described() -> None:
    described = [cells[0].strip("`") for cells in rows(section("## 1."))]
    assert described == [room for rooms_ in picture() for room in rooms_]


def test_every_import_follows_the_arrows_of_the_picture_but_those_that_are_named() -> None:
    assert upward_imports(line_of_room()) == set(UPWARD_IMPORT.findall(section("## 1.")))


def test_an_import_against_the_arrows_is_found() -> None:
    line = line_of_room()
    line["jobs"], line["cli"] = line["cli"], line["jobs"]
    assert ("runner/worker.py", "jobs/model.py") in upward_imports(line)


def test_the_picture_has_the_order_of_the_import_contracts() -> None:
    line = line_of_room()
    layers = [[line[room] for room in layer] for layer in contract_layers()]
    assert len(layers) > 5
    assert [(above, below) for above, below in itertools.pairwise(layers) if max(above) > min(below)] == []


# -- tables ------------------------------------------------------------------------------------------------------------


def test_every_hand_off_names_a_place_and_its_kind() -> None:
    hand_offs = rows(section("## 2."))
    assert len(hand_offs) > 25
    kinds = re.compile(r"\**(call|message|callback)\b")
    assert [
        cells for cells in hand_offs if len(cells) != 4 or not CODE_SPAN.search(cells[1]) or not kinds.match(cells[3])
    ] == []


def test_every_rule_names_what_holds_it() -> None:
    rules = rows(section("## 4."))
    assert len(rules) > 20
    assert [cells for cells in rules if not re.search(r"`(?:tests/\S+\.py|pyproject\.toml)", cells[1])] == []


def test_every_fact_about_the_api_says_what_it_is_based_on() -> None:
    facts = rows(section("## 5."))
    assert len(facts) > 15
    assert {cells[1] for cells in facts} == {"documented", "sandbox", "assumed"}


def test_every_behaviour_names_a_file_of_the_program() -> None:
    behaviours = rows(section("## 6."))
    assert len(behaviours) >= 27
    for behaviour, place in behaviours:
        references = [reference for span in CODE_SPAN.findall(place) if (reference := FILE_REFERENCE.fullmatch(span))]
        assert references, behaviour
        assert all((PACKAGE / reference[1]).is_file() for reference in references), behaviour
