"""Safe handling of JSON from untrusted sources.

A value that was read takes a bounded amount of memory, can be encoded as UTF-8 and as JSON again,
and can be walked recursively.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

MAX_DEPTH = 60
MAX_VALUES = 100_000
"""Limit of values in one text, which take about 20 MB at most."""
MAX_DIGITS = 300
"""Longer integers are kept as text: their conversion takes quadratic time."""
SURROGATES = re.compile(
    r"(\\[^u]|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    r"|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)
"""Escapes, with the valid ones as a group: other characters, and surrogates in pairs."""


def loads(source: bytes) -> Any:
    """Return the parsed value. Raises ValueError if it is invalid, too large or too deep.

    Unpaired surrogates, which UTF-8 can't encode, become replacement characters, and numbers that
    Python can't represent become strings.
    """
    if source.count(b",") + source.count(b"[") + source.count(b"{") > MAX_VALUES:
        raise ValueError("The JSON has too many values.")
    text = source.decode(errors="replace")
    if "\\u" in text:
        text = SURROGATES.sub(lambda found: found[1] or r"\ufffd", text)
    try:
        value = json.loads(text, parse_int=_integer, parse_float=_number, parse_constant=str)
    except RecursionError:
        raise ValueError("The JSON is nested too deeply.") from None
    if _is_deep(value):
        raise ValueError("The JSON is nested too deeply.")
    return value


def dumps_pretty(value: object, max_length: int | None = None) -> str:
    """Return indented JSON, cut after `max_length` characters."""
    encoder = json.JSONEncoder(indent=2, ensure_ascii=False)
    if max_length is None:
        return encoder.encode(value)
    parts, length = [], 0
    for part in encoder.iterencode(value):
        parts.append(part)
        length += len(part)
        if length >= max_length:
            break
    return "".join(parts)[:max_length]


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= MAX_DIGITS else digits


def _number(digits: str) -> float | str:
    return number if math.isfinite(number := float(digits)) else digits


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in _children(node)]
        if not level:
            return False
    return True


def _children(node: Any) -> Any:
    if isinstance(node, dict):
        return node.values()
    return node if isinstance(node, list) else ()
