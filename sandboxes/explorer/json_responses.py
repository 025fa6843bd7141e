"""JSON that a sandbox responds with. Any part may be missing or of another type."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sandboxes.lib import untrusted_json
from sandboxes.lib.exceptions import ValidationFailed

MAX_DETAIL_LENGTH = 300


def json_object(body: bytes) -> dict[str, Any]:
    """Return the object in a response; empty if there is none."""
    try:
        answer = untrusted_json.loads(body)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def refusal(answer: dict[str, Any], names: Sequence[str]) -> ValidationFailed:
    """Return what a problem response says against a field of a request with these fields."""
    errors = answer.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else None
    first = first if isinstance(first, dict) else {}
    name, detail = first.get("field"), first.get("message") or answer.get("detail")
    text = str(detail or "The sandbox refuses this value.")[:MAX_DETAIL_LENGTH]
    return ValidationFailed(str(name) if name in names else names[0], text)


def aware_time(text: Any) -> datetime | None:
    """Return the time with its zone that a text has, or None."""
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return found if found and found.tzinfo else None
