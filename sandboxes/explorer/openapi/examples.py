"""Example values of schemas: declared ones, or the simplest that are valid."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

from sandboxes.explorer.openapi.document import Document, Node, as_dict, as_list, as_name

MAX_DEPTH = 5
MAX_VALUES = 300
MAX_ALTERNATIVES = 8
MAX_PARTS = 60
"""Limit of parameters, fields, columns, choices or declared examples in one place."""
MAX_TYPE_LENGTH = 20
MAX_PROPERTIES = 200
"""Limit of an object's properties that are considered."""
FORMATS = {
    "date-time": "2030-01-31T12:00:00Z",
    "date": "2030-01-31",
    "email": "ada@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def declared_examples(schema: Node) -> Iterator[Any]:
    """Yield the examples that the schema declares, best first."""
    found = [schema[key] for key in ("example", "const", "default") if key in schema]
    listed = schema.get("examples")
    named = (as_dict(one).get("value") for one in as_dict(listed).values())
    examples = chain(found[:1], as_list(listed), named, found[1:], as_list(schema.get("enum")))
    return (value for value in islice(examples, MAX_PARTS) if value is not None)


def alternatives(document: Document, schema: Any) -> list[Node]:
    """Return the schemas that a value may match, except the one for null."""
    node = document.follow(schema)
    options = as_list(node.get("anyOf")) or as_list(node.get("oneOf"))
    found = [document.follow(option) for option in options[:MAX_ALTERNATIVES]]
    return [one for one in found if one.get("type") != "null"] or [node]


class ExampleBuilder:
    """Builds a value of a schema, of limited size since schemas may refer to themselves."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._left = MAX_VALUES

    def of(self, schema: Any, name: str = "", depth: int = 0) -> Any:
        """Return a value; `name` is the name of its property."""
        self._left -= 1
        node = self._document.follow(schema)
        first = alternatives(self._document, node)[0]
        for example in chain(declared_examples(node), declared_examples(first)):
            return self._document.example(example)
        return self._plain(first, name, depth) if depth < MAX_DEPTH and self._left > 0 else None

    def _plain(self, node: Node, name: str, depth: int) -> Any:
        """Return the simplest value of a schema without examples."""
        match type_of(node):
            case "object":
                return self._object(node, depth)
            case "array":
                return [self.of(node.get("items"), name, depth + 1)]
            case "integer" | "number":
                minimum = node.get("minimum", 1)
                return minimum if isinstance(minimum, (int, float)) else 1
            case "boolean":
                return True
        usual = FORMATS.get(as_name(node.get("format")))
        return usual or f"Example {self._document.text(name).replace('_', ' ')}".strip()

    def _object(self, node: Node, depth: int) -> dict[str, Any]:
        """Return the required properties, or the first one if none is required."""
        properties, required = properties_of(self._document, node)
        chosen = [name for name in properties if name in required] or list(properties)[:1]
        return {
            self._document.text(name): self.of(properties[name], name, depth + 1)
            for name in chosen
            if self._left > 0
        }


def properties_of(document: Document, node: Node) -> tuple[Node, set[str]]:
    """Return the properties of an object, including `allOf`, and the required names."""
    properties: Node = {}
    required: set[str] = set()
    for part in (node, *map(document.follow, as_list(node.get("allOf"))[:MAX_ALTERNATIVES])):
        properties |= islice(as_dict(part.get("properties")).items(), MAX_PROPERTIES)
        names = as_list(part.get("required"))[:MAX_PROPERTIES]
        required |= {name for name in names if isinstance(name, str)}
    return properties, required


def type_of(schema: Node) -> str:
    """Return the schema's type; the first that isn't null if there are several."""
    kinds = schema.get("type")
    names = (as_list(kinds) or [kinds])[:MAX_ALTERNATIVES]
    for kind in names:
        if isinstance(kind, str) and kind != "null" and len(kind) <= MAX_TYPE_LENGTH:
            return kind
    return "object" if "properties" in schema or "allOf" in schema else ""
