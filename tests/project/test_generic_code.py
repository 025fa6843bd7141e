"""Generic code knows no product: nothing of billing or Stellar outside of their own places."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

from sandboxes.api import api

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("sandboxes", "sandboxportal", "static", "templates", "deploy/streams")
OWN_PLACES = re.compile(
    r"sandboxes/blueprints/billing/|sandboxes/migrations/|(^|/)stellar(/|\.py$)"
)
WORDS = re.compile(
    r"billing|stellar|friendbot|invoice|subscriber|subscription|payment|bearer", re.IGNORECASE
)
NAMES = re.compile(
    r"\bstellar\b|\bstellar_(public_key|secret)\b|\b(SANDBOX_)?STELLAR_[A-Z_]+\b|\bFRIENDBOT_URL\b"
    r"|\bbearer\b|\bBEARER\b"
)
"""Columns, settings, API properties, the package `stellar`, and the key `bearer` of blueprints."""
EXCEPTIONS = {
    "sandboxes/api/": r"\b(Http)?Bearer\b",  # the portal's own tokens
    "sandboxes/cli/": r"\bBearer\b",
    "sandboxes/authoring/template/": r"\bBearer\b",  # what authors choose from
    "deploy/streams/": r"\bBearer\b",
    "sandboxes/gateway/": r"\bBearer\b",  # the gateway's token
    "sandboxes/views/gateway.py": r"\bBearer\b",
    "sandboxes/metrics/health.py": r"\bBearer\b",
    "sandboxes/blueprints/auth.py": r"\bBearer\b",  # what blueprints choose from
    "sandboxes/doctor/registry.py": r'"friendbot"',  # the public id of the check
    "sandboxes/representations/": r"\bStellar\b",  # the schema of an API property
    "sandboxportal/settings.py": r'"billing"|"https://friendbot\.stellar\.org"|"payment"',
}


def generic_files() -> Iterator[Path]:
    for folder in FOLDERS:
        for file in sorted((ROOT / folder).rglob("*.*")):
            is_text = file.suffix in {".py", ".html", ".txt", ".js", ".css"}
            if is_text and not OWN_PLACES.search(str(file.relative_to(ROOT))):
                yield file


def words_of_products(file: Path) -> Iterator[str]:
    name = str(file.relative_to(ROOT))
    allowed = [pattern for place, pattern in EXCEPTIONS.items() if name.startswith(place)]
    for number, text in enumerate(file.read_text().splitlines(), 1):
        rest = NAMES.sub("", reduce(lambda line, one: re.sub(one, "", line), allowed, text))
        yield from (f"{name}:{number} {word}" for word in WORDS.findall(rest))


def test_generic_code_and_templates_have_no_word_of_a_product() -> None:
    files = list(generic_files())
    assert len(files) > 300
    assert [found for file in files for found in words_of_products(file)] == []


@pytest.mark.django_db
def test_descriptions_of_the_api_have_no_word_of_a_product() -> None:
    texts = list(descriptions(api.get_openapi_schema()))
    assert len(texts) > 100
    assert [text for text in texts if WORDS.search(text.replace("Authorization: Bearer", ""))] == []


def descriptions(node: Any) -> Iterator[str]:
    """Yield all texts for readers in an OpenAPI document."""
    if isinstance(node, list):
        for item in node:
            yield from descriptions(item)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key in ("description", "summary") and isinstance(value, str):
                yield value
            else:
                yield from descriptions(value)
