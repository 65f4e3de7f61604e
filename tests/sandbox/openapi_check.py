"""Holds answers against the vendor's OpenAPI document: its schemas, and no field that they do not name."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from jsonschema import Draft202012Validator, FormatChecker

OPENAPI_FILE = Path(__file__).parent.parent / "data" / "openapi.json"


def check_response(answer: httpx.Response, method: str, path: str) -> None:
    """Raises unless the reference has this status for the call, and the body is as it says."""
    document = _load_document()
    described = document["paths"][path][method.lower()]["responses"][str(answer.status_code)]
    if "content" not in described:
        assert answer.content == b""
        return
    assert answer.headers["content-type"] == "application/json"
    schema = described["content"]["application/json"]["schema"]
    whole = {**schema, "components": document["components"]}
    Draft202012Validator(whole, format_checker=FormatChecker()).validate(answer.json())


@cache
def _load_document() -> dict[str, Any]:
    document: dict[str, Any] = _strict_schema(json.loads(OPENAPI_FILE.read_text(encoding="utf-8")))
    return document


def _strict_schema(node: Any) -> Any:
    """OpenAPI's `nullable` as JSON Schema has it, and objects closed to fields that are not named."""
    if isinstance(node, list):
        return [_strict_schema(item) for item in node]
    if not isinstance(node, dict):
        return node
    changed = {key: _strict_schema(value) for key, value in node.items()}
    if changed.get("type") == "object" and isinstance(changed.get("properties"), dict):
        changed.setdefault("additionalProperties", False)
    if changed.pop("nullable", False) is True:
        return {"anyOf": [changed, {"type": "null"}]}
    return changed
