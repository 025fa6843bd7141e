"""What a sandbox's API says of itself."""

from __future__ import annotations

from sandboxes import blueprints
from sandboxes.explorer import openapi
from sandboxes.explorer.client import ApiRequest, api_base_url, send
from sandboxes.lib.exceptions import Unavailable
from sandboxes.models import Sandbox


def fetch_openapi(sandbox: Sandbox) -> openapi.Description:
    """Its OpenAPI document, read. Raises StateConflict, Unavailable."""
    api_base_url(sandbox)
    blueprint = blueprints.load(sandbox.blueprint)
    response = send(
        sandbox, ApiRequest("GET", blueprint.endpoints[blueprint.openapi_endpoint].openapi)
    )
    if not response.succeeded:
        raise Unavailable(f"Asked for the description of its API, it answered {response.status}.")
    if not response.complete:
        raise Unavailable("The description of its API is too large to be shown.")
    try:
        return openapi.read(response.body)
    except openapi.InvalidOpenAPIDocument as error:
        raise Unavailable(str(error)) from None
