"""The REST API: what a developer's programs may ask of the portal, under `/api/v1/`.

It says nothing that the pages don't say, and does nothing but through `sandboxes.actions`.
"""

from __future__ import annotations

from sandboxes.api import (
    launch,
    limits,
    observability,
    problems,
    webhooks,
)
from sandboxes.api.auth import READ
from sandboxes.api.openapi import PortalAPI

__all__ = ["api"]

api = PortalAPI(
    title="Sandbox Portal",
    version="1",
    description=(
        "Private, disposable copies of an API, in seconds. Authenticate with a token of the "
        "portal as `Authorization: Bearer sbp_…`."
    ),
    urls_namespace="api",
    auth=READ,
)
problems.register_handlers(api)
for router in (launch.router, observability.router, limits.router, webhooks.router):
    api.add_router("", router)
