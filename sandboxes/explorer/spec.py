"""What a sandbox's API says of itself."""

from __future__ import annotations

from sandboxes import blueprints
from sandboxes.explorer import openapi
from sandboxes.explorer.client import Ask, api_of, send
from sandboxes.lib.exceptions import Unavailable
from sandboxes.models import Sandbox


def describe(sandbox: Sandbox) -> openapi.Description:
    """Its OpenAPI document, read. Raises StateConflict, Unavailable."""
    api_of(sandbox)
    blueprint = blueprints.load(sandbox.blueprint)
    answer = send(sandbox, Ask("GET", blueprint.endpoints[blueprint.openapi_endpoint].openapi))
    if not answer.succeeded:
        raise Unavailable(f"Asked for the description of its API, it answered {answer.status}.")
    if not answer.complete:
        raise Unavailable("The description of its API is too large to be shown.")
    try:
        return openapi.read(answer.body)
    except openapi.Unreadable as error:
        raise Unavailable(str(error)) from None
