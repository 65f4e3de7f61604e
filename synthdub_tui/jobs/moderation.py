"""Whether the service speaks of content that its rules do not allow, in whatever words.

Who sends such content again and again is banned. So doubt counts as moderation: a refusal that is wrongly taken for one costs
the user a decision, one that is missed may cost the account.
"""

from __future__ import annotations

import re
from typing import Final

MODERATION: Final = "moderation"
"""The code of such a refusal, whatever the service calls it."""

_RULES: Final = re.compile(
    r"moderat(?:ion|ed|or)|inappropriate|flagg|polic(?:y|ies)|violat|prohibit|disallow|guideline|acceptable use"
    r"|terms of (?:service|use)|nsfw|unsafe|safety|harmful|offensive|explicit|hateful|abus(?:e|ive)|sensitive content"
    r"|content(?!.?(?:type|length)).{0,40}(?:reject|refus|block|forbidden|restrict|not (?:allowed|permitted))"
    r"|(?:reject|refus|block|forbidden|restrict)\w*.{0,20}content(?!.?(?:type|length))"
)
"""Words that are used of content and the rules for it."""

_REJECTED: Final = re.compile(r"reject")
_OTHER_REASON: Final = re.compile(
    r"credit|balance|payment|billing|subscription|quota|\bplan\b|limit|language|locale|media.?type|content.?type|format|codec"
    r"|duration|length|\bsize|too (?:long|large|big|many)|\bkey\b|token|asset.?url"
)
"""What else a request may be rejected for, where the words name it."""


def is_moderation(code: str, words: str = "") -> bool:
    """Whether a code and the words beside it, either of which may be empty, say that the content was refused."""
    said = f"{code} {words}".replace("_", " ").lower()
    if _RULES.search(said):
        return True
    return _REJECTED.search(said) is not None and _OTHER_REASON.search(said) is None
