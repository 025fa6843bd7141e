"""Discovery of the OpenAPI document of a sandbox's API."""

from __future__ import annotations

from sandboxes import blueprints
from sandboxes.explorer import openapi
from sandboxes.explorer.client import ApiRequest, api_base_url, send
from sandboxes.lib.exceptions import Unavailable
from sandboxes.models import Sandbox


def fetch_openapi(sandbox: Sandbox) -> openapi.Description:
    """Fetch and parse the OpenAPI document. Raises StateConflict, Unavailable."""
    api_base_url(sandbox)
    blueprint = blueprints.for_sandbox(sandbox)
    endpoint = blueprint.endpoints[blueprint.openapi_endpoint]
    response = send(sandbox, ApiRequest("GET", endpoint.openapi, automatic=True))
    if not response.succeeded:
        raise Unavailable(f"The sandbox returned {response.status} for its OpenAPI document.")
    if not response.complete:
        raise Unavailable("The sandbox's OpenAPI document is too large.")
    try:
        return openapi.read(response.body, [endpoint.auth.header_name])
    except openapi.InvalidOpenAPIDocument as error:
        raise Unavailable(str(error)) from None
