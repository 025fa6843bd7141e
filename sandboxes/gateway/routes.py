"""The gateway's routes, as a function of rows, in the format of Traefik's HTTP provider.

https://doc.traefik.io/traefik/reference/install-configuration/providers/others/http/
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple, cast

from django.conf import settings
from django.urls import reverse

from sandboxes import blueprints
from sandboxes.gateway import access, certificate, names
from sandboxes.gateway.names import Protocol
from sandboxes.models import ReservedPort, Sandbox, State
from sandboxes.runtime import DEFAULT_ENGINE
from sandboxes.runtime.probing import probe_host

ROUTED_STATES = (State.PROVISIONING, State.POOLED, State.RUNNING)
"""Pooled sandboxes have their routes before they are claimed, so that their names work at once."""
CERT_RESOLVER = "sandboxes"
HTTPS_ENTRY_POINT = "websecure"
POSTGRESQL_ENTRY_POINT = "postgresql"
POSTGRESQL_ALPN = "postgresql"
"""The protocol that clients name when they negotiate TLS directly, since PostgreSQL 17."""
OPEN = "open"
"""Name of the middleware of sandboxes that everyone reaches."""
FLUSH_AT_ONCE = "-1ms"
"""A negative interval: each write of a sandbox is forwarded at once."""


Endpoints = dict[tuple[str, int], list[tuple[str, Protocol, bool]]]
"""Name, protocol, and whether only owners are admitted, of endpoints by service and port."""


class Route(NamedTuple):
    """A host name, and the published port to which it leads."""

    label: str
    protocol: Protocol
    address: str
    is_owner_only: bool = False


def current() -> list[Route]:
    """Return the routes to all sandboxes that exist, or are being created."""
    selected = ReservedPort.objects.filter(sandbox__state__in=ROUTED_STATES).values_list(
        "sandbox__public_id",
        "sandbox__blueprint",
        "sandbox__blueprint_version_id",
        "sandbox__engine_id",
        "service",
        "target",
        "address",
        "port",
    )
    # By the digest, which is the foreign key; its stubs have the type of the primary key.
    rows = cast("Iterable[tuple[str, str, str | None, str, str, int, str, int]]", selected)
    known: dict[tuple[str, str | None], Endpoints] = {}
    upstream_of = cache(_upstream)
    found = []
    for public_id, blueprint, version, engine, service, target, address, port in rows:
        if (blueprint, version) not in known:
            known[blueprint, version] = _endpoints(blueprint, version)
        for name, protocol, owner_only in known[blueprint, version].get((service, target), ()):
            label = names.label(public_id, name)
            upstream = upstream_of(engine, address)
            found.append(Route(label, protocol, f"{upstream}:{port}", owner_only))
    return sorted(found)


def _upstream(engine: str, address: str) -> str:
    """Return where the gateway reaches the ports that an engine publishes at an address."""
    if engine == DEFAULT_ENGINE:
        address = settings.SANDBOX_GATEWAY_UPSTREAM or probe_host(
            settings.SANDBOX_BIND_ADDRESS, settings.DOCKER_HOST
        )
    return blueprints.url_host(address)


def _endpoints(blueprint: str, version: str | None) -> Endpoints:
    row = Sandbox(blueprint=blueprint, blueprint_version_id=version)
    found: Endpoints = {}
    if known := blueprints.find_for_sandbox(row):
        owner_only = names.is_owner_only(known)
        for name, endpoint in known.endpoints.items():
            if protocol := names.protocol(endpoint):
                key = (endpoint.service, endpoint.port)
                is_guarded = owner_only and protocol is Protocol.HTTP
                found.setdefault(key, []).append((name, protocol, is_guarded))
    return found


def configuration(routes: Iterable[Route], portal_url: str) -> dict[str, Any]:
    """Return the dynamic configuration of Traefik with these routes.

    `portal_url` is where the gateway reaches the portal.
    """
    http = [route for route in routes if route.protocol is Protocol.HTTP]
    tcp = [route for route in routes if route.protocol is Protocol.POSTGRESQL]
    domain, tls = settings.SANDBOX_DOMAIN, _certificate()
    found: dict[str, Any] = {"tls": _tls()}
    # Traefik rejects sections without content.
    if http:
        found["http"] = {
            "routers": {one.label: _http_router(one, domain, tls) for one in http},
            "services": {one.label: _http_service(one) for one in http},
        }
        found["http"]["middlewares"] = {OPEN: _without_token()} | {
            one.label: _forward_auth(one, portal_url) for one in http if one.is_owner_only
        }
    if tcp:
        found["tcp"] = {
            "routers": {one.label: _tcp_router(one, domain, tls) for one in tcp},
            "services": {
                one.label: {"loadBalancer": {"servers": [{"address": one.address}]}} for one in tcp
            },
        }
    return found


def _http_router(route: Route, domain: str, tls: dict[str, Any]) -> dict[str, Any]:
    return {
        "entryPoints": [HTTPS_ENTRY_POINT],
        "rule": f"Host(`{route.label}.{domain}`)",
        "service": route.label,
        "tls": tls,
        "middlewares": [route.label if route.is_owner_only else OPEN],
    }


def _without_token() -> dict[str, Any]:
    """Return the middleware that removes a token that was sent to an open sandbox by mistake."""
    return {"headers": {"customRequestHeaders": {access.TOKEN_HEADER: ""}}}


def _forward_auth(route: Route, portal_url: str) -> dict[str, Any]:
    """Return the middleware that asks the portal for each request.

    The label is part of the URL, so that no header decides which sandbox it is about.
    """
    return {
        "forwardAuth": {
            "address": portal_url + reverse("gateway-authorize", args=[route.label]),
            "authRequestHeaders": list(access.REQUEST_HEADERS),
            "authResponseHeaders": list(access.REPLACED_HEADERS),
        }
    }


def _http_service(route: Route) -> dict[str, Any]:
    return {
        "loadBalancer": {
            "servers": [{"url": f"http://{route.address}"}],
            "responseForwarding": {"flushInterval": FLUSH_AT_ONCE},
        }
    }


def _tcp_router(route: Route, domain: str, tls: dict[str, Any]) -> dict[str, Any]:
    return {
        "entryPoints": [POSTGRESQL_ENTRY_POINT],
        "rule": f"HostSNI(`{route.label}.{domain}`)",
        "service": route.label,
        "tls": tls | {"options": POSTGRESQL_ALPN},
    }


def _certificate() -> dict[str, Any]:
    """Return the section of a router that says where its certificate comes from."""
    if not settings.SANDBOX_GATEWAY_ACME_DNS:
        return {}
    domain = settings.SANDBOX_DOMAIN
    wildcard = {"main": domain, "sans": [f"*.{domain}"]}
    return {"certResolver": CERT_RESOLVER, "domains": [wildcard]}


def _tls() -> dict[str, Any]:
    minimum = {"minVersion": "VersionTLS12"}
    found: dict[str, Any] = {
        "options": {
            "default": minimum,
            POSTGRESQL_ALPN: minimum | {"alpnProtocols": [POSTGRESQL_ALPN]},
        }
    }
    if settings.SANDBOX_GATEWAY_CERTIFICATE:
        # Traefik reads the files when the configuration changes, so a renewal must change it.
        found["options"][f"certificate-{certificate.fingerprint()}"] = minimum
        pair = {
            "certFile": settings.SANDBOX_GATEWAY_CERTIFICATE,
            "keyFile": settings.SANDBOX_GATEWAY_KEY,
        }
        found |= {"certificates": [pair], "stores": {"default": {"defaultCertificate": pair}}}
    return found
