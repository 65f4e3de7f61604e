"""A job as TOML and back: what a person can read in `jobs/<id>.toml`."""

from __future__ import annotations

import sys
from typing import Any

import msgspec

from synthdub_tui.errors import ProblemError
from synthdub_tui.jobs.model import SCHEMA_VERSION, Job, Output
from synthdub_tui.store.interning import share_equal_values
from synthdub_tui.store.migrations import upgrade_job


class _Output(msgspec.Struct, frozen=True, omit_defaults=True):
    """An output as it is in a file, for a person to read."""

    path: str
    size: int
    mtime_ns: int
    captions: tuple[str, ...] = ()
    reviewed: bool = False
    seconds: float = 0.0
    captions_ns: tuple[int, ...] = ()


def encode_job(job: Job) -> bytes:
    """The job as TOML. Default values are left out, but never the schema."""
    content = {"schema": job.schema} | msgspec.to_builtins(job)
    for language, dub in job.dubs.items():
        if dub.output is not None:
            content["dubs"][language]["output"] = _encode_output(dub.output)
    return dump_toml(content)


def decode_job(text: str) -> Job:
    """Raises ValueError (which TOML errors and msgspec.ValidationError are) or `ProblemError` ("state_newer")."""
    content = parse_toml(text)
    schema = content.get("schema")
    if isinstance(schema, int) and schema > SCHEMA_VERSION:
        raise ProblemError("state_newer", f"schema {schema}")
    content = upgrade_job(content)
    if isinstance(dubs := content.get("dubs"), dict):
        content["dubs"] = {sys.intern(language): dub for language, dub in dubs.items()}
        for dub in dubs.values():
            if isinstance(dub, dict) and "output" in dub:
                dub["output"] = _read_output(dub["output"])
    job = msgspec.convert(content, Job)
    share_equal_values((job,))
    return job


def _encode_output(output: Output) -> dict[str, Any]:
    readable = _Output(
        output.path,
        output.size,
        output.mtime_ns,
        output.captions,
        output.reviewed,
        output.seconds,
        output.captions_ns,
    )
    content: dict[str, Any] = msgspec.to_builtins(readable)
    return content


def _read_output(content: object) -> Output:
    found = msgspec.convert(content, _Output)
    return Output.of(
        found.path,
        found.size,
        found.mtime_ns,
        found.captions,
        reviewed=found.reviewed,
        seconds=found.seconds,
        captions_ns=found.captions_ns,
    )


def parse_toml(text: str) -> dict[str, Any]:
    """Raises ValueError. The parser is in Rust: tomllib would take many seconds for 10,000 jobs of 20 languages."""
    import rtoml  # noqa: PLC0415 - an empty directory starts faster without

    return rtoml.loads(text)


def dump_toml(content: dict[str, Any]) -> bytes:
    import tomli_w  # noqa: PLC0415 - only writers need it

    return tomli_w.dumps(content).encode()
