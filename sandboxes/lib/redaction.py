"""Redact secrets in text."""

from __future__ import annotations


def redact(text: str, secrets: dict[str, str]) -> str:
    """The text with every secret value blotted out."""
    for value in sorted(filter(None, secrets.values()), key=len, reverse=True):
        text = text.replace(value, "•••")
    return text
