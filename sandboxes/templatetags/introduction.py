"""What the sign-in and welcome pages show of the default blueprint."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django import template
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from sandboxes import blueprints
from sandboxes.blueprints import Blueprint
from sandboxes.models.runtime_settings import config
from sandboxes.representations.labels import phrase
from sandboxes.views.request_code import Access, Call, body_text, curl

register = template.Library()

ADDRESS = "127.0.0.1:49153"
"""Of a sandbox that could be the reader's."""
STRING = re.compile(r'"(?:[^"\\]|\\.)*"(?=(:)?)')


@dataclass(frozen=True)
class Introduction:
    """The default blueprint, and the lines of its first call and of the answer, if it has one."""

    blueprint: Blueprint | None
    command: Sequence[str] = ()
    answer: Sequence[str] = ()

    @property
    def seed(self) -> str:
        """The seeded objects as a phrase: “5 apples, 3 pears and 1 plum”."""
        counts = self.blueprint.seed.items() if self.blueprint else ()
        *rest, last = [f"{count} {phrase(kind)}" for kind, count in counts] or [""]
        return f"{', '.join(rest)} and {last}" if rest else last


@register.simple_tag
def introduction(offered: Mapping[str, Blueprint] | None = None) -> Introduction:
    """Return what new users see of the default blueprint, or of the first one offered."""
    known = blueprints.available() if offered is None else offered
    blueprint = known.get(config.SANDBOX_DEFAULT_BLUEPRINT) or next(iter(known.values()), None)
    if blueprint is None or (call := blueprint.first_call) is None:
        return Introduction(blueprint)
    endpoint = blueprint.endpoints[call.endpoint]
    url = blueprint.endpoint_urls({endpoint.address_key: ADDRESS})[call.endpoint]
    secret = _placeholder(blueprint, endpoint.auth.credential)
    access = Access(url.rstrip("/"), endpoint.auth, secret)
    command = curl(Call(call.method, call.path, body=body_text(call.body)), access)
    return Introduction(
        blueprint, [line.strip() for line in command.splitlines()], list(_answer_lines(call.answer))
    )


def _placeholder(blueprint: Blueprint, credential: str) -> str:
    """Return the credential with the prefix of its secret, such as `sk_test_…`; empty if none."""
    text = blueprint.credentials[credential].value if credential else ""
    for name, secret in blueprint.secrets.items():
        text = text.replace(f"${{{name}}}", f"{secret.prefix}…")
    return text


def _answer_lines(answer: Any) -> Iterator[str]:
    """Yield the lines of the excerpt, with one line for each item of a list."""
    match list(answer.items()) if isinstance(answer, Mapping) else answer:
        case [(name, [*items, last])]:
            yield f"{{ {json.dumps(name)}: ["
        case [*items, last] if isinstance(answer, list):
            yield "["
        case _:
            if answer is not None:
                yield _one_line(answer)
            return
    yield from (f"{_one_line(item)}," for item in items)
    yield f"{_one_line(last)}, …"


def _one_line(value: Any) -> str:
    """Return the value as JSON; objects are excerpts and may have more."""
    text = json.dumps(value, ensure_ascii=False)
    return f"{{ {text[1:-1]}, … }}" if isinstance(value, Mapping) and value else text


@register.filter
def highlight_json(line: str) -> SafeString:
    """Mark the keys and the texts of a line of JSON."""
    parts: list[str] = []
    end = 0
    for found in STRING.finditer(line):
        kind = "key" if found[1] else "text"
        parts += [escape(line[end : found.start()])]
        parts += [f'<span class="terminal-{kind}">{escape(found[0])}</span>']
        end = found.end()
    return mark_safe("".join([*parts, escape(line[end:])]))  # noqa: S308 - each part is escaped
