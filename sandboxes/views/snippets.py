"""Code snippets with a sandbox's URLs and credentials filled in."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from sandboxes import actions
from sandboxes.blueprints import Blueprint, find_for_sandbox
from sandboxes.views.sandbox_card import Card

DEFAULT_API_ENDPOINT = "api"
"""Name of the API's endpoint in blueprints without an OpenAPI document."""

PYTHON_TEMPLATE = """\
import json
from urllib.request import Request, urlopen

request = Request(
    {address},
    headers={{"Authorization": {authorization}}},
)
with urlopen(request, timeout=10) as response:
    print(json.dumps(json.load(response), indent=2))"""

JAVASCRIPT_TEMPLATE = """\
fetch({address}, {{
  headers: {{ Authorization: {authorization} }},
}})
  .then((response) => response.json())
  .then((data) => console.log(data));"""


@dataclass(frozen=True)
class Snippet:
    """A tab; `text` is empty if it offers a file."""

    key: str
    title: str
    hint: str
    text: str = ""


@dataclass(frozen=True)
class Access:
    """The base URL and key of a sandbox's API."""

    address: str = ""
    key_name: str = ""
    key: str = ""


def api_access(card: Card, credentials: Mapping[str, str]) -> Access:
    """Return the base URL and key of a running sandbox's API."""
    name, key_name = DEFAULT_API_ENDPOINT, "api_key"
    blueprint = find_for_sandbox(card.sandbox)
    if blueprint and blueprint.openapi_endpoint:
        name = blueprint.openapi_endpoint
        key_name = blueprint.endpoints[name].auth.credential
    address = (card.endpoints.get(name) or "").rstrip("/")
    return Access(address, key_name, credentials.get(key_name, ""))


def snippets(card: Card, credentials: Mapping[str, str]) -> list[Snippet]:
    """Return the snippets for the sandbox's API and database."""
    found = []
    blueprint, api = find_for_sandbox(card.sandbox), api_access(card, credentials)
    if api.address and api.key:
        found += _first_calls(f"{api.address}{_first_path(blueprint)}", api.key)
    if (database := credentials.get("database_url", "")).startswith("postgres"):
        hint = "Opens psql."
        found.append(Snippet("psql", "psql", hint, f"psql {shlex.quote(database)}"))
    hint = "Save as .env or source it."
    found.append(Snippet("env", ".env", hint, env_file_text(card, credentials)))
    if blueprint and blueprint.openapi_endpoint:
        hint = "All operations, with the URL and API key filled in."
        found.append(Snippet("postman", "Postman", hint))
    return found


def first_command(card: Card) -> Snippet | None:
    """Return the command that a new sandbox's card opens with, its key included."""
    found = snippets(card, actions.preview_credentials(card.sandbox))
    return next((snippet for snippet in found if snippet.key in ("curl", "psql")), None)


def _first_calls(address: str, key: str) -> list[Snippet]:
    """Return the same request for curl, Python and JavaScript."""
    quoted = {"address": json.dumps(address), "authorization": json.dumps(f"Bearer {key}")}
    return [
        Snippet("curl", "curl", "", curl("GET", address, key)),
        Snippet("python", "Python", "No dependencies.", PYTHON_TEMPLATE.format(**quoted)),
        Snippet(
            "javascript",
            "JavaScript",
            "Node.js or browser.",
            JAVASCRIPT_TEMPLATE.format(**quoted),
        ),
    ]


def curl(method: str, address: str, key: str, body: str = "") -> str:
    """Return the request as a curl command. The shell expands a key that begins with `$`."""
    bearer = f"Authorization: Bearer {key}"
    parts = ["curl" if method == "GET" else f"curl -X {method}"]
    parts[0] += f" {shlex.quote(address)}"
    if key:
        parts.append(f"-H {chr(34) + bearer + chr(34) if key[0] == '$' else shlex.quote(bearer)}")
    if body:
        parts += ["-H 'Content-Type: application/json'", f"--data-raw {shlex.quote(body)}"]
    return " \\\n  ".join(parts)


def env_file_text(card: Card, credentials: Mapping[str, str]) -> str:
    """Return the sandbox's URL and credentials as lines of a `.env` file."""
    api = api_access(card, credentials)
    values = {"API_URL": api.address} if api.address else {}
    values |= {name.upper(): value for name, value in credentials.items()}
    values["STELLAR_PUBLIC_KEY"] = card.sandbox.stellar_public_key
    return "\n".join(f"{name}={shlex.quote(value)}" for name, value in values.items())


def _first_path(blueprint: Blueprint | None) -> str:
    return blueprint.first_call.path if blueprint and blueprint.first_call else "/"
