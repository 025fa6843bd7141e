"""Traefik's static configuration: where it listens, and where it pulls its routes from.

https://doc.traefik.io/traefik/reference/install-configuration/configuration-options/
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.urls import reverse

from sandboxes.gateway.routes import CERT_RESOLVER, HTTPS_ENTRY_POINT, POSTGRESQL_ENTRY_POINT

HTTP_ENTRY_POINT = "web"
POLL_INTERVAL = "400ms"
POLL_TIMEOUT = "5s"
MIN_TIME_BETWEEN_CHANGES = "50ms"
"""Traefik's default of 2 s would delay the names of new sandboxes."""
IDLE_TIMEOUT = "180s"


def configuration(
    portal_url: str, address: str = "", acme_storage: str = "acme.json", portal_route: str = ""
) -> dict[str, Any]:
    """Return the static configuration.

    `portal_url` is where the gateway reaches the portal, `address` where it listens (all
    addresses if empty). `portal_route` is a file with the route of the portal itself, if the
    gateway is also the proxy in front of it.
    """
    https, postgresql = (
        f"{address}:{port}"
        for port in (
            settings.SANDBOX_GATEWAY_HTTPS_PORT,
            settings.SANDBOX_GATEWAY_POSTGRESQL_PORT,
        )
    )
    # Without a time limit for requests, so that large or slow uploads aren't cut off.
    timeouts = {"respondingTimeouts": {"readTimeout": 0, "idleTimeout": IDLE_TIMEOUT}}
    found: dict[str, Any] = {
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "log": {"level": "INFO"},
        "entryPoints": {
            HTTPS_ENTRY_POINT: {"address": https, "transport": timeouts},
            POSTGRESQL_ENTRY_POINT: {"address": postgresql},
        },
        "providers": {
            "providersThrottleDuration": MIN_TIME_BETWEEN_CHANGES,
            "http": {
                "endpoint": portal_url.rstrip("/") + reverse("gateway-routes"),
                "pollInterval": POLL_INTERVAL,
                "pollTimeout": POLL_TIMEOUT,
                "headers": {"Authorization": f"Bearer {settings.SANDBOX_GATEWAY_TOKEN}"},
            },
        },
    }
    if settings.SANDBOX_GATEWAY_HTTP_PORT:
        found["entryPoints"][HTTP_ENTRY_POINT] = {
            "address": f"{address}:{settings.SANDBOX_GATEWAY_HTTP_PORT}",
            "http": {"redirections": {"entryPoint": {"to": HTTPS_ENTRY_POINT, "scheme": "https"}}},
        }
    if portal_route:
        found["providers"]["file"] = {"filename": portal_route}
    if settings.SANDBOX_GATEWAY_ACME_DNS:
        acme = {
            "email": settings.SANDBOX_GATEWAY_ACME_EMAIL,
            "storage": acme_storage,
            "dnsChallenge": {"provider": settings.SANDBOX_GATEWAY_ACME_DNS},
        }
        found["certificatesResolvers"] = {CERT_RESOLVER: {"acme": acme}}
    return found
