"""An untrusted OpenAPI document, with resolution of references and checked types."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count, takewhile
from typing import Any, TypeVar

from sandboxes.lib.untrusted_json import loads

Node = dict[str, Any]
Part = TypeVar("Part")
Scalar = str | int | float | bool

MAX_REFERENCES = 8
"""Limit of chained references, which ends cycles."""
MAX_REFERENCE_LENGTH = 500
MAX_STEPS = 300_000
"""Nodes visited in one document. References share nodes, so a small document can be read at great
length."""
MAX_CHARACTERS = 2_000_000
"""Characters taken from one document, for the same reason."""
MAX_TEXT_LENGTH = 1000
MAX_NAME_LENGTH = 200
MAX_EXAMPLE_VALUES = 300


class InvalidOpenAPIDocument(ValueError):
    """The text isn't an OpenAPI document that can be shown."""


class Document:
    """A parsed OpenAPI document.

    What is read from it is limited: after `MAX_STEPS` nodes every node is empty, and after
    `MAX_CHARACTERS` every text.
    """

    def __init__(self, text: bytes) -> None:
        try:
            root = loads(text)
        except ValueError:
            raise InvalidOpenAPIDocument(
                "The sandbox's OpenAPI document isn't valid JSON, or is too large."
            ) from None
        version = root.get("openapi") if isinstance(root, dict) else None
        if not isinstance(version, str) or not version.startswith("3."):
            raise InvalidOpenAPIDocument(
                "The sandbox's API isn't described by an OpenAPI 3 document."
            )
        self.root: Node = root
        self._steps_left = MAX_STEPS
        self._characters_left = MAX_CHARACTERS

    def follow(self, node: Any) -> Node:
        """Return the node, or the one it refers to within the document; empty if there is none."""
        for _attempt in range(MAX_REFERENCES):
            self._steps_left -= 1
            if self._steps_left < 0:
                return {}
            found = as_dict(node)
            reference = found.get("$ref")
            if not isinstance(reference, str):
                return found
            node = self._at(reference)
        return {}

    def _at(self, reference: str) -> Any:
        if not reference.startswith("#/") or len(reference) > MAX_REFERENCE_LENGTH:
            return {}
        current: Any = self.root
        for part in reference[2:].split("/"):
            self._steps_left -= 1
            current = as_dict(current).get(part.replace("~1", "/").replace("~0", "~"))
        return current

    def text(self, value: Any, max_length: int = MAX_TEXT_LENGTH) -> str:
        """Return the value if it is a string, cut to a length, otherwise an empty one."""
        text = value if isinstance(value, str) and self._characters_left > 0 else ""
        if len(text) > max_length:
            text = f"{text[: max_length - 1]}…"
        self._characters_left -= len(text)
        return text

    def scalar(self, value: Any) -> Scalar | None:
        """Return the value, cut to a length, unless it is an object, a list or null.

        Numbers count like texts: written, they may have hundreds of digits.
        """
        self._steps_left -= 1
        if isinstance(value, str):
            return self.text(value, MAX_NAME_LENGTH)
        if not isinstance(value, (bool, int, float)) or self._steps_left < 0:
            return None
        self._characters_left -= len(str(value))
        return value if self._characters_left > 0 else None

    def example(self, value: Any) -> Any:
        """Return a copy of the value with a bounded number of parts and bounded texts."""
        return self._copy(value, count(1))

    def _copy(self, value: Any, counter: Iterator[int]) -> Any:
        self._steps_left -= 1
        if isinstance(value, str):
            return self.text(value)
        if not isinstance(value, (dict, list)):
            return value
        if isinstance(value, list):
            return [self._copy(item, counter) for item in _take(value, counter)]
        return {
            self.text(name, MAX_NAME_LENGTH): self._copy(item, counter)
            for name, item in _take(value.items(), counter)
        }


def _take(items: Iterable[Part], counter: Iterator[int]) -> Iterator[Part]:
    """Yield items until `MAX_EXAMPLE_VALUES` were counted."""
    return takewhile(lambda _: next(counter) <= MAX_EXAMPLE_VALUES, items)


def as_dict(value: Any) -> Node:
    """Return the value if it is an object, otherwise an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """Return the value if it is a list, otherwise an empty one."""
    return value if isinstance(value, list) else []


def as_name(value: Any) -> str:
    """Return the value if it is a string of moderate length, otherwise an empty one."""
    return value if isinstance(value, str) and len(value) <= MAX_NAME_LENGTH else ""
