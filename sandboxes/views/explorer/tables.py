"""A sandbox's data as tables, read through the list operations of its API."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import MAXYEAR, MINYEAR, UTC, datetime
from functools import cached_property
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

from django.utils.safestring import SafeString

from sandboxes import explorer
from sandboxes.explorer.openapi import Description, Operation
from sandboxes.lib.exceptions import ServiceError, Unavailable
from sandboxes.lib.untrusted_json import dumps_pretty, loads
from sandboxes.models import Sandbox
from sandboxes.views.explorer.response import highlight_json

PAGE_SIZE = 10
MAX_CELL_LENGTH = 60
MAX_KEY_LENGTH = 200
MAX_CURSOR_LENGTH = 1000
MAX_ROW_LENGTH = 20_000
"""Characters of an item as JSON."""
NUMBER = re.compile(r"-?\d+(\.\d+)?")
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


@dataclass(frozen=True)
class Cell:
    """A value; `timestamp` is set if it is one, to show it in local time."""

    value: Any

    @cached_property
    def timestamp(self) -> datetime | None:
        if not isinstance(self.value, str) or not TIMESTAMP.fullmatch(self.value):
            return None
        try:
            at = datetime.fromisoformat(self.value).astimezone(UTC)
        except (ValueError, OverflowError):
            return None
        # Browsers convert the time to their own zone, which must not lead to another era.
        return at if MINYEAR < at.year < MAXYEAR else None

    @property
    def is_number(self) -> bool:
        value = self.value
        written = isinstance(value, str) and NUMBER.fullmatch(value)
        return bool(written) or (isinstance(value, (int, float)) and not isinstance(value, bool))

    @property
    def text(self) -> str:
        text = self.value if isinstance(self.value, str) else json.dumps(self.value)
        return text if len(text) <= MAX_CELL_LENGTH else f"{text[: MAX_CELL_LENGTH - 1]}…"


@dataclass(frozen=True)
class Row:
    """An item: its cells in the order of the columns, and the whole item as JSON."""

    key: str
    cells: list[Cell]
    json: str
    request_query: str
    """The explorer's query string to read the item; empty if the API can't."""

    @property
    def highlighted(self) -> SafeString:
        return highlight_json(self.json)


@dataclass(frozen=True)
class Table:
    """A page of a list. `problem` says why it couldn't be read."""

    lists: list[Operation]
    chosen: Operation
    rows: list[Row] = field(default_factory=list)
    total: int | None = None
    cursor: str = ""
    next_cursor: str = ""
    problem: str = ""

    @property
    def current_query(self) -> str:
        """The query string of this page."""
        return _query(table=self.chosen.id, cursor=self.cursor)

    @property
    def first_query(self) -> str:
        return _query(table=self.chosen.id)

    @property
    def next_query(self) -> str:
        """The query string of the next page; empty if this is the last one."""
        return self.next_cursor and _query(table=self.chosen.id, cursor=self.next_cursor)


def _query(**values: str) -> str:
    return urlencode({name: value for name, value in values.items() if value})


def read_table(
    sandbox: Sandbox,
    description: Description,
    operation: Operation,
    selection: Mapping[str, str] = MappingProxyType({}),
) -> Table | None:
    """Read a page of the selected list, by default of the one related to the operation.

    Return None if the API has no lists.
    """
    lists = list(description.lists)
    named = (one for one in lists if one.id == selection.get("table"))
    chosen, cursor = next(named, description.related_list(operation)), selection.get("cursor", "")
    if chosen is None:
        return None
    try:
        page = _page(sandbox, chosen, cursor)
    except ServiceError as error:
        return Table(lists, chosen, problem=str(error))
    return _table(description, lists, chosen, cursor, page)


def _page(sandbox: Sandbox, listing: Operation, cursor: str) -> dict[str, Any]:
    required = {one.key: one.example for one in listing.parameters if one.required}
    asked = required | {"query.limit": str(PAGE_SIZE), "query.cursor": cursor}
    request = explorer.ApiRequest(
        "GET", listing.target(asked), headers=listing.headers(asked), automatic=True
    )
    response = explorer.send(sandbox, request)
    if not response.succeeded:
        raise Unavailable(f"The sandbox returned {response.status} for this list.")
    try:
        page = loads(response.body)
    except ValueError:
        page = None
    if not isinstance(page, dict) or not isinstance(page.get("data"), list):
        raise Unavailable("The sandbox did not return a list.")
    return page


def _table(
    description: Description,
    lists: list[Operation],
    chosen: Operation,
    cursor: str,
    page: dict[str, Any],
) -> Table:
    detail = description.detail_operation(chosen)
    items = [item for item in page["data"] if isinstance(item, dict)]
    total, following = page.get("total"), page.get("next_cursor")
    return Table(
        lists,
        chosen,
        [_row(chosen, detail, item) for item in items[:PAGE_SIZE]],
        total if isinstance(total, int) and not isinstance(total, bool) else None,
        cursor,
        following if isinstance(following, str) and len(following) <= MAX_CURSOR_LENGTH else "",
    )


def _row(listing: Operation, detail: Operation | None, item: dict[str, Any]) -> Row:
    cells = [Cell(item.get(column)) for column in listing.columns]
    key = _key(item.get("id"))
    request_query = ""
    if detail and key:
        parameter = next(
            (one.key for one in detail.parameters if one.location == "path"), "path.id"
        )
        request_query = _query(operation=detail.id, **{parameter: key})
    return Row(key or cells[0].text, cells, dumps_pretty(item, MAX_ROW_LENGTH), request_query)


def _key(value: Any) -> str:
    """Return an item's id as text; empty if it is none that fits into a URL."""
    is_id = isinstance(value, (str, int)) and not isinstance(value, bool)
    return text if is_id and len(text := str(value)) <= MAX_KEY_LENGTH else ""
