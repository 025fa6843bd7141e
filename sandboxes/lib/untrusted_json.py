"""Safe handling of JSON from untrusted sources."""

from __future__ import annotations

import json
from typing import Any

MAX_DEPTH = 60


def loads(source: bytes) -> Any:
    """Return the parsed value. Raise ValueError if it is invalid or nested too deeply.

    Unpaired surrogates, which UTF-8 can't encode, are replaced by question marks.
    """
    try:
        value = json.loads(source.decode(errors="replace"))
    except RecursionError:
        raise ValueError("The JSON is nested too deeply.") from None
    if _is_deep(value):
        raise ValueError("The JSON is nested too deeply.")
    if b"\\u" in source:
        value = json.loads(json.dumps(value, ensure_ascii=False).encode(errors="replace"))
    return value


def dumps_pretty(value: object) -> str:
    """Return indented JSON."""
    return json.dumps(value, indent=2, ensure_ascii=False)


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
