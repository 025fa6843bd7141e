"""The data of a sandbox as tables, read through the lists of its own API."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
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
from sandboxes.views.explorer_response import coloured

ROWS = 10
LONGEST_CELL = 60
LONGEST_ROW = 20_000
"""Characters of one thing as JSON."""
NUMBER = re.compile(r"-?\d+(\.\d+)?")
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


@dataclass(frozen=True)
class Cell:
    """One value; `moment` where it is one, to be shown in the reader's zone."""

    value: Any

    @cached_property
    def moment(self) -> datetime | None:
        if not isinstance(self.value, str) or not MOMENT.fullmatch(self.value):
            return None
        try:
            return datetime.fromisoformat(self.value)
        except ValueError:
            return None

    @property
    def is_number(self) -> bool:
        value = self.value
        written = isinstance(value, str) and NUMBER.fullmatch(value)
        return bool(written) or (isinstance(value, (int, float)) and not isinstance(value, bool))

    @property
    def text(self) -> str:
        text = self.value if isinstance(self.value, str) else json.dumps(self.value)
        return text if len(text) <= LONGEST_CELL else f"{text[: LONGEST_CELL - 1]}…"


@dataclass(frozen=True)
class Row:
    """One thing: its cells in the order of the columns, and all of it as JSON."""

    key: str
    cells: list[Cell]
    json: str
    try_it: str
    """The query of the explorer that reads it, if the API can."""

    @property
    def coloured(self) -> SafeString:
        return coloured(self.json)


@dataclass(frozen=True)
class Table:
    """A part of one list. `problem` says why it could not be read."""

    lists: list[Operation]
    chosen: Operation
    rows: list[Row] = field(default_factory=list)
    total: int | None = None
    cursor: str = ""
    next_cursor: str = ""
    problem: str = ""

    @property
    def here(self) -> str:
        """The query that leads to this part again."""
        return _query(table=self.chosen.id, cursor=self.cursor)

    @property
    def first(self) -> str:
        return _query(table=self.chosen.id)

    @property
    def following(self) -> str:
        """The query of the next part; empty if this is the last."""
        return self.next_cursor and _query(table=self.chosen.id, cursor=self.next_cursor)


def _query(**values: str) -> str:
    return urlencode({name: value for name, value in values.items() if value})


def read_table(
    sandbox: Sandbox,
    description: Description,
    beside: Operation,
    wanted: Mapping[str, str] = MappingProxyType({}),
) -> Table | None:
    """The list that `table` names, from `cursor` on; else the one that an operation is about.

    None where the API has no lists.
    """
    lists = list(description.lists)
    named = (one for one in lists if one.id == wanted.get("table"))
    chosen, cursor = next(named, description.beside(beside)), wanted.get("cursor", "")
    if chosen is None:
        return None
    try:
        page = _page(sandbox, chosen, cursor)
    except ServiceError as refused:
        return Table(lists, chosen, problem=str(refused))
    return _table(description, lists, chosen, cursor, page)


def _page(sandbox: Sandbox, listing: Operation, cursor: str) -> dict[str, Any]:
    asked = {"query.limit": str(ROWS), "query.cursor": cursor}
    answer = explorer.send(sandbox, explorer.Ask("GET", listing.target(asked)))
    if not answer.succeeded:
        raise Unavailable(f"The sandbox returned {answer.status} for this list.")
    try:
        page = loads(answer.body)
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
    reader = description.reader_of(chosen)
    things = [thing for thing in page["data"] if isinstance(thing, dict)]
    total, following = page.get("total"), page.get("next_cursor")
    return Table(
        lists,
        chosen,
        [_row(chosen, reader, thing) for thing in things[:ROWS]],
        total if isinstance(total, int) else None,
        cursor,
        following if isinstance(following, str) else "",
    )


def _row(listing: Operation, reader: Operation | None, thing: dict[str, Any]) -> Row:
    cells = [Cell(thing.get(column)) for column in listing.columns]
    key = str(thing.get("id", ""))
    try_it = ""
    if reader and key:
        place = next((one.key for one in reader.parameters if one.place == "path"), "path.id")
        try_it = _query(operation=reader.id, **{place: key})
    return Row(key or cells[0].text, cells, dumps_pretty(thing)[:LONGEST_ROW], try_it)
