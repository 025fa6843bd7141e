"""Names that users give to their sandboxes, webhooks and tokens, and the characters of their texts.

All scripts and emoji are accepted, with the invisible joiners that they need. Characters that break
lines, that can't be stored, or that make text look different from what it is are refused.
"""

from __future__ import annotations

import unicodedata

MAX_LENGTH = 60
"""Characters, that is Unicode code points in normalization form C."""

UNSTORABLE = {"Cs"}
"""Categories of characters that no database stores: lone surrogates."""
LINE_BREAKING = {"Cc", "Zl", "Zp"}
"""Categories of control characters and line ends."""
LAYOUT = {"\n", "\r", "\t"}
"""Control characters of a text that may have several lines."""
DIRECTION_OVERRIDES = {chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}
"""Characters that reorder the text after them; scripts that run from right to left need none."""
INVISIBLE_CATEGORIES = {"Cf", "Cn", "Me", "Mn", "Zs"}
INVISIBLE = {"\u115f", "\u1160", "\u2800", "\u3164", "\uffa0"}
"""Blank characters of other categories: Hangul fillers and the empty Braille pattern."""


class InvalidName(ValueError):
    """The name isn't acceptable. The message tells users what to change."""


def character_problem(text: str, *, may_have_lines: bool = False) -> str:
    """Return what users must change in the characters of a text; empty if they are acceptable."""
    layout = LAYOUT if may_have_lines else set[str]()
    categories = {unicodedata.category(character) for character in set(text) - layout}
    if categories & UNSTORABLE:
        return "Remove the incomplete characters (lone surrogates)."
    if categories & LINE_BREAKING:
        what = "control characters" if may_have_lines else "line breaks"
        return f"Remove {what} and other unprintable characters."
    if set(text) & DIRECTION_OVERRIDES:
        return "Remove the characters that change the direction of text."
    return ""


def clean_name(text: str) -> str:
    """Return the name in normalization form C, without white space around it; it may be empty.

    Raises InvalidName.
    """
    if problem := character_problem(text):
        raise InvalidName(problem)
    name = unicodedata.normalize("NFC", text).strip()
    if len(name) > MAX_LENGTH:
        raise InvalidName(
            f"Ensure this value has at most {MAX_LENGTH} characters (it has {len(name)})."
        )
    if name and not any(_is_visible(character) for character in name):
        raise InvalidName("Use at least one visible character.")
    return name


def _is_visible(character: str) -> bool:
    hidden = unicodedata.category(character) in INVISIBLE_CATEGORIES
    return not hidden and character not in INVISIBLE
