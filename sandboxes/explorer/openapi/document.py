"""The document as it is, with its references followed and its surprises kept out."""

from __future__ import annotations

from typing import Any

from sandboxes.lib.untrusted_json import loads

Node = dict[str, Any]

MAX_REFERENCES = 8
"""References that lead to further references; a circle ends here."""


class InvalidOpenAPIDocument(ValueError):
    """This is no OpenAPI document that could be shown."""


class Document:
    """The parsed JSON of an API's description."""

    def __init__(self, text: bytes) -> None:
        try:
            root = loads(text)
        except ValueError:
            raise InvalidOpenAPIDocument("The description of its API is no JSON.") from None
        if not isinstance(root, dict) or not str(root.get("openapi", "")).startswith("3."):
            raise InvalidOpenAPIDocument("The description of its API is no OpenAPI 3 document.")
        self.root: Node = root

    def follow(self, node: Any) -> Node:
        """The node itself, or what it refers to within the document; empty if that is nothing."""
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
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """The value if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def as_text(value: Any) -> str:
    """The value if it is text, else none."""
    return value if isinstance(value, str) else ""
