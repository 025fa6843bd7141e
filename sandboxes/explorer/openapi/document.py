"""An untrusted OpenAPI document, with resolution of references and checked types."""

from __future__ import annotations

from typing import Any

from sandboxes.lib.untrusted_json import loads

Node = dict[str, Any]

MAX_REFERENCES = 8
"""Limit of chained references, which ends cycles."""


class InvalidOpenAPIDocument(ValueError):
    """The text isn't an OpenAPI document that can be shown."""


class Document:
    """A parsed OpenAPI document."""

    def __init__(self, text: bytes) -> None:
        try:
            root = loads(text)
        except ValueError:
            raise InvalidOpenAPIDocument(
                "The sandbox's OpenAPI document isn't valid JSON."
            ) from None
        if not isinstance(root, dict) or not str(root.get("openapi", "")).startswith("3."):
            raise InvalidOpenAPIDocument(
                "The sandbox's API isn't described by an OpenAPI 3 document."
            )
        self.root: Node = root

    def follow(self, node: Any) -> Node:
        """Return the node, or the one it refers to within the document; empty if there is none."""
        for _attempt in range(MAX_REFERENCES):
            found = as_dict(node)
            reference = found.get("$ref")
            if not isinstance(reference, str):
                return found
            node = self._at(reference)
        return {}

    def _at(self, reference: str) -> Any:
        current: Any = self.root if reference.startswith("#/") else {}
        for part in reference[2:].split("/"):
            current = as_dict(current).get(part.replace("~1", "/").replace("~0", "~"))
        return current


def as_dict(value: Any) -> Node:
    """Return the value if it is an object, otherwise an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """Return the value if it is a list, otherwise an empty one."""
    return value if isinstance(value, list) else []


def as_text(value: Any) -> str:
    """Return the value if it is a string, otherwise an empty one."""
    return value if isinstance(value, str) else ""
