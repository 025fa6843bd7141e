"""A blueprint as a JSON document, which a version stores.

Documents outlive releases of the portal: unknown fields are ignored, and a field that is missing
gets its default. So each new field of a blueprint needs a default.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from pydantic import TypeAdapter, ValidationError

from sandboxes.blueprints.blueprint import Blueprint
from sandboxes.models.blueprint_version import DIGEST_LENGTH

_adapter = TypeAdapter(Blueprint)

OF_A_VERSION = {"version", "image_ids"}
"""Fields that follow from the version, and aren't stored in its document."""
OF_A_HOST = {"path", "recipes", "preparations"}
"""Fields about where the blueprint was prepared; they make no other version."""


class UnreadableDocument(ValueError):
    """A stored document lacks a value that this release needs, or has one of a wrong type."""


def dump(blueprint: Blueprint) -> str:
    """Return the blueprint as JSON."""
    return _adapter.dump_json(blueprint, exclude=OF_A_VERSION).decode()


def load(document: str) -> Blueprint:
    """Return the blueprint of a document. Raises UnreadableDocument."""
    try:
        return _adapter.validate_json(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UnreadableDocument(f"{where}: {first['msg']}") from error


def digest(blueprint: Blueprint, images: Mapping[str, str]) -> str:
    """Return the content hash of a version: of the blueprint and the ids of its images."""
    content = _adapter.dump_json(blueprint, exclude=OF_A_VERSION | OF_A_HOST)
    pinned = "\n".join(f"{name} {images[name]}" for name in sorted(images))
    return hashlib.sha256(content + b"\n" + pinned.encode()).hexdigest()[:DIGEST_LENGTH]
