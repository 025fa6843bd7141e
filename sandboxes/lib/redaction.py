"""Redact secrets in text."""

from __future__ import annotations


def redact(text: str, secrets: dict[str, str]) -> str:
    """Return the text with every secret value replaced by dots.

    NUL characters, which a service may write but a database can't store, are replaced, too.
    """
    for value in sorted(filter(None, secrets.values()), key=len, reverse=True):
        text = text.replace(value, "•••")
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")
