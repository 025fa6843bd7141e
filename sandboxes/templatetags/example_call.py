"""The example on the sign-in page: a first call of the default blueprint's API, and its answer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django import template
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from sandboxes import blueprints
from sandboxes.blueprints import Blueprint
from sandboxes.models.runtime_settings import config

register = template.Library()

ADDRESS = "127.0.0.1:49153"
"""Of a sandbox that could be the reader's."""
STRING = re.compile(r'"(?:[^"\\]|\\.)*"(?=(:)?)')


@dataclass(frozen=True)
class ExampleCall:
    """The lines of a command and of its answer."""

    command: list[str]
    answer: list[str]


@register.simple_tag
def example_call() -> ExampleCall | None:
    """Return the example of the default blueprint, if it has one."""
    blueprint = blueprints.available().get(config.SANDBOX_DEFAULT_BLUEPRINT)
    if blueprint is None or (call := blueprint.first_call) is None:
        return None
    endpoint = blueprint.endpoints[call.endpoint]
    url = blueprint.endpoint_urls({endpoint.address_key: ADDRESS})[call.endpoint]
    command = [f"curl {url.rstrip('/')}{call.path}"]
    if endpoint.auth.credential:
        value = _key_placeholder(blueprint, endpoint.auth.credential)
        (header,) = endpoint.auth.headers(value)
        command = [f"{command[0]} \\", f"-H '{header[0]}: {header[1]}'"]
    return ExampleCall(command, list(_answer_lines(call.answer)))


def _key_placeholder(blueprint: Blueprint, credential: str) -> str:
    """Return the credential with the prefix of its secret, such as `sk_test_…`."""
    text = blueprint.credentials[credential].value
    for name, secret in blueprint.secrets.items():
        text = text.replace(f"${{{name}}}", f"{secret.prefix}…")
    return text


def _answer_lines(answer: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of the excerpt, with one line for each item of a list."""
    match list(answer.items()):
        case [(name, [*items, last])]:
            yield f"{{ {json.dumps(name)}: ["
            yield from (f"{_one_line(item)}," for item in items)
            yield f"{_one_line(last)}, …"
        case _:
            yield _one_line(answer)


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
