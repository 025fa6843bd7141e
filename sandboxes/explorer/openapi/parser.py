"""Parse an OpenAPI document into operations."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from sandboxes.explorer.openapi.document import (
    Document,
    InvalidOpenAPIDocument,
    Node,
    as_dict,
    as_list,
    as_text,
)
from sandboxes.explorer.openapi.examples import (
    ExampleBuilder,
    alternatives,
    declared_examples,
    properties_of,
    type_of,
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
MAX_OPERATIONS = 300
MAX_PARTS = 60
"""Limit of parameters, fields, columns or choices in one place."""
JSON = "application/json"


def read(source: bytes) -> Description:
    """Parse an OpenAPI document. Raises InvalidOpenAPIDocument."""
    document = Document(source)
    info = as_dict(document.root.get("info"))
    groups = {
        name: Group(name, as_text(as_dict(tag).get("description")))
        for tag in as_list(document.root.get("tags"))[:MAX_OPERATIONS]
        if (name := as_text(as_dict(tag).get("name")))
    }
    for name, operation in islice(_operations(document), MAX_OPERATIONS):
        groups.setdefault(name, Group(name)).operations.append(operation)
    found = [group for group in groups.values() if group.operations]
    if not found:
        raise InvalidOpenAPIDocument("The sandbox's OpenAPI document has no operations.")
    title = as_text(info.get("title")) or "API"
    return Description(title, as_text(info.get("description")), found, document.root)


def _operations(document: Document) -> Iterator[tuple[str, Operation]]:
    """Yield each operation with the name of its group."""
    for path, item in as_dict(document.root.get("paths")).items():
        shared = document.follow(item)
        for method in METHODS:
            node = shared.get(method)
            if isinstance(node, dict) and path.startswith("/"):
                yield _group_of(node, path), _operation(document, method, path, node, shared)


def _group_of(node: Node, path: str) -> str:
    tags = [tag for tag in as_list(node.get("tags")) if isinstance(tag, str)]
    words = [word for word in path.split("/") if word and "{" not in word]
    return tags[0] if tags else (words[-1] if words else "API")


def _operation(document: Document, method: str, path: str, node: Node, shared: Node) -> Operation:
    name = f"{method.upper()} {path}"
    return Operation(
        id=as_text(node.get("operationId")) or name,
        method=method.upper(),
        path=path,
        summary=as_text(node.get("summary")) or name,
        description=as_text(node.get("description")),
        parameters=list(_parameters(document, path, node, shared)),
        body=_body(document, node),
        columns=_columns(document, node),
    )


def _parameters(document: Document, path: str, node: Node, shared: Node) -> Iterator[Parameter]:
    nodes = [*as_list(shared.get("parameters")), *as_list(node.get("parameters"))]
    found = {}
    for one in map(document.follow, nodes[:MAX_PARTS]):
        location, name = as_text(one.get("in")), as_text(one.get("name"))
        if name and (location == "query" or (location == "path" and f"{{{name}}}" in path)):
            # Parameters of the operation come later and override those of the path.
            found[location, name] = _parameter(document, one, location, name)
    yield from found.values()


def _parameter(document: Document, node: Node, location: str, name: str) -> Parameter:
    schema = alternatives(document, node.get("schema"))[0]
    examples = (
        [*declared_examples(node), *declared_examples(schema)]
        if location == "path"
        else declared_examples({**schema, **node})
    )
    return Parameter(
        name=name,
        location=location,
        required=location == "path" or node.get("required") is True,
        description=as_text(node.get("description")) or as_text(schema.get("description")),
        kind=type_of(schema) or "string",
        example=query_value(examples[0]) if examples else "",
        choices=_choices(schema),
    )


def _choices(schema: Node) -> list[str]:
    if type_of(schema) == "boolean":
        return ["true", "false"]
    choices = as_list(schema.get("enum"))[:MAX_PARTS]
    return [query_value(value) for value in choices if value is not None]


def query_value(value: Any) -> str:
    """Return a value as it is written in a URL."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _body(document: Document, node: Node) -> Body | None:
    body = document.follow(node.get("requestBody"))
    media = as_dict(as_dict(body.get("content")).get(JSON))
    if not media:
        return None
    examples = declared_examples(
        {key: media[key] for key in ("example", "examples") if key in media}
    )
    schema = media.get("schema")
    return Body(
        required=body.get("required") is True,
        example=examples[0] if examples else ExampleBuilder(document).of(schema),
        fields=list(_fields(document, schema)),
    )


def _fields(document: Document, schema: Any) -> Iterator[Field]:
    properties, required = properties_of(document, alternatives(document, schema)[0])
    for name, one in islice(properties.items(), MAX_PARTS):
        node = alternatives(document, one)[0]
        about = as_text(document.follow(one).get("description")) or as_text(node.get("description"))
        yield Field(name, type_of(node), name in required, about, _choices(node))


def _columns(document: Document, node: Node) -> list[str]:
    """Return the columns if the response is a list, with `data` as an array of objects."""
    response = document.follow(as_dict(node.get("responses")).get("200"))
    media = as_dict(as_dict(response.get("content")).get(JSON))
    properties, _names = properties_of(document, document.follow(media.get("schema")))
    rows = document.follow(as_dict(document.follow(properties.get("data"))).get("items"))
    return list(properties_of(document, rows)[0])[:MAX_PARTS]
