"""An answer of a sandbox's API as people read it: always as text, never as what it says it is."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from http import HTTPStatus

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from sandboxes.relay import Answer

LONGEST_SHOWN = 200_000
LONGEST_COLOURED = 60_000
"""Characters; colours would make a page of more than that slow."""
TOKENS = re.compile(
    r'(?P<name>"(?:[^"\\]|\\.)*")(?=:)|(?P<text>"(?:[^"\\]|\\.)*")'
    r"|(?P<number>-?\d[\d.eE+-]*)|(?P<word>true|false|null)"
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

    @property
    def text(self) -> str:
        return readable(self.answer)[:LONGEST_SHOWN]

    @property
    def coloured(self) -> SafeString:
        return coloured(self.text)

    @property
    def is_cut(self) -> bool:
        return not self.answer.complete or len(readable(self.answer)) > LONGEST_SHOWN


def readable(answer: Answer) -> str:
    """The body as text: JSON on lines of its own, anything else as it is."""
    if b"\0" in answer.body:
        size, kind = len(answer.body), answer.media_type or _("unknown data")
        return _("%(size)s bytes of %(kind)s") % {"size": size, "kind": kind}
    text = answer.body.decode(errors="replace")
    try:
        return written(json.loads(text))
    except (ValueError, RecursionError):
        return text


def written(value: object) -> str:
    """A value as JSON for people."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def coloured(text: str) -> SafeString:
    """The text escaped, with what looks like JSON in spans for the stylesheet."""
    if len(text) > LONGEST_COLOURED:
        return escape(text)
    parts, end = [], 0
    for found in TOKENS.finditer(text):
        parts += [escape(text[end : found.start()]), f'<span class="json-{found.lastgroup}">']
        parts += [escape(found[0]), "</span>"]
        end = found.end()
    return mark_safe("".join([*parts, escape(text[end:])]))  # noqa: S308 - each part is escaped
