"""Reads the state of an older synthdub: copies it once, unchanged, and converts it to the present schema.

A job is written in the present schema when it next changes. Nothing must be rewritten at once, and a kill leaves nothing half
done.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any, Final

from synthdub_tui import files
from synthdub_tui.jobs.model import SCHEMA_VERSION

OLDEST_SCHEMA: Final = 1


def upgrade_job(content: dict[str, Any]) -> dict[str, Any]:
    """A job's file in the present schema. Raises ValueError for a schema that never existed."""
    schema = content.get("schema", SCHEMA_VERSION)
    if not isinstance(schema, int) or schema < OLDEST_SCHEMA:
        raise ValueError(f"there is no schema {schema!r}")
    for step in _MIGRATIONS[schema - OLDEST_SCHEMA :]:
        step(content)
    content["schema"] = SCHEMA_VERSION
    return content


def back_up_state(folder: str, schema: int) -> None:
    """Copy the state files to `backup-schema-N`, durably, unless that exists. Raises OSError."""
    import shutil  # noqa: PLC0415 - seldom needed

    kept = os.path.join(folder, f"backup-schema-{schema}")
    if os.path.isdir(kept):
        return
    making = f"{kept}.part"
    with contextlib.suppress(FileNotFoundError):  # of a copy that a crash interrupted
        shutil.rmtree(making)
    for part in ("", "jobs"):
        source, target = os.path.join(folder, part), os.path.join(making, part)
        os.mkdir(target, 0o700)
        with os.scandir(source) as entries:
            names = [entry.name for entry in entries if entry.is_file(follow_symlinks=False) and entry.name.endswith(".toml")]
        for name in names:
            with open(os.path.join(source, name), "rb") as file:
                files.write_new(os.path.join(target, name), file.read(), 0o600)
        files.sync_folder(target)
    os.rename(making, kept)
    files.sync_folder(folder)


def _add_caption_times(content: dict[str, Any]) -> None:
    """1 → 2: captions are ours by their modification times; before, they were by their names."""
    for dub in _only_tables(content.get("dubs")).values():
        for output in _only_tables({"": dub.get("output")}).values():
            captions = output.get("captions")
            if isinstance(captions, list):
                output["captions_ns"] = [time for path in captions for time in _modification_times(path)]


def _only_tables(found: object) -> dict[str, dict[str, Any]]:
    return {key: value for key, value in found.items() if isinstance(value, dict)} if isinstance(found, dict) else {}


def _modification_times(path: object) -> list[int]:
    """The file's modification time, if there is one."""
    try:
        return [os.lstat(path).st_mtime_ns] if isinstance(path, str) else []
    except OSError:
        return []


def _keep_unchanged(_: dict[str, Any]) -> None:
    """2 → 3: digests, holds and agreements were added. If they are missing, they are not known. Only the number changes,
    since a synthdub of schema 2 would lose them."""


def _extract_refusals(content: dict[str, Any]) -> None:
    """3 → 4: a refusal by moderation is a fact about the content; before, it was a failure of the dub, which a retry erased.

    If no language of the video was ever accepted, the video counts as refused as a whole.
    """
    source, dubs = content.get("source"), content.get("dubs")
    if not isinstance(source, dict) or not isinstance(dubs, dict):
        return
    accepted = any(dub.get("project") for dub in _only_tables(dubs).values())
    content["refused"] = [
        {
            "language": language if accepted and failure.get("scope") != "project" else "",
            "at": failure.get("at"),
            "size": source.get("size"),
            "digest": source.get("digest", ""),
            "words": failure.get("detail", ""),
        }
        for language, dub in _only_tables(dubs).items()
        for failure in _only_tables({"": dub.get("failure")}).values()
        if _is_refusal(failure) and not dub.get("stale")
    ]


def _is_refusal(failure: dict[str, Any]) -> bool:
    """Whether a failure is a refusal by moderation. Codes and words about the local disk are not the service's."""
    from synthdub_tui.jobs.moderation import is_moderation_refusal  # noqa: PLC0415 - seldom needed

    of_service = failure.get("scope") in ("language", "project", "submission")
    return of_service and is_moderation_refusal(str(failure.get("code")), str(failure.get("detail", "")))


_MIGRATIONS: Final[tuple[Callable[[dict[str, Any]], None], ...]] = (_add_caption_times, _keep_unchanged, _extract_refusals)
"""Steps from each schema to the next, the oldest first."""
