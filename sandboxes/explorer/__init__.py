"""Access from the portal's pages to the API of a sandbox."""

from sandboxes.explorer.client import (
    ApiRequest,
    ApiResponse,
    api_base_url,
    page_limit,
    send,
)
from sandboxes.explorer.spec import fetch_openapi

__all__ = ["ApiRequest", "ApiResponse", "api_base_url", "fetch_openapi", "page_limit", "send"]
