"""Read and write rows of PostgreSQL as structs, with pagination."""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, structs
from psycopg2.extras import Json, register_default_jsonb
from psycopg2.sql import SQL, Composable, Identifier, Placeholder

from ..database import Cursor
from ..web import Problem, invalid, unavailable

Row = TypeVar("Row", bound=Struct)

# Amounts keep their two decimals.
register_default_jsonb(globally=True, loads=partial(json.loads, parse_float=Decimal))

ROW_ID = re.compile("[a-z0-9_]+")
NEWEST_FIRST = SQL(" ORDER BY created_at DESC, id DESC LIMIT {}").format(Placeholder())


MOMENT = re.compile(
    r"\d{4}-\d{2}-\d{2}(?P<time>T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2}))?",
    re.ASCII | re.IGNORECASE,
)


class Moment(datetime):
    """A time in a filter: RFC 3339, or a date, which stands for its start in UTC."""

    @classmethod
    def parse(cls, text: str) -> Moment:
        """Raise ValueError if the text is neither."""
        if not (match := MOMENT.fullmatch(text)):
            raise ValueError(text)
        moment = cls.fromisoformat(text.upper())
        return moment if match["time"] else moment.replace(tzinfo=UTC)


MomentFilter = Annotated[
    Moment,
    Meta(
        extra_json_schema={
            "anyOf": [
                {"type": "string", "format": "date-time"},
                {"type": "string", "format": "date"},
            ],
            "description": "RFC 3339, or a date, which stands for its start in UTC",
        }
    ),
]


class Page(Struct, Generic[Row]):
    """One page of a list, newest first. ``total`` counts all matches of the filters."""

    data: list[Row]
    has_more: bool
    next_cursor: str | None
    total: int


PageCursor = Annotated[str, Meta(description="`next_cursor` of the previous page")]


class PageQuery(Struct, forbid_unknown_fields=True, kw_only=True):
    """Pagination of a list; resources add their filters."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    cursor: PageCursor | UnsetType = UNSET


class Table(Generic[Row]):
    """A table whose columns are the fields of ``model``, in the same order.

    ``conditions`` are those of filters which don't compare their column for equality.
    """

    def __init__(
        self, name: str, noun: str, model: type[Row], conditions: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.noun = noun
        self.model = model
        self._conditions = conditions or {}
        self._table = Identifier(name)
        self._columns = _comma_separated(map(Identifier, model.__struct_fields__))
        self._select = SQL("SELECT {} FROM {}").format(self._columns, self._table)

    def get(self, cursor: Cursor, row_id: str, *, lock: bool = False) -> Row:
        """Return a row, optionally locked until the transaction ends. Raises a 404 problem."""
        if row := self._find(cursor, row_id, lock=lock):
            return row
        raise Problem(404, f"No such {self.noun}: {row_id!r}.")

    def get_referenced(self, cursor: Cursor, field: str, row_id: str) -> Row:
        """Return the row that a field of a request refers to. Raises a 422 problem."""
        if row := self._find(cursor, row_id):
            return row
        raise invalid(field, f"no such {self.noun}: {row_id!r}")

    def insert(self, cursor: Cursor, **values: object) -> Row:
        """Insert a row; omitted columns take their defaults."""
        statement = SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING {}").format(
            self._table,
            _comma_separated(map(Identifier, values)),
            _comma_separated(Placeholder() for _ in values),
            self._columns,
        )
        return self._execute_returning(cursor, statement, [*map(_adapt, values.values())])

    def update(self, cursor: Cursor, row_id: str, **values: object) -> Row:
        """Update the given columns of an existing row. Metadata is merged; null removes a value."""
        if not values:
            return self.get(cursor, row_id)
        changes = _comma_separated(map(_assignment, values))
        statement = SQL("UPDATE {} SET {} WHERE id = %s RETURNING {}").format(
            self._table, changes, self._columns
        )
        return self._execute_returning(cursor, statement, [*map(_adapt, values.values()), row_id])

    def page(self, cursor: Cursor, query: PageQuery) -> Page[Row]:
        """Return a page of the rows that match the filters, newest first."""
        conditions, values = _filter_conditions(query, self._conditions)
        count = SQL("SELECT count(*) FROM {}").format(self._table)
        cursor.execute(count + _where_clause(conditions), values)
        (total,) = cursor.fetchone() or (0,)
        if query.cursor:
            conditions.append(SQL("(created_at, id) < (%s, %s)"))
            values.extend(_decode_cursor(query.cursor))
        cursor.execute(
            self._select + _where_clause(conditions) + NEWEST_FIRST, [*values, query.limit + 1]
        )
        return _to_page(self._fetch(cursor), query.limit, total)

    def _find(self, cursor: Cursor, row_id: str, *, lock: bool = False) -> Row | None:
        locking = SQL(" FOR UPDATE" if lock else "")
        cursor.execute(self._select + SQL(" WHERE id = %s") + locking, (row_id,))
        return next(iter(self._fetch(cursor)), None)

    def _execute_returning(
        self, cursor: Cursor, statement: Composable, values: list[object]
    ) -> Row:
        cursor.execute(statement, values)
        for row in self._fetch(cursor):
            return row
        raise Problem(404, f"The {self.noun} no longer exists.")

    def _fetch(self, cursor: Cursor) -> list[Row]:
        """Return the rows of a query. Raises a 503 problem if Python can't represent one.

        The constraints exclude such values, but the developer can drop the constraints.
        """
        try:
            return [self.model(*row) for row in cursor.fetchall()]
        except (ValueError, OverflowError) as error:
            detail = f"A row of {self.name} has a value that the API can't return: {error}."
            raise unavailable(f"{detail} Correct it in SQL, or reset the data.") from error


def provided_fields(changes: Struct) -> dict[str, Any]:
    """Return the fields that a PATCH request contained."""
    return {name: value for name, value in structs.asdict(changes).items() if value is not UNSET}


def _assignment(column: str) -> Composable:
    merge = "metadata = jsonb_strip_nulls(metadata || %s)"
    return SQL(merge) if column == "metadata" else SQL("{} = %s").format(Identifier(column))


def _adapt(value: object) -> object:
    """Return a value for PostgreSQL; objects and lists of objects are stored as JSON."""
    is_json = isinstance(value, dict) or (isinstance(value, list) and not _has_texts(value))
    return Json(value, dumps=_dumps) if is_json else value


def _has_texts(values: list[Any]) -> bool:
    return bool(values) and isinstance(values[0], str)


def _dumps(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _comma_separated(parts: Any) -> Composable:
    return SQL(", ").join(parts)


def _filter_conditions(
    query: PageQuery, special: Mapping[str, str]
) -> tuple[list[Composable], list[object]]:
    """Return conditions and values for the filters that a resource adds to PageQuery.

    ``created_after`` and ``due_before`` compare ``created_at`` and ``due_at``. All other
    fields must equal their columns, unless there is a ``special`` condition; email addresses
    are compared ignoring case, and metadata must have the given values.
    """
    filters = {
        name: value
        for name, value in structs.asdict(query).items()
        if value is not UNSET and name not in PageQuery.__struct_fields__
    }
    conditions = [SQL(special[name]) if name in special else _condition(name) for name in filters]
    return conditions, [*map(_adapt, filters.values())]


def _condition(name: str) -> Composable:
    column, _, relation = name.rpartition("_")
    if relation == "after":
        return SQL("{} > %s").format(Identifier(f"{column}_at"))
    if relation == "before":
        return SQL("{} < %s").format(Identifier(f"{column}_at"))
    if name == "metadata":
        return SQL("metadata @> %s")
    if name == "email":
        return SQL("lower(email) = lower(%s)")
    return SQL("{} = %s").format(Identifier(name))


def _where_clause(conditions: list[Composable]) -> Composable:
    return SQL(" WHERE ") + SQL(" AND ").join(conditions) if conditions else SQL("")


def _to_page(rows: list[Row], limit: int, total: int) -> Page[Row]:
    """Return a page; one extra row was fetched to find out whether there are more."""
    has_more = len(rows) > limit
    rows = rows[:limit]
    return Page(rows, has_more, _encode_cursor(rows[-1]) if has_more else None, total)


def _encode_cursor(row: Any) -> str:
    return urlsafe_b64encode(f"{row.created_at.isoformat()} {row.id}".encode()).decode().rstrip("=")


def _decode_cursor(cursor: str) -> tuple[datetime, str]:
    try:
        text = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        moment, _, row_id = text.partition(" ")
        if not ROW_ID.fullmatch(row_id):
            raise ValueError(row_id)
        return Moment.parse(moment), row_id
    except ValueError:
        raise invalid("cursor", "invalid cursor; use `next_cursor` of a previous page") from None
