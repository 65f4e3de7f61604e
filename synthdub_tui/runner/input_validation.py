"""Checks the files, folders and languages that the user named, before any work starts."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from synthdub_tui import languages as codes
from synthdub_tui.errors import ProblemError
from synthdub_tui.jobs.batch_options import BatchOptions
from synthdub_tui.sources.scan import SkippedPath, find_rejected_paths


def validate_batch(batch: BatchOptions) -> BatchOptions:
    """Returns the batch options with codes in the service's spelling. Raises ProblemError("no_targets" |
    "unknown_language")."""
    if not batch.targets:
        raise ProblemError("no_targets")
    targets = tuple(dict.fromkeys(_checked_code(code, codes.OUTPUT_CODES) for code in batch.targets))
    source = batch.source_language
    if source != codes.AUTO_DETECT:
        source = _checked_code(source, codes.INPUT_CODES)
    return msgspec.structs.replace(batch, targets=targets, source_language=source)


def wrong_paths(paths: Iterable[str]) -> list[ProblemError]:
    """Returns a ProblemError for each named path that is wrong, without looking into folders."""
    return [problem_of_skipped(item) for item in find_rejected_paths(list(paths))]


def problem_of_skipped(item: SkippedPath) -> ProblemError:
    """Returns the ProblemError that says why a path was skipped."""
    return ProblemError(item.code, ": ".join(filter(None, (item.path, item.detail))))


def _checked_code(code: str, among: tuple[str, ...]) -> str:
    found = codes.canonical_code(code, among)
    if found is None:
        near = codes.nearest_codes(code, among)
        raise ProblemError("unknown_language", f"{code!r}" + (f"; did you mean {', '.join(near)}?" if near else ""))
    return found
