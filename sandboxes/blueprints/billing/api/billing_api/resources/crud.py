"""The operations of every resource: list and get."""

from __future__ import annotations

from collections.abc import Callable
from types import new_class
from typing import Any

from ..web import Call, Operation
from .table import Page, PageQuery, Row, Table


def read_operations(
    table: Table[Row],
    query: type[PageQuery],
    page: Callable[[Call], Any] | None = None,
) -> list[Operation]:
    """Return the list and get operations of a table; ``page`` replaces the usual list."""

    def newest_first(call: Call) -> Page[Row]:
        """Newest first. `total` counts all matches of the filters."""
        return table.page(call.cursor, call.query)

    def get(call: Call) -> Row:
        """Return the current state."""
        return table.get(call.cursor, call.id)

    page = page or newest_first
    path, model = f"/v1/{table.name}", table.model
    article = "an" if table.noun[0] in "aeiou" else "a"
    name = table.name.replace("_", " ")
    one, several = table.noun.title().replace(" ", ""), name.title().replace(" ", "")
    # A class with a name, for the OpenAPI document.
    result = new_class(f"{one}Page", (Page[model],))  # type: ignore[valid-type]
    result.__doc__ = Page.__doc__
    return [
        Operation(f"list{several}", "GET", path, f"List {name}", page, result, query=query),
        Operation(f"get{one}", "GET", f"{path}/{{id}}", f"Get {article} {table.noun}", get, model),
    ]
