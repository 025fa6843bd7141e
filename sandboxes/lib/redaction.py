"""Redact secrets in text."""

from __future__ import annotations


def redact(text: str, secrets: dict[str, str]) -> str:
    """Return the text with every secret value replaced by dots."""
    for value in sorted(filter(None, secrets.values()), key=len, reverse=True):
        text = text.replace(value, "•••")
    return text
