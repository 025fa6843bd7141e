"""Ready-made pieces to paste, with the real values of one sandbox in them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from sandboxes.blueprints import Blueprint, available
from sandboxes.views.sandbox_card import Card

DEFAULT_API_ENDPOINT = "api"
"""What the endpoint of an API that does not describe itself is called."""

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
    """One tab: `text` to copy, or where it is a file, none."""

    key: str
    title: str
    hint: str
    text: str = ""


@dataclass(frozen=True)
class Access:
    """Where a sandbox's API is, and the key that opens it."""

    address: str = ""
    key_name: str = ""
    key: str = ""


def api_access(card: Card, credentials: Mapping[str, str]) -> Access:
    """To the API of a running sandbox, as its blueprint describes it."""
    name, key_name = DEFAULT_API_ENDPOINT, "api_key"
    if (made := available().get(card.sandbox.blueprint)) and made.openapi_endpoint:
        name, key_name = made.openapi_endpoint, made.endpoints[made.openapi_endpoint].bearer
    address = (card.endpoints.get(name) or "").rstrip("/")
    return Access(address, key_name, credentials.get(key_name, ""))


def snippets(card: Card, credentials: Mapping[str, str]) -> list[Snippet]:
    """What can be tried first, from what the sandbox has: an API, a database."""
    found = []
    made, own = available().get(card.sandbox.blueprint), api_access(card, credentials)
    if own.address and own.key:
        found += _first_calls(f"{own.address}{_first_path(made)}", own.key)
    if (database := credentials.get("database_url", "")).startswith("postgres"):
        hint = "Opens psql."
        found.append(Snippet("psql", "psql", hint, f"psql {shlex.quote(database)}"))
    hint = "Save as .env or source it."
    found.append(Snippet("env", ".env", hint, env_file_text(card, credentials)))
    if made and made.openapi_endpoint:
        hint = "All operations, with the URL and API key filled in."
        found.append(Snippet("postman", "Postman", hint))
    return found


def _first_calls(address: str, key: str) -> list[Snippet]:
    """One and the same call, in what people use."""
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
    """The request as a command. A key that begins with `$` is left to the shell."""
    bearer = f"Authorization: Bearer {key}"
    parts = ["curl" if method == "GET" else f"curl -X {method}"]
    parts[0] += f" {shlex.quote(address)}"
    if key:
        parts.append(f"-H {chr(34) + bearer + chr(34) if key[0] == '$' else shlex.quote(bearer)}")
    if body:
        parts += ["-H 'Content-Type: application/json'", f"--data-raw {shlex.quote(body)}"]
    return " \\\n  ".join(parts)


def env_file_text(card: Card, credentials: Mapping[str, str]) -> str:
    """All that a program has to know of the sandbox, as lines of a `.env` file."""
    own = api_access(card, credentials)
    values = {"API_URL": own.address} if own.address else {}
    values |= {name.upper(): value for name, value in credentials.items()}
    values["STELLAR_PUBLIC_KEY"] = card.sandbox.stellar_public_key
    return "\n".join(f"{name}={shlex.quote(value)}" for name, value in values.items())


def _first_path(blueprint: Blueprint | None) -> str:
    """The list of the first kind of objects in the seed; APIs of blueprints have them in /v1/."""
    return f"/v1/{next(iter(blueprint.seed))}" if blueprint and blueprint.seed else "/"
