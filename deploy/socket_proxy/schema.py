"""Validators that take a parsed value and return the value to forward.

A value that no validator understood is never forwarded. The engine's JSON decoder matches keys
regardless of case and lets the last of several equal keys win; here, a key has one spelling and
occurs once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

Validator = Callable[[Any], Any]
"""Returns the value to forward, or None to leave it out. Raises RequestDenied."""

MAX_TEXT_LENGTH = 128 * 1024
"""The most that Linux takes as one argument or variable of a program."""
MAX_ITEMS = 1000


class RequestDenied(Exception):
    """The request isn't allowed; `keys` lead to the value that is the reason."""

    def __init__(self, reason: str, keys: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.reason, self.keys = reason, keys

    def __str__(self) -> str:
        return f"{'.'.join(self.keys)}: {self.reason}" if self.keys else self.reason


def require(condition: object, reason: str) -> None:
    if not condition:
        raise RequestDenied(reason)


def parse_json(content: bytes) -> Any:
    """Return the value of a JSON document that any decoder reads in the same way.

    Raises RequestDenied for duplicate keys, fractions, `NaN`, other encodings than UTF-8, data
    after the document, and documents that are nested too deeply.
    """
    try:
        return json.loads(
            content.decode("utf-8"),
            object_pairs_hook=_unique_keys,
            parse_float=_no_number,
            parse_constant=_no_number,
        )
    except (ValueError, RecursionError):
        raise RequestDenied("malformed JSON") from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    require(len(found) == len(pairs), "a JSON key occurs twice")
    return found


def _no_number(text: str) -> None:
    raise RequestDenied(f"numbers such as {text[:20]} aren't allowed")


def optional(validator: Validator) -> Validator:
    """Accept a missing value or null, too; it is left out."""
    return lambda value: None if value is None else validator(value)


def text(pattern: str = r".*", max_length: int = MAX_TEXT_LENGTH) -> Validator:
    """Accept a string that matches the whole pattern (ASCII character classes)."""
    compiled = re.compile(pattern, re.ASCII | re.DOTALL)

    def validate(value: Any) -> str:
        require(isinstance(value, str), "must be a string")
        require(len(value) <= max_length, f"must have at most {max_length} characters")
        require("\0" not in value, "must not contain NUL")
        require(not re.search(r"[\ud800-\udfff]", value), "must be valid Unicode")
        require(compiled.fullmatch(value), f"must match {pattern}")
        return str(value)

    return validate


def number(lowest: int, highest: int) -> Validator:
    """Accept an integer within the bounds, both included."""

    def validate(value: Any) -> int:
        require(type(value) is int, "must be an integer")
        require(lowest <= value <= highest, f"must be between {lowest} and {highest}")
        return int(value)

    return validate


def flag(value: Any) -> bool:
    """Accept true and false."""
    require(isinstance(value, bool), "must be true or false")
    return bool(value)


def exactly(expected: Any) -> Validator:
    """Accept this value only."""

    def validate(value: Any) -> Any:
        equal = type(value) is type(expected) and value == expected
        require(equal, f"must be {json.dumps(expected)}")
        return expected

    return validate


def one_of(*expected: str) -> Validator:
    """Accept one of these strings."""

    def validate(value: Any) -> str:
        found = isinstance(value, str) and value in expected
        require(found, f"must be one of: {', '.join(map(json.dumps, expected))}")
        return str(value)

    return validate


def list_of(item: Validator, fewest: int = 0, most: int = MAX_ITEMS) -> Validator:
    """Accept a list whose items are all valid."""

    def validate(value: Any) -> list[Any]:
        require(isinstance(value, list), "must be a list")
        require(fewest <= len(value) <= most, f"must have {fewest} to {most} items")
        return [item(one) for one in value]

    return validate


def mapping(key: str, item: Validator, fewest: int = 0, most: int = MAX_ITEMS) -> Validator:
    """Accept an object whose keys are data and match the pattern `key`."""
    validate_key = text(key)

    def validate(value: Any) -> dict[str, Any]:
        require(isinstance(value, dict), "must be an object")
        require(fewest <= len(value) <= most, f"must have {fewest} to {most} keys")
        return {validate_key(name): _at(name, item, one) for name, one in value.items()}

    return validate


def record(fields: Mapping[str, Validator]) -> Validator:
    """Accept an object with exactly these keys, spelled like this; null counts as missing."""

    def validate(value: Any) -> dict[str, Any]:
        require(isinstance(value, dict), "must be an object")
        require_known_keys(value, fields)
        clean = {name: _at(name, check, value.get(name)) for name, check in fields.items()}
        return {name: one for name, one in clean.items() if one is not None}

    return validate


def require_known_keys(given: Collection[str], known: Collection[str]) -> None:
    unknown = sorted(set(given) - set(known))
    require(not unknown, f"unknown keys: {json.dumps(unknown)[:200]}")


def _at(name: str, validator: Validator, value: Any) -> Any:
    """Validate the value of a key; name the key in the reason of a denial."""
    try:
        return validator(value)
    except RequestDenied as denied:
        raise RequestDenied(denied.reason, (name, *denied.keys)) from None
