"""Checks the files, folders and languages that the user named, before any work starts."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from synthdub_tui import languages as codes
from synthdub_tui.errors import Trouble
from synthdub_tui.jobs.batch_options import Batch
from synthdub_tui.sources.scan import Skipped, refused


def checked(batch: Batch) -> Batch:
    """Returns the batch options with codes in the service's spelling. Raises Trouble("no_targets" | "unknown_language")."""
    if not batch.targets:
        raise Trouble("no_targets")
    targets = tuple(dict.fromkeys(_checked_code(code, codes.OUTPUT) for code in batch.targets))
    source = batch.source_language
    if source != codes.AUTO:
        source = _checked_code(source, codes.INPUT)
    return msgspec.structs.replace(batch, targets=targets, source_language=source)


def wrong_paths(paths: Iterable[str]) -> list[Trouble]:
    """Returns a Trouble for each named path that is wrong, without looking into folders."""
    return [trouble_with(item) for item in refused(list(paths))]


def trouble_with(item: Skipped) -> Trouble:
    """Returns the Trouble that says why a path was skipped."""
    return Trouble(item.code, ": ".join(filter(None, (item.path, item.detail))))


def _checked_code(code: str, among: tuple[str, ...]) -> str:
    found = codes.canonical(code, among)
    if found is None:
        near = codes.nearest(code, among)
        raise Trouble("unknown_language", f"{code!r}" + (f"; did you mean {', '.join(near)}?" if near else ""))
    return found
