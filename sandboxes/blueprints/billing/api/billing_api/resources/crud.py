"""The operations of every resource: list and get."""

from __future__ import annotations

from typing import Any

from billing_api.web import Call, Operation

from .table import Page, PageQuery, Row, Table


def read_operations(table: Table[Row], query: type[PageQuery]) -> list[Operation]:
    """Return the list and get operations of a table."""

    def page(call: Call) -> Page[Row]:
        """Newest first. `total` counts all matches of the filters."""
        return table.page(call.cursor, call.query)

    def get(call: Call) -> Row:
        """Return the current state."""
        return table.get(call.cursor, call.id)

    path, model = f"/v1/{table.name}", table.model
    result: Any = Page[model]  # type: ignore[valid-type]
    article = "an" if table.noun[0] in "aeiou" else "a"
    return [
        Operation("GET", path, f"List {table.name}", page, result, query=query),
        Operation("GET", f"{path}/{{id}}", f"Get {article} {table.noun}", get, model),
    ]
