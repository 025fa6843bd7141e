"""Code snippets with a sandbox's URLs and credentials filled in."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sandboxes import actions
from sandboxes.blueprints import Blueprint, find_for_sandbox
from sandboxes.gateway.access import TOKEN_HEADER
from sandboxes.representations import labels
from sandboxes.representations.connections import database_urls, environment_variables
from sandboxes.representations.database_commands import client_and_command, is_database
from sandboxes.views.request_code import (
    Access,
    Call,
    body_text,
    curl,
    javascript,
    python,
)
from sandboxes.views.sandbox_card import Card


@dataclass(frozen=True)
class Snippet:
    """A tab; `text` is empty if it offers files, one of which contains the credential."""

    key: str
    title: str
    hint: str
    text: str = ""
    credential: str = ""


def explorer_access(card: Card, credentials: Mapping[str, str]) -> Access:
    """Return how to reach the API that the explorer shows."""
    blueprint = find_for_sandbox(card.sandbox)
    return _access(blueprint, card, credentials, blueprint.openapi_endpoint if blueprint else "")


def _access(
    blueprint: Blueprint | None, card: Card, credentials: Mapping[str, str], name: str
) -> Access:
    """Return how to reach an endpoint, as far as it is known."""
    endpoint = blueprint.endpoints.get(name) if blueprint else None
    if endpoint is None:
        return Access()
    address = (card.endpoints.get(name) or "").rstrip("/")
    return Access(address, endpoint.auth, credentials.get(endpoint.auth.credential, ""))


def snippets(card: Card, credentials: Mapping[str, str]) -> list[Snippet]:
    """Return the snippets for the sandbox's API and databases, and its files."""
    blueprint = find_for_sandbox(card.sandbox)
    found = _commands(blueprint, card, credentials)
    hint = "Save as .env or source it."
    found.append(Snippet("env", ".env", hint, env_file_text(card, credentials)))
    if blueprint and blueprint.openapi_endpoint:
        name = blueprint.endpoints[blueprint.openapi_endpoint].auth.credential
        filled_in = f"URL and {labels.phrase(name)}" if name else "URL"
        hint = f"All operations, with the {filled_in} filled in."
        found.append(Snippet("postman", "Postman", hint, credential=name))
    return found


def first_command(card: Card) -> Snippet | None:
    """Return the command that a new sandbox's card opens with, its key included."""
    blueprint = find_for_sandbox(card.sandbox)
    found = _commands(blueprint, card, actions.preview_credentials(card.sandbox))
    return next(iter(found), None)


def expects_command(card: Card) -> bool:
    """Return whether the sandbox will have a first command once it runs."""
    if (blueprint := find_for_sandbox(card.sandbox)) is None:
        return False
    urls = [endpoint.url for endpoint in blueprint.endpoints.values()]
    urls += [credential.value for credential in blueprint.credentials.values()]
    return blueprint.snippet_call is not None or any(map(is_database, urls))


def _commands(
    blueprint: Blueprint | None, card: Card, credentials: Mapping[str, str]
) -> list[Snippet]:
    if blueprint is None:
        return []
    return [
        *_first_calls(blueprint, card, credentials),
        *_database_commands(blueprint, card, credentials),
    ]


def _first_calls(
    blueprint: Blueprint, card: Card, credentials: Mapping[str, str]
) -> Iterator[Snippet]:
    """Yield the first call for curl, Python and JavaScript."""
    if (first := blueprint.snippet_call) is None:
        return
    access = _access(blueprint, card, credentials, first.endpoint)
    if not access.is_complete:
        return
    describes_json = bool(blueprint.endpoints[first.endpoint].openapi or first.answer is not None)
    call = Call(
        first.method, first.path, portal_headers(card), body_text(first.body), describes_json
    )
    yield Snippet("curl", "curl", "", curl(call, access))
    yield Snippet("python", "Python", "No dependencies.", python(call, access))
    yield Snippet("javascript", "JavaScript", "Node.js or browser.", javascript(call, access))


def portal_headers(card: Card) -> list[tuple[str, str]]:
    """Return the header that the gateway requires if only the owner may call the sandbox."""
    return [(TOKEN_HEADER, "YOUR_API_TOKEN")] if card.is_owner_only else []


def _database_commands(
    blueprint: Blueprint, card: Card, credentials: Mapping[str, str]
) -> Iterator[Snippet]:
    """Yield a command for each database: with its credentials, if there are any."""
    urls = database_urls(blueprint, card.endpoints, credentials)
    found = {
        name: found_client
        for name, url in urls.items()
        if (found_client := client_and_command(url))
    }
    counts = Counter(client for client, _ in found.values())
    for name, (client, command) in found.items():
        is_only = counts[client] == 1
        key, title = (client, client) if is_only else (f"{client}-{name}", f"{client}: {name}")
        yield Snippet(key, title, f"Opens {client}.", command)


def env_file_text(card: Card, credentials: Mapping[str, str]) -> str:
    """Return the sandbox's URLs and credentials as lines of a `.env` file."""
    values = environment_variables(card.sandbox, card.endpoints, credentials)
    return "\n".join(f"{name}={shlex.quote(value)}" for name, value in values.items())
