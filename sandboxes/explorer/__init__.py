"""Access from the portal to the API of a sandbox."""

from sandboxes.explorer.client import (
    ApiRequest,
    ApiResponse,
    PortalAccess,
    api_base_url,
    page_limit,
    portal_access,
    send,
    send_as_portal,
)
from sandboxes.explorer.spec import fetch_openapi

__all__ = [
    "ApiRequest",
    "ApiResponse",
    "PortalAccess",
    "api_base_url",
    "fetch_openapi",
    "page_limit",
    "portal_access",
    "send",
    "send_as_portal",
]
