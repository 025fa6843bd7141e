"""Values to begin with: what a schema gives as an example, or the plainest that fits it."""

from __future__ import annotations

from typing import Any

from sandboxes.explorer.openapi.document import (
    Document,
    Node,
    as_dict,
    as_list,
    as_text,
)

MAX_DEPTH = 5
MAX_VALUES = 300
MAX_ALTERNATIVES = 8
FORMATS = {
    "date-time": "2030-01-31T12:00:00Z",
    "date": "2030-01-31",
    "email": "ada@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def declared_examples(schema: Node) -> list[Any]:
    """Examples that the schema itself tells, best first."""
    found = [schema[key] for key in ("example", "const", "default") if key in schema]
    examples = schema.get("examples")
    named = [as_dict(one).get("value") for one in as_dict(examples).values()]
    told = [*found[:1], *as_list(examples), *named, *found[1:], *as_list(schema.get("enum"))]
    return [value for value in told if value is not None]


def alternatives(document: Document, schema: Any) -> list[Node]:
    """The schemas that a value may fit, without the one for null."""
    node = document.follow(schema)
    options = as_list(node.get("anyOf")) or as_list(node.get("oneOf"))
    found = [document.follow(option) for option in options[:MAX_ALTERNATIVES]]
    return [one for one in found if one.get("type") != "null"] or [node]


class ExampleBuilder:
    """A value of a schema. It is small whatever the schema: what refers to itself could explode."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._left = MAX_VALUES

    def of(self, schema: Any, name: str = "", depth: int = 0) -> Any:
        """A value; `name` is what it is called where it occurs."""
        self._left -= 1
        node = self._document.follow(schema)
        first = alternatives(self._document, node)[0]
        if told := declared_examples(node) or declared_examples(first):
            return told[0]
        return self._plain(first, name, depth) if depth < MAX_DEPTH and self._left > 0 else None

    def _plain(self, node: Node, name: str, depth: int) -> Any:
        """The plainest value, where the schema tells no example."""
        match type_of(node):
            case "object":
                return self._object(node, depth)
            case "array":
                return [self.of(node.get("items"), name, depth + 1)]
            case "integer" | "number":
                least = node.get("minimum", 1)
                return least if isinstance(least, (int, float)) else 1
            case "boolean":
                return True
        return FORMATS.get(as_text(node.get("format")), f"Example {name.replace('_', ' ')}".strip())

    def _object(self, node: Node, depth: int) -> dict[str, Any]:
        """What is required; where nothing is, the first property, so that something is sent."""
        properties, required = properties_of(self._document, node)
        chosen = [name for name in properties if name in required] or list(properties)[:1]
        return {
            name: self.of(properties[name], name, depth + 1) for name in chosen if self._left > 0
        }


def properties_of(document: Document, node: Node) -> tuple[Node, set[str]]:
    """All properties of an object, those of `allOf` too, and the names that are required."""
    properties: Node = {}
    required: set[str] = set()
    for part in (node, *map(document.follow, as_list(node.get("allOf"))[:MAX_ALTERNATIVES])):
        properties |= as_dict(part.get("properties"))
        required |= {name for name in as_list(part.get("required")) if isinstance(name, str)}
    return properties, required


def type_of(schema: Node) -> str:
    """The schema's type in one word; of several, the first that is not null."""
    kinds = schema.get("type")
    names = [kind for kind in (as_list(kinds) or [kinds]) if isinstance(kind, str)]
    if found := [name for name in names if name != "null"]:
        return found[0]
    return "object" if "properties" in schema or "allOf" in schema else ""
