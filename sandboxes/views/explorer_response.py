"""An answer of a sandbox's API as people read it: always as text, never as what it says it is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from sandboxes.explorer import Answer
from sandboxes.lib.untrusted_json import dumps_pretty, loads

LONGEST_SHOWN = 200_000
LONGEST_COLOURED = 60_000
"""Characters; colours would make a page of more than that slow."""
TOKENS = re.compile(
    r'(?P<key>"(?:[^"\\]|\\.)*")(?=:)|(?P<string>"(?:[^"\\]|\\.)*")'
    r"|(?P<number>-?\d[\d.eE+-]*)|(?P<literal>true|false|null)"
)


@dataclass(frozen=True)
class Shown:
    """One answer; `curl` is the request that it answers."""

    answer: Answer
    request_line: str
    curl: str

    @property
    def phrase(self) -> str:
        """The status with its name."""
        try:
            return f"{self.answer.status} {HTTPStatus(self.answer.status).phrase}"
        except ValueError:
            return str(self.answer.status)

    @property
    def milliseconds(self) -> int:
        return max(1, round(self.answer.seconds * 1000))

    @cached_property
    def _readable(self) -> tuple[str, bool]:
        return readable(self.answer)

    @property
    def text(self) -> str:
        return self._readable[0][:LONGEST_SHOWN]

    @property
    def coloured(self) -> str:
        return coloured(self.text) if self._readable[1] else self.text

    @property
    def is_cut(self) -> bool:
        return not self.answer.complete or len(self._readable[0]) > LONGEST_SHOWN


def readable(answer: Answer) -> tuple[str, bool]:
    """The body as text, and whether it is JSON, which comes on lines of its own."""
    if b"\0" in answer.body:
        size, kind = len(answer.body), answer.media_type or "unknown data"
        return f"{size} bytes of {kind}", False
    try:
        if len(answer.body) <= LONGEST_SHOWN:
            return dumps_pretty(loads(answer.body)), True
    except ValueError:
        """It is something else, and shown as it is."""
    return answer.body.decode(errors="replace"), False


def coloured(text: str) -> SafeString:
    """What `written` made of a value, escaped, with spans in it for the stylesheet."""
    if len(text) > LONGEST_COLOURED:
        return escape(text)
    parts, end = [], 0
    for found in TOKENS.finditer(text):
        parts += [escape(text[end : found.start()]), f'<span class="json-{found.lastgroup}">']
        parts += [escape(found[0]), "</span>"]
        end = found.end()
    return mark_safe("".join([*parts, escape(text[end:])]))  # noqa: S308 - each part is escaped
