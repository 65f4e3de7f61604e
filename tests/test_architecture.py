"""Rules of the package that import contracts cannot express, checked on the syntax tree."""

from __future__ import annotations

import ast
import builtins
from pathlib import Path

import synthdub_tui

PACKAGE = Path(synthdub_tui.__file__).parent
BUILTIN_ERRORS = {
    name for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, BaseException)
}


def exception_classes(sources: list[str]) -> dict[str, set[str]]:
    """Each exception class by name, with the names of all its bases, direct or not."""
    bases: dict[str, set[str]] = {}
    for source in sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ClassDef):
                bases.setdefault(node.name, set()).update(ast.unparse(base).rpartition(".")[2] for base in node.bases)

    def ancestors(name: str) -> set[str]:
        return bases.get(name, set()).union(*(ancestors(base) for base in bases.get(name, set()) if base != name))

    return {name: found for name in bases if (found := ancestors(name)) & BUILTIN_ERRORS}


def wrong_exception_classes(sources: list[str]) -> list[str]:
    return sorted(
        name
        for name, bases in exception_classes(sources).items()
        if name != "SynthdubError" and not ("SynthdubError" in bases and name.endswith("Error"))
    )


def test_every_exception_class_derives_from_synthdub_error_and_ends_in_error() -> None:
    sources = [path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))]
    assert "ProblemError" in exception_classes(sources)
    assert wrong_exception_classes(sources) == []


def test_an_exception_class_outside_the_hierarchy_is_found() -> None:
    root = "class SynthdubError(Exception): ..."
    assert wrong_exception_classes([root, "class GoodError(SynthdubError, ValueError): ..."]) == []
    assert wrong_exception_classes([root, "class StrayError(OSError): ..."]) == ["StrayError"]
    assert wrong_exception_classes([root, "class Stray(SynthdubError): ..."]) == ["Stray"]
