"""The REST API under `/api/v1/`.

It shows the same data as the pages, and changes sandboxes only through `sandboxes.actions`.
"""

from __future__ import annotations

from sandboxes.api import launch, limits, observability, problems, webhooks
from sandboxes.api.auth import READ
from sandboxes.api.openapi import PortalAPI

__all__ = ["api"]

api = PortalAPI(
    title="Sandbox Portal",
    version="1",
    description=(
        "Private, disposable copies of an API, in seconds. Authenticate with an API token: "
        "`Authorization: Bearer sbp_…`."
    ),
    urls_namespace="api",
    auth=READ,
)
problems.register_handlers(api)
for router in (launch.router, observability.router, limits.router, webhooks.router):
    api.add_router("", router)
