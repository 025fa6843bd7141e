"""Parameters of a blueprint: values that are chosen at launch and become variables.

Patterns are matched by Rust's regular expressions, through pydantic: matching takes time linear in
the length of the value, for every pattern (decision 55).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from pydantic_core import SchemaError, SchemaValidator, ValidationError, core_schema

Value = str | int | bool

MAX_TEXT_LENGTH = 1000
MAX_PATTERN_LENGTH = 200
NAMED_GROUP = re.compile(r"\(\?P?<(?![=!])[^>]*>")
MAX_INTEGER = 2**53 - 1
"""The largest integer that every JSON parser reads exactly."""


class ParameterType(StrEnum):
    """The kinds of values that a parameter takes."""

    ENUM = "enum"
    BOOLEAN = "boolean"
    INTEGER = "integer"
    STRING = "string"


class InvalidValue(ValueError):
    """A parameter doesn't take this value. The message says what to send instead."""


class InvalidPattern(ValueError):
    """The regular expression is invalid, or too large."""


@dataclass(frozen=True)
class Parameter:
    """A value that is chosen at launch; the default is valid."""

    type: ParameterType
    default: Value
    title: str
    help: str = ""
    values: Sequence[str] = ()
    """What an enum takes."""
    minimum: int = -MAX_INTEGER
    maximum: int = MAX_INTEGER
    pattern: str = ""
    """Matches the whole text; empty if any text is valid."""
    max_length: int = MAX_TEXT_LENGTH

    @property
    def range_hint(self) -> str:
        """The numbers that an integer takes; empty if it has no bounds of its own."""
        has_minimum, has_maximum = self.minimum > -MAX_INTEGER, self.maximum < MAX_INTEGER
        if has_minimum and has_maximum:
            return f"From {self.minimum} to {self.maximum}."
        if has_minimum or has_maximum:
            return f"At least {self.minimum}." if has_minimum else f"At most {self.maximum}."
        return ""

    def check(self, value: object) -> Value:
        """Return the value. Raises InvalidValue if its type or the value is wrong."""
        match self.type:
            case ParameterType.ENUM:
                return self._check_enum(value)
            case ParameterType.BOOLEAN:
                if not isinstance(value, bool):
                    raise InvalidValue("Must be true or false.")
                return value
            case ParameterType.INTEGER:
                return self._check_integer(value)
            case ParameterType.STRING:
                return self._check_string(value)

    def parse(self, text: str) -> Value:
        """Return the value that a form's text stands for. Raises InvalidValue."""
        if self.type == ParameterType.BOOLEAN:
            return self.check({"true": True, "false": False}.get(text))
        if self.type == ParameterType.INTEGER:
            digits = text.strip().removeprefix("-")
            is_number = digits.isascii() and digits.isdecimal() and len(digits) <= len(str(2**53))
            return self.check(int(text) if is_number else text)
        return self.check(text)

    def _check_enum(self, value: object) -> str:
        if not isinstance(value, str) or value not in self.values:
            raise InvalidValue(f"Must be one of: {', '.join(self.values)}.")
        return value

    def _check_integer(self, value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise InvalidValue("Must be an integer.")
        if not self.minimum <= value <= self.maximum:
            raise InvalidValue(f"Must be from {self.minimum} to {self.maximum}.")
        return value

    def _check_string(self, value: object) -> str:
        if not isinstance(value, str):
            raise InvalidValue("Must be a string.")
        if len(value) > self.max_length:
            raise InvalidValue(f"Must have at most {self.max_length} characters.")
        if not value.isprintable():
            raise InvalidValue("Remove line breaks and other unprintable characters.")
        if self.pattern and not matches(self.pattern, value):
            raise InvalidValue(f"Must match the pattern {self.pattern}")
        return value


def variable_texts(values: Mapping[str, Value]) -> dict[str, str]:
    """Return values as the texts of variables."""
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in values.items()
    }


def matches(pattern: str, text: str) -> bool:
    """Return whether the whole text matches, in linear time. Raises InvalidPattern."""
    try:
        _compile(pattern).validate_python(text)
    except ValidationError:
        return False
    return True


def fit_together(patterns: Iterable[str]) -> bool:
    """Return whether patterns together compile to no more than a single one may.

    Invalid ones don't count: they are refused before they are compiled.
    """
    # What is repeated zero times is parsed, but not compiled.
    valid = [
        pattern
        for pattern in patterns
        if len(pattern) <= MAX_PATTERN_LENGTH and _compiles(f"(?:{pattern}){{0}}")
    ]
    joined = "".join(f"(?:{pattern})" for pattern in valid)
    return len(valid) <= 1 or _compiles(NAMED_GROUP.sub("(", joined))


def _compiles(pattern: str) -> bool:
    try:
        _validator(pattern)
    except SchemaError:
        return False
    return True


def _validator(pattern: str) -> SchemaValidator:
    return SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex"))


@lru_cache(maxsize=50)
def _compile(pattern: str) -> SchemaValidator:
    if len(pattern) > MAX_PATTERN_LENGTH:
        raise InvalidPattern(f"it has more than {MAX_PATTERN_LENGTH} characters")
    try:
        compiled = _validator(rf"\A(?:{pattern})\z")
        # Also alone: unbalanced parentheses could be valid in the group that anchors it.
        _validator(pattern)
    except SchemaError as error:
        last = [line.strip() for line in str(error).splitlines() if line.strip()][-1]
        reason = last.removeprefix("error: ").removeprefix("SchemaError: ")
        raise InvalidPattern(reason[:1].lower() + reason[1:]) from error
    return compiled
