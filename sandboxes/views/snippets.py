"""Commands to paste, with the real values of one sandbox in them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from sandboxes.blueprints import available
from sandboxes.views.cards import Card


@dataclass(frozen=True)
class Snippet:
    title: str
    text: str


def snippets(card: Card, credentials: Mapping[str, str]) -> list[Snippet]:
    """What can be tried first, from what the sandbox has: an API, a database."""
    found = []
    api, key = card.endpoints.get("api"), credentials.get("api_key")
    if api and key:
        address = shlex.quote(f"{api}{_first_path(card.sandbox.blueprint)}")
        found.append(Snippet("curl", f"curl {address} \\\n  -H 'Authorization: Bearer {key}'"))
    if database := credentials.get("database_url"):
        found.append(Snippet("psql", f"psql {shlex.quote(database)}"))
    return found


def _first_path(blueprint: str) -> str:
    """The list of the first kind of objects in the seed; APIs of blueprints have them in /v1/."""
    made = available().get(blueprint)
    return f"/v1/{next(iter(made.seed))}" if made and made.seed else "/"
