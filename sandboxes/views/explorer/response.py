"""Responses of a sandbox's API, always rendered as text regardless of their media type."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from sandboxes.explorer import ApiResponse
from sandboxes.lib.untrusted_json import dumps_pretty, loads

MAX_SHOWN_LENGTH = 200_000
MAX_HIGHLIGHTED_LENGTH = 60_000
"""Characters; highlighting longer texts would make the page slow."""
JSON_TOKENS = re.compile(
    r'(?P<key>"(?:[^"\\]|\\.)*+")(?=:)|(?P<string>"(?:[^"\\]|\\.)*+(?:"|\\?\Z))'
    r"|(?P<number>-?\d[\d.eE+-]*)|(?P<literal>true|false|null)"
)
"""Tokens of JSON that may be cut within a string; each character is read at most twice."""


@dataclass(frozen=True)
class RenderedResponse:
    """A response to show; `curl` is the request as a command."""

    response: ApiResponse
    curl: str

    @property
    def status_line(self) -> str:
        """The status code with its reason phrase."""
        try:
            return f"{self.response.status} {HTTPStatus(self.response.status).phrase}"
        except ValueError:
            return str(self.response.status)

    @property
    def milliseconds(self) -> int:
        return max(1, round(self.response.seconds * 1000))

    @cached_property
    def _readable(self) -> tuple[str, bool]:
        return body_as_text(self.response)

    @property
    def text(self) -> str:
        return self._readable[0][:MAX_SHOWN_LENGTH]

    @property
    def highlighted(self) -> str:
        return highlight_json(self.text) if self._readable[1] else self.text

    @property
    def is_truncated(self) -> bool:
        return not self.response.complete or len(self._readable[0]) > MAX_SHOWN_LENGTH


def body_as_text(response: ApiResponse) -> tuple[str, bool]:
    """Return the body as text, and whether it is JSON, which is pretty-printed."""
    if b"\0" in response.body:
        size, kind = len(response.body), response.media_type or "unknown data"
        return f"{size} bytes of {kind}", False
    try:
        if len(response.body) <= MAX_SHOWN_LENGTH:
            return dumps_pretty(loads(response.body), MAX_SHOWN_LENGTH + 1), True
    except ValueError:
        pass  # It isn't JSON and is shown unchanged.
    return response.body.decode(errors="replace"), False


def highlight_json(text: str) -> SafeString:
    """Escape pretty-printed JSON and wrap its tokens in spans for the stylesheet."""
    if len(text) > MAX_HIGHLIGHTED_LENGTH:
        return escape(text)
    parts, end = [], 0
    for found in JSON_TOKENS.finditer(text):
        parts += [escape(text[end : found.start()]), f'<span class="json-{found.lastgroup}">']
        parts += [escape(found[0]), "</span>"]
        end = found.end()
    return mark_safe("".join([*parts, escape(text[end:])]))  # noqa: S308 - each part is escaped
