"""Decides whether the service's words mean that moderation refused the content.

An account that sends such content repeatedly can be banned. So doubt counts as moderation: a false alarm costs a decision, a
missed refusal may cost the account.
"""

from __future__ import annotations

import re
from typing import Final

MODERATION: Final = "moderation"
"""Code of a refusal by moderation, whatever code the service uses."""

_MODERATION_PATTERN: Final = re.compile(
    r"moderat(?:ion|ed|or)|inappropriate|flagg|polic(?:y|ies)|violat|prohibit|disallow|guideline|acceptable use"
    r"|terms of (?:service|use)|nsfw|unsafe|safety|harmful|offensive|explicit|hateful|abus(?:e|ive)|sensitive content"
    r"|content(?!.?(?:type|length)).{0,40}(?:reject|refus|block|forbidden|restrict|not (?:allowed|permitted))"
    r"|(?:reject|refus|block|forbidden|restrict)\w*.{0,20}content(?!.?(?:type|length))"
)
"""Words about content and the rules for it."""

_REJECTED: Final = re.compile(r"reject")
_OTHER_REASON: Final = re.compile(
    r"credit|balance|payment|billing|subscription|quota|\bplan\b|limit|language|locale|media.?type|content.?type|format|codec"
    r"|duration|length|\bsize|too (?:long|large|big|many)|\bkey\b|token|asset.?url"
)
"""Other reasons to reject a request, if the words name them."""


def is_moderation_refusal(code: str, message: str = "") -> bool:
    """Whether a code and a message, either of which may be empty, mean that moderation refused the content."""
    said = f"{code} {message}".replace("_", " ").lower()
    if _MODERATION_PATTERN.search(said):
        return True
    return _REJECTED.search(said) is not None and _OTHER_REASON.search(said) is None
