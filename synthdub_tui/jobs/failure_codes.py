"""Codes of failures that the rules of the domain name."""

from __future__ import annotations

from typing import Final

NO_AUDIO: Final = "no_audio"
"""Failure of a dub whose source has no sound. A retry agrees to dub it anyway."""

SUBMISSION_UNKNOWN: Final = "submission_unknown"
"""Failure of a dub whose paid request was sent, and whose answer was never read."""
