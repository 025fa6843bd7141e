"""How programs use a running sandbox: URLs, headers and environment variables."""

from __future__ import annotations

from collections.abc import Mapping

from django.conf import settings

from sandboxes.blueprints import Blueprint, find_for_sandbox
from sandboxes.blueprints.blueprint import url_variable_name, variable_name
from sandboxes.gateway import names
from sandboxes.gateway.access import TOKEN_HEADER
from sandboxes.models import Sandbox
from sandboxes.representations import display, schemas
from sandboxes.representations.database_commands import is_database


def environment_variables(
    sandbox: Sandbox, endpoints: Mapping[str, str | None], credentials: Mapping[str, str]
) -> dict[str, str]:
    """Return the sandbox's URLs and credentials by the names that `.env` files use."""
    found = {url_variable_name(name): url.rstrip("/") for name, url in endpoints.items() if url}
    # The URL with credentials, such as `database_url`, is the one of its endpoint, `database`.
    found |= {variable_name(name): value for name, value in credentials.items()}
    if sandbox.stellar_public_key:
        found["STELLAR_PUBLIC_KEY"] = sandbox.stellar_public_key
        found["STELLAR_NETWORK_PASSPHRASE"] = settings.STELLAR_NETWORK_PASSPHRASE
        if settings.HORIZON_URL:
            found["HORIZON_URL"] = settings.HORIZON_URL
    return found


def database_urls(
    blueprint: Blueprint, endpoints: Mapping[str, str | None], credentials: Mapping[str, str]
) -> dict[str, str]:
    """Return the URLs of databases: those with credentials, and of endpoints that need none."""
    opened = {blueprint.credentials[name].endpoint for name in blueprint.credentials}
    urls = dict(credentials) | {
        name: url for name, url in endpoints.items() if url and name not in opened
    }
    return {name: url for name, url in urls.items() if is_database(url)}


def connections(sandbox: Sandbox, credentials: Mapping[str, str]) -> schemas.Connections:
    """Return how to use a running sandbox; `credentials` are those that its owner has read."""
    blueprint, endpoints = find_for_sandbox(sandbox), display.endpoints(sandbox)
    token_header = TOKEN_HEADER if blueprint and names.is_owner_only(blueprint) else None
    declared = blueprint.endpoints.items() if blueprint else ()
    apis = {
        name: schemas.ApiAccess(
            url=endpoints[name] or "",
            headers=dict(endpoint.auth.headers(credentials.get(endpoint.auth.credential, ""))),
            portal_token_header=token_header,
        )
        for name, endpoint in declared
        if endpoint.is_http
    }
    first = blueprint.snippet_call.endpoint if blueprint and blueprint.snippet_call else ""
    return schemas.Connections(
        apis=apis,
        default_api=first if first in apis else next(iter(apis), None),
        databases=database_urls(blueprint, endpoints, credentials) if blueprint else {},
        variables=environment_variables(sandbox, endpoints, credentials),
    )
