"""Parse and validate the body and query of a request."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from typing import Any, get_args, get_type_hints
from urllib.parse import parse_qsl

import msgspec
from msgspec import UnsetType

from .resources.table import Moment
from .web import Operation, Problem, invalid

# msgspec names the field in a path at the end of the message or, for a missing or unknown
# field, in the message itself.
FIELD_PATH = re.compile(r" - at (?:`key` in )?`\$\.?(?P<field>[^`\[]*)[^`]*`\Z")
FIELD_NAME = re.compile(
    r"Object (?P<error>missing required|contains unknown) field `(?P<field>.*)`", re.DOTALL
)
FIELD_MESSAGES = {"missing required": "required", "contains unknown": "unknown field"}
TYPE = re.compile(r"`([a-z]+)(?: \| null)?`")
TYPE_NAMES = {
    "str": "a string",
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "object": "an object",
    "array": "an array",
}
TIMESTAMP = "a time with a time zone, such as 2026-01-31T09:30:00Z"
MOMENT = f"{TIMESTAMP}, or a date, such as 2026-01-31; in a URL, write + as %2B"
MAP_PARAMETER = re.compile(r"(?P<name>[a-z_]+)\[(?P<key>.+)\]", re.DOTALL)
INTEGER_TYPES = (int, int | UnsetType)
INTEGER = re.compile(r"-?[0-9]+")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
LINE = "text on one line, without NUL or other control characters"
PATTERN_MESSAGES = {
    "company": LINE,
    "name": f"{LINE}, and not blank",
    "amount": 'a positive decimal string, such as "49.00"',
    "country": "two capital letters, such as DE",
    "email": "an email address, such as ada@example.com",
    "failure_reason": "lower-case letters, digits and _, such as card_declined",
    "advance_by": "an ISO 8601 duration, such as P1M, P3D or PT1H",
    "after": "the id of an event, such as evt_000000001",
    "event_id": "the id of an event, such as evt_000000001",
    "event_types": "*, invoice.* or a type such as invoice.paid",
    "path": "a path of the API, such as /v1/invoices/{id}/pay, or *",
    "metadata": "an object with names and values that are texts without control characters",
    "secret": "whsec_ followed by 24 to 64 bytes in base64",
    "url": "a URL that begins with http:// or https://",
    "stellar_address": "a Stellar account address: G followed by 55 characters",
}


def parse_body(operation: Operation, body: bytes) -> Any:
    """Parse a body. Raises a 400 problem for invalid JSON and a 422 for invalid fields."""
    if operation.body is None:
        if body.strip() not in (b"", b"{}"):
            raise Problem(422, f"{operation.method} {operation.path} takes no body.")
        return None
    if not body.strip() and not operation.body_required:
        body = b"{}"
    try:
        return msgspec.json.decode(body, type=operation.body)
    except msgspec.ValidationError as error:
        raise _to_problem(error, operation.body, "body") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem(400, f"The body is not valid JSON: {error}.") from None


def parse_query(operation: Operation, query: str) -> Any:
    """Parse a query string. Raises a 422 problem that names the invalid parameter."""
    pairs = parse_qsl(query, keep_blank_values=True)
    values = dict(pairs)
    if operation.query is None:
        for name in values:
            raise invalid(name, "unknown parameter")
        return None
    if len(values) < len(pairs):
        [(name, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise invalid(name, "can be given only once")
    for name, value in pairs:
        if CONTROL.search(value):
            raise invalid(name, "must not contain NUL or other control characters")
        if name in _integers(operation.query) and not INTEGER.fullmatch(value):
            raise invalid(name, "must be an integer")
    try:
        return msgspec.convert(_with_maps(values), operation.query, strict=False, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise _to_problem(error, operation.query, "query") from None


def _with_maps(values: dict[str, str]) -> dict[str, Any]:
    """Return parameters such as `metadata[order]` as the key of a map."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        match = MAP_PARAMETER.fullmatch(name)
        if match and match["name"] not in values:
            found.setdefault(match["name"], {})[match["key"]] = value
        else:
            found[name] = value
    return found


@cache
def _integers(model: type) -> frozenset[str]:
    """Return the parameters that are integers; msgspec also reads `1e1` and `1.0` as one."""
    hints = get_type_hints(model)
    return frozenset(name for name, hint in hints.items() if hint in INTEGER_TYPES)


def _decode(wanted: type, value: str) -> Moment:
    assert wanted is Moment
    try:
        return Moment.parse(value)
    except ValueError:
        raise ValueError(f"must be {MOMENT}") from None


def _to_problem(error: msgspec.ValidationError, model: Any, source: str) -> Problem:
    """Return a 422 problem for the first error that msgspec found."""
    text = str(error)
    if match := FIELD_NAME.match(text):
        return invalid(match["field"], FIELD_MESSAGES[match["error"]])
    field = path["field"] if (path := FIELD_PATH.search(text)) else ""
    return invalid(field or source, _expectation(FIELD_PATH.sub("", text), model, field))


def _expectation(text: str, model: Any, field: str) -> str:
    """Return what the field must be, in words for API clients."""
    if text.startswith("Invalid enum value"):
        return f"must be one of {', '.join(_literal_values(get_type_hints(model)[field]))}"
    if "matching regex" in text:
        return f"must be {_pattern_message(field)}"
    if "datetime" in text or "RFC3339" in text:
        return f"must be {TIMESTAMP}"
    text = TYPE.sub(lambda match: TYPE_NAMES.get(match[1], match[1]), text)
    return re.sub(r"^Expected", "must be", text)


def _pattern_message(field: str) -> str:
    if field in PATTERN_MESSAGES:
        return PATTERN_MESSAGES[field]
    if field.endswith("_id"):
        return "lower-case letters, digits and _, such as sub_001"
    return "text without NUL or other control characters"


def _literal_values(hint: Any) -> list[str]:
    """Return the values of all literals in a type hint, as text."""
    return [
        choice
        for part in get_args(hint)
        for choice in ([str(part)] if isinstance(part, str | int) else _literal_values(part))
    ]
