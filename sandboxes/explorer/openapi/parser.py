"""From a document to operations."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from sandboxes.explorer.openapi.document import (
    Document,
    Node,
    Unreadable,
    listed,
    mapping,
    text,
)
from sandboxes.explorer.openapi.examples import (
    Example,
    alternatives,
    given,
    kind_of,
    properties_of,
)
from sandboxes.explorer.openapi.operations import (
    Body,
    Description,
    Field,
    Group,
    Operation,
    Parameter,
)

METHODS = ("get", "post", "put", "patch", "delete")
MOST_OPERATIONS = 300
MOST_PARTS = 60
"""Parameters, fields, columns or choices in one place: more than that nobody looks through."""
JSON = "application/json"


def read(source: bytes) -> Description:
    """The description in an OpenAPI document. Raises Unreadable."""
    document = Document(source)
    info = mapping(document.root.get("info"))
    groups = {
        name: Group(name, text(mapping(tag).get("description")))
        for tag in listed(document.root.get("tags"))[:MOST_OPERATIONS]
        if (name := text(mapping(tag).get("name")))
    }
    for name, operation in islice(_operations(document), MOST_OPERATIONS):
        groups.setdefault(name, Group(name)).operations.append(operation)
    found = [group for group in groups.values() if group.operations]
    if not found:
        raise Unreadable("The description of its API has no operation in it.")
    title = text(info.get("title")) or "API"
    return Description(title, text(info.get("description")), found, document.root)


def _operations(document: Document) -> Iterator[tuple[str, Operation]]:
    """Each operation, with the name of its group."""
    for path, item in mapping(document.root.get("paths")).items():
        shared = document.follow(item)
        for method in METHODS:
            node = shared.get(method)
            if isinstance(node, dict) and path.startswith("/"):
                yield _group_of(node, path), _operation(document, method, path, node, shared)


def _group_of(node: Node, path: str) -> str:
    tags = [tag for tag in listed(node.get("tags")) if isinstance(tag, str)]
    words = [word for word in path.split("/") if word and "{" not in word]
    return tags[0] if tags else (words[-1] if words else "API")


def _operation(document: Document, method: str, path: str, node: Node, shared: Node) -> Operation:
    name = f"{method.upper()} {path}"
    return Operation(
        id=text(node.get("operationId")) or name,
        method=method.upper(),
        path=path,
        summary=text(node.get("summary")) or name,
        description=text(node.get("description")),
        parameters=list(_parameters(document, path, node, shared)),
        body=_body(document, node),
        columns=_columns(document, node),
    )


def _parameters(document: Document, path: str, node: Node, shared: Node) -> Iterator[Parameter]:
    told = [*listed(shared.get("parameters")), *listed(node.get("parameters"))]
    found = {}
    for one in map(document.follow, told[:MOST_PARTS]):
        place, name = text(one.get("in")), text(one.get("name"))
        if name and (place == "query" or (place == "path" and f"{{{name}}}" in path)):
            # What an operation says comes later, and goes over what its path says.
            found[place, name] = _parameter(document, one, place, name)
    yield from found.values()


def _parameter(document: Document, node: Node, place: str, name: str) -> Parameter:
    schema = alternatives(document, node.get("schema"))[0]
    examples = [*given(node), *given(schema)] if place == "path" else given({**schema, **node})
    return Parameter(
        name=name,
        place=place,
        required=place == "path" or node.get("required") is True,
        description=text(node.get("description")) or text(schema.get("description")),
        kind=kind_of(schema) or "string",
        example=in_words(examples[0]) if examples else "",
        choices=_choices(schema),
    )


def _choices(schema: Node) -> list[str]:
    if kind_of(schema) == "boolean":
        return ["true", "false"]
    choices = listed(schema.get("enum"))[:MOST_PARTS]
    return [in_words(value) for value in choices if value is not None]


def in_words(value: Any) -> str:
    """A value as it is written in a URL."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _body(document: Document, node: Node) -> Body | None:
    told = document.follow(node.get("requestBody"))
    media = mapping(mapping(told.get("content")).get(JSON))
    if not media:
        return None
    examples = given({key: media[key] for key in ("example", "examples") if key in media})
    schema = media.get("schema")
    return Body(
        required=told.get("required") is True,
        example=examples[0] if examples else Example(document).of(schema),
        fields=list(_fields(document, schema)),
    )


def _fields(document: Document, schema: Any) -> Iterator[Field]:
    properties, required = properties_of(document, alternatives(document, schema)[0])
    for name, one in islice(properties.items(), MOST_PARTS):
        node = alternatives(document, one)[0]
        about = text(document.follow(one).get("description")) or text(node.get("description"))
        yield Field(name, kind_of(node), name in required, about, _choices(node))


def _columns(document: Document, node: Node) -> list[str]:
    """What the rows of a list hold, where the answer is one: `data` is an array of objects."""
    answer = document.follow(mapping(node.get("responses")).get("200"))
    media = mapping(mapping(answer.get("content")).get(JSON))
    properties, _names = properties_of(document, document.follow(media.get("schema")))
    rows = document.follow(mapping(document.follow(properties.get("data"))).get("items"))
    return list(properties_of(document, rows)[0])[:MOST_PARTS]
