"""A `sandbox.yaml` to start from, for a Compose file that has none."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

from sandboxes.blueprints import Blueprint
from sandboxes.blueprints.blueprint import default_endpoint

PLAIN = re.compile(
    r"(?!(?:y|yes|n|no|on|off|true|false|null)$)[a-z][a-z0-9 _./-]*[a-z0-9]|[a-z]", re.IGNORECASE
)


def suggested_section(blueprint: Blueprint, unset_variables: Sequence[str]) -> str:
    """Return the defaults that apply as the text of a `sandbox.yaml`, with what it could add.

    Variables without a value become secrets, and the first one of them a credential.
    """
    return "\n".join(_lines(blueprint, unset_variables)) + "\n"


def _lines(blueprint: Blueprint, unset: Sequence[str]) -> Iterator[str]:
    yield f"title: {_text(blueprint.name.replace('-', ' ').replace('_', ' ').capitalize())}"
    yield "description: What developers find in it."
    if blueprint.endpoints:
        yield "endpoints:"
        for name, one in blueprint.endpoints.items():
            service = f"service: {_text(one.service)}, port: {one.port}, url: {_text(one.url)}"
            yield f"  {_text(name)}: {{{service}}}"
    if unnamed := [one.name for one in blueprint.services if not one.user]:
        yield "# Users of the images, or numbers, in place of root."
        users = ", ".join(f'{_text(name)}: "1000"' for name in unnamed)
        yield f"# users: {{{users}}}"
    if unset:
        yield "# Random values for variables that aren't set, different in each sandbox."
        yield "secrets:"
        yield from (f"  {name}: {{}}" for name in unset)
        yield "# What developers sign in with."
        yield "credentials:"
        yield from (f'  {name.lower()}: {{value: "${{{name}}}"}}' for name in unset)
    else:
        yield "# secrets: {API_KEY: {prefix: sk_test_}}  # Then use ${API_KEY} in the Compose file."
        yield '# credentials: {api_key: {value: "${API_KEY}"}}'
    if http := default_endpoint(blueprint.endpoints):
        yield "# A path that returns 200 once the sandbox is ready."
        yield f"# ready: [{{endpoint: {_text(http)}, path: /healthz}}]"
        yield "# The request that snippets show."
        yield f"# first_call: {{endpoint: {_text(http)}, path: /}}"
    service = blueprint.services[0].name
    yield "# A command that restores the seed data faster than new containers do."
    yield f"# reset: {{service: {_text(service)}, command: [/bin/reset]}}"


def _text(value: str) -> str:
    """Return a text as YAML, quoted unless it is certainly a plain scalar."""
    return value if PLAIN.fullmatch(value) else json.dumps(value)
