"""Readable forms of the names that blueprints give to endpoints and credentials."""

from __future__ import annotations

import re

from django.utils.text import capfirst

ACRONYMS = {"api", "db", "http", "https", "id", "jwt", "rest", "sql", "ui", "uri", "url"}
LABELS = {"docs": "API docs"}


def phrase(name: str) -> str:
    """Return a name as words within a sentence: `api_key` as “API key”."""
    words = [word for word in re.split(r"[_-]+", name) if word]
    return " ".join(word.upper() if word.lower() in ACRONYMS else word for word in words)


def label(name: str) -> str:
    """Return a name as a label: `database_url` as “Database URL”."""
    return LABELS.get(name) or capfirst(phrase(name))
