"""Host names of endpoints, and URLs with them."""

from __future__ import annotations

import re
from enum import StrEnum
from urllib.parse import parse_qsl, urlencode

from django.conf import settings

from sandboxes.blueprints import Access, Blueprint, Endpoint, Locate, host_label, substitute_address

HTTPS_PORT = 443
POSTGRESQL_URL = re.compile(r"(?:jdbc:)?postgres(?:ql)?(?:\+\w+)?://")


class Protocol(StrEnum):
    """What the gateway forwards."""

    HTTP = "http"
    POSTGRESQL = "postgresql"


def protocol(endpoint: Endpoint) -> Protocol | None:
    """Return the protocol of an endpoint; None if the gateway doesn't know it."""
    if endpoint.is_http:
        return Protocol.HTTP
    return Protocol.POSTGRESQL if POSTGRESQL_URL.match(endpoint.url) else None


def label(public_id: str, endpoint: str) -> str:
    """Return the first label of an endpoint's host name: at most 62 letters, digits and dashes."""
    return f"{public_id.replace('_', '-')}--{host_label(endpoint)}"


def host(public_id: str, endpoint: str) -> str:
    """Return the host name of an endpoint."""
    return f"{label(public_id, endpoint)}.{settings.SANDBOX_DOMAIN}"


def public_id(label: str) -> str:
    """Return the id of the sandbox to which the first label of a host name belongs."""
    return label.partition("--")[0].replace("-", "_")


def origin(label: str) -> str:
    """Return the origin of an HTTP endpoint, as browsers name it."""
    return https_url("https://{host}:{port}", f"{label}.{settings.SANDBOX_DOMAIN}")


def is_owner_only(blueprint: Blueprint) -> bool:
    """Return whether the gateway admits only the owners of the blueprint's sandboxes."""
    return bool(settings.SANDBOX_DOMAIN) and blueprint.access is Access.OWNER


def locator(public_id: str) -> Locate:
    """Return what fills the public addresses of a sandbox into texts.

    That is the host name at the gateway or, without SANDBOX_DOMAIN or for other protocols, the
    published address.
    """

    def locate(text: str, name: str, endpoint: Endpoint, address: str) -> str:
        if not settings.SANDBOX_DOMAIN:
            return substitute_address(text, address)
        match protocol(endpoint):
            case Protocol.HTTP:
                return https_url(text, host(public_id, name))
            case Protocol.POSTGRESQL:
                return postgresql_url(text, host(public_id, name))
        return substitute_address(text, address)

    return locate


def https_url(text: str, name: str) -> str:
    """Fill a host name into the URL of an HTTP endpoint."""
    port = settings.SANDBOX_GATEWAY_HTTPS_PORT
    place = name if port == HTTPS_PORT else f"{name}:{port}"
    text = re.sub("^http://", "https://", text).replace("{host}:{port}", place)
    return substitute_address(text, f"{name}:{port}")


def postgresql_url(text: str, name: str) -> str:
    """Fill a host name into the URL of a database, and require its certificate."""
    text = substitute_address(text, f"{name}:{settings.SANDBOX_GATEWAY_POSTGRESQL_PORT}")
    if not POSTGRESQL_URL.match(text):
        return text
    base, _, query = text.partition("?")
    options = dict(parse_qsl(query)) | {"sslmode": "verify-full"}
    return f"{base}?{urlencode(options)}"
