"""Texts from outside in messages."""

from __future__ import annotations

UNPRINTABLE = "\N{REPLACEMENT CHARACTER}"


def printable(text: str) -> str:
    """Return a text without control characters, which could change what a terminal shows.

    Lone surrogates, which stand for bytes of file names, can't be written at all.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in "\n\t" else UNPRINTABLE for one in text)
