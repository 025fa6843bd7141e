"""Parse an OpenAPI document into operations."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, islice
from typing import Any

from sandboxes.explorer.openapi.document import (
    MAX_NAME_LENGTH,
    Document,
    InvalidOpenAPIDocument,
    Node,
    as_dict,
    as_list,
    as_name,
)
from sandboxes.explorer.openapi.examples import (
    MAX_PARTS,
    ExampleBuilder,
    alternatives,
    declared_examples,
    properties_of,
    type_of,
)
from sandboxes.explorer.openapi.operations import (
    Body,
    Description,
    Details,
    Field,
    Group,
    Operation,
    Parameter,
)

METHODS = ("get", "post", "put", "patch", "delete")
MAX_OPERATIONS = 300
MAX_PATHS = 1000
JSON = "application/json"
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
IGNORED_HEADERS = frozenset({"accept", "authorization", "content-type"})
"""Header parameters without meaning, since OpenAPI has other places for them."""
DECLARATIONS = ("example", "examples", "const", "default", "enum")


def read(source: bytes, ignored_headers: Iterable[str] = ()) -> Description:
    """Parse an OpenAPI document. Raises InvalidOpenAPIDocument.

    `ignored_headers` are the names of header parameters that the caller fills itself.
    """
    ignored = IGNORED_HEADERS.union(name.lower() for name in ignored_headers)
    document = Document(source)
    info = as_dict(document.root.get("info"))
    groups = {
        name: Group(name, document.text(as_dict(tag).get("description")))
        for tag in as_list(document.root.get("tags"))[:MAX_OPERATIONS]
        if (name := as_name(as_dict(tag).get("name")))
    }
    for name, operation in islice(_operations(document, ignored), MAX_OPERATIONS):
        groups.setdefault(name, Group(name)).operations.append(operation)
    found = [group for group in groups.values() if group.operations]
    if not found:
        raise InvalidOpenAPIDocument("The sandbox's OpenAPI document has no operations.")
    title = document.text(info.get("title"), MAX_NAME_LENGTH) or "API"
    return Description(title, document.text(info.get("description")), found, document.root)


def _operations(
    document: Document, ignored_headers: frozenset[str]
) -> Iterator[tuple[str, Operation]]:
    """Yield each operation with the name of its group."""
    for path, item in islice(as_dict(document.root.get("paths")).items(), MAX_PATHS):
        if not path.startswith("/") or not as_name(path):
            continue
        shared = document.follow(item)
        for method in METHODS:
            node = shared.get(method)
            if isinstance(node, dict):
                details = partial(_details, document, path, node, shared, ignored_headers)
                yield _group_of(node, path), _operation(document, method, path, node, details)


def _group_of(node: Node, path: str) -> str:
    tags = [name for tag in as_list(node.get("tags"))[:MAX_PARTS] if (name := as_name(tag))]
    words = [word for word in path.split("/") if word and "{" not in word]
    return tags[0] if tags else (words[-1] if words else "API")


def _operation(
    document: Document, method: str, path: str, node: Node, details: Callable[[], Details]
) -> Operation:
    name = f"{method.upper()} {path}"
    return Operation(
        id=as_name(node.get("operationId")) or name,
        method=method.upper(),
        path=path,
        summary=document.text(node.get("summary"), MAX_NAME_LENGTH) or name,
        read_details=details,
        read_columns=partial(_columns, document, node),
    )


def _details(
    document: Document, path: str, node: Node, shared: Node, ignored_headers: frozenset[str]
) -> Details:
    return Details(
        description=document.text(node.get("description")),
        parameters=[
            one
            for one in _parameters(document, path, node, shared)
            if one.location != "header" or one.name.lower() not in ignored_headers
        ],
        body=_body(document, node),
    )


def _parameters(document: Document, path: str, node: Node, shared: Node) -> Iterator[Parameter]:
    nodes = chain(as_list(shared.get("parameters")), as_list(node.get("parameters")))
    found = {}
    for one in map(document.follow, islice(nodes, MAX_PARTS)):
        location, name = one.get("in"), as_name(one.get("name"))
        if name and (
            # The form has no fields for objects.
            (location == "query" and one.get("style") != "deepObject")
            or (location == "path" and f"{{{name}}}" in path)
            or (location == "header" and HEADER_NAME.fullmatch(name))
        ):
            # Parameters of the operation come later and override those of the path.
            found[location, name] = _parameter(document, one, location, name)
    yield from found.values()


def _parameter(document: Document, node: Node, location: str, name: str) -> Parameter:
    schema = alternatives(document, node.get("schema"))[0]
    examples = (
        chain(declared_examples(node), declared_examples(schema))
        if location == "path"
        else declared_examples({**_declarations(schema), **_declarations(node)})
    )
    return Parameter(
        name=name,
        location=location,
        required=location == "path" or node.get("required") is True,
        description=document.text(node.get("description"))
        or document.text(schema.get("description")),
        kind=type_of(schema) or "string",
        example=next(_query_values(document, examples), ""),
        choices=_choices(document, schema),
    )


def _declarations(node: Node) -> Node:
    """Return the parts of a node that declare examples."""
    return {key: node[key] for key in DECLARATIONS if key in node}


def _choices(document: Document, schema: Node) -> list[str]:
    if type_of(schema) == "boolean":
        return ["true", "false"]
    return list(_query_values(document, as_list(schema.get("enum"))[:MAX_PARTS]))


def _query_values(document: Document, values: Iterable[Any]) -> Iterator[str]:
    """Yield the values that can be written in a URL, as they are written there."""
    for value in map(document.scalar, values):
        if value is not None:
            yield str(value).lower() if isinstance(value, bool) else str(value)


def _body(document: Document, node: Node) -> Body | None:
    body = document.follow(node.get("requestBody"))
    media = as_dict(as_dict(body.get("content")).get(JSON))
    if not media:
        return None
    schema = media.get("schema")
    declared: Node = {key: media[key] for key in ("example", "examples") if key in media}
    example = next(declared_examples(declared), None)
    return Body(
        required=body.get("required") is True,
        example=ExampleBuilder(document).of(schema)
        if example is None
        else document.example(example),
        fields=list(_fields(document, schema)),
    )


def _fields(document: Document, schema: Any) -> Iterator[Field]:
    properties, required = properties_of(document, alternatives(document, schema)[0])
    for name, one in islice(properties.items(), MAX_PARTS):
        node = alternatives(document, one)[0]
        about = document.text(document.follow(one).get("description"))
        yield Field(
            name=document.text(name, MAX_NAME_LENGTH),
            kind=type_of(node),
            required=name in required,
            description=about or document.text(node.get("description")),
            choices=_choices(document, node),
        )


def _columns(document: Document, node: Node) -> list[str]:
    """Return the columns if the response is a list, with `data` as an array of objects."""
    response = document.follow(as_dict(node.get("responses")).get("200"))
    media = as_dict(as_dict(response.get("content")).get(JSON))
    properties, _names = properties_of(document, document.follow(media.get("schema")))
    rows = document.follow(as_dict(document.follow(properties.get("data"))).get("items"))
    return [name for name in islice(properties_of(document, rows)[0], MAX_PARTS) if as_name(name)]
