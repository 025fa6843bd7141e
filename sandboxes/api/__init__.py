"""The REST API under `/api/v1/`.

It shows the same data as the pages, and changes sandboxes only through `sandboxes.actions`.
"""

from __future__ import annotations

from django.conf import settings

from sandboxes.api import launch, limits, observability, problems, save_points
from sandboxes.api.auth import READ
from sandboxes.api.explorer import request_log
from sandboxes.api.openapi import PortalAPI, ReferencePage
from sandboxes.api.webhooks import endpoints, inbox

__all__ = ["api"]

TAGS = {
    "Sandboxes": "Launch, extend, reset and destroy sandboxes, and read their credentials.",
    "Save points": "The data of a sandbox at one moment, to return to and to launch from.",
    "Observability": "The activity, logs and resource usage of a sandbox.",
    "APIs of sandboxes": "What a sandbox's own API offers, and requests to it.",
    "Events of sandboxes": "What happens in a sandbox, its webhook deliveries, and its clock.",
    "Limits and blueprints": "What you may launch, and when.",
    "Webhooks": "Messages to your server when the state of a sandbox changes.",
}

api = PortalAPI(
    title=settings.PORTAL_NAME,
    version="1",
    description=(
        "Private, disposable copies of an API, in seconds. Authenticate with an API token: "
        "`Authorization: Bearer sbp_…`."
    ),
    urls_namespace="api",
    auth=READ,
    docs=ReferencePage(),
    servers=[{"url": "/", "description": "This portal"}],
    openapi_extra={
        "info": {
            "contact": {"name": "The operators of this portal"},
            "license": {"name": "Proprietary", "identifier": "LicenseRef-Proprietary"},
        },
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
    },
)
problems.register_handlers(api)
for router in (
    launch.router,
    observability.router,
    request_log.router,
    save_points.router,
    inbox.router,
    limits.router,
    endpoints.router,
):
    api.add_router("", router)
