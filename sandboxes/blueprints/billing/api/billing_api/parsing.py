"""From bytes to structs: what a request holds must fit what its operation takes."""

from __future__ import annotations

import re
from typing import Any, get_args, get_type_hints
from urllib.parse import parse_qsl

import msgspec

from .web import Operation, Problem, invalid

# msgspec says where, either as a path at the end or, for a name that is
# missing or unknown, in the sentence itself.
FIELD_PATH = re.compile(r" - at `\$\.?(?P<field>[^`]*)`$")
FIELD_NAME = re.compile(r"(?P<what>missing required|unknown) field `(?P<field>[^`]*)`")
FIELD_MESSAGES = {"missing required": "this is required", "unknown": "there is no such field"}
TYPE = re.compile(r"`([a-z]+)(?: \| null)?`")
TYPE_NAMES = {
    "str": "a string",
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "object": "an object",
    "array": "an array",
}
TIMESTAMP = "a time with its zone, such as 2026-01-31T09:30:00Z"
PATTERN_MESSAGES = {
    "amount": 'a decimal string of more than nothing, such as "49.00"',
    "country": "two capital letters, such as DE",
    "email": "an e-mail address, such as ada@example.com",
    "failure_reason": "lower-case letters, digits and _, such as card_declined",
    "stellar_address": "a Stellar account's address: G and 55 more characters",
}


def parse_body(operation: Operation, body: bytes) -> Any:
    """The body as the operation's struct; a 400 if it is no JSON, a 422 if it doesn't fit."""
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
        raise Problem(400, f"The body is no valid JSON: {error}.") from None


def parse_query(operation: Operation, query: str) -> Any:
    """The query as the operation's struct; a 422 names what doesn't fit."""
    pairs = parse_qsl(query, keep_blank_values=True)
    values = dict(pairs)
    if operation.query is None:
        for name in values:
            raise invalid(name, "there is no such parameter here")
        return None
    if len(values) < len(pairs):
        raise Problem(422, "Every parameter can be given once only.")
    for name, value in pairs:
        if "\0" in value:
            raise invalid(name, "it holds a NUL character")
    try:
        return msgspec.convert(values, operation.query, strict=False)
    except msgspec.ValidationError as error:
        raise _to_problem(error, operation.query, "query") from None


def _to_problem(error: msgspec.ValidationError, model: Any, source: str) -> Problem:
    """A 422 of what msgspec found; it stops at the first thing."""
    text = str(error)
    if match := FIELD_NAME.search(text):
        return invalid(match["field"], FIELD_MESSAGES[match["what"]])
    field = path["field"] if (path := FIELD_PATH.search(text)) else ""
    return invalid(field or source, _expectation(FIELD_PATH.sub("", text), model, field))


def _expectation(text: str, model: Any, field: str) -> str:
    """What would be right, in place of what msgspec expected."""
    if text.startswith("Invalid enum value"):
        return f"must be one of {', '.join(_literal_values(get_type_hints(model)[field]))}"
    if "matching regex" in text:
        return f"must be {PATTERN_MESSAGES.get(field, 'text that is not blank and holds no NUL')}"
    if "datetime" in text or "RFC3339" in text:
        return f"must be {TIMESTAMP}"
    text = TYPE.sub(lambda match: TYPE_NAMES.get(match[1], match[1]), text)
    return re.sub(r"^Expected", "must be", text)


def _literal_values(hint: Any) -> list[str]:
    """The strings of a Literal, however deep in a union it stands."""
    return [
        choice
        for part in get_args(hint)
        for choice in ([part] if isinstance(part, str) else _literal_values(part))
    ]
