"""System checks of the gateway's settings."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from django.conf import settings
from django.core import checks
from publicsuffixlist import PublicSuffixList

from sandboxes.blueprints import Access, folders
from sandboxes.checks.limits import Problem
from sandboxes.gateway import certificate

DOMAIN = re.compile(
    r"(?=.{1,190}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]"
)
"""190 characters leave room for the labels of sandboxes."""
MIN_TOKEN_LENGTH = 32


def check_gateway(**_: Any) -> list[checks.CheckMessage]:
    """Check the domain of sandboxes, its certificate, and the gateway's token."""
    if not settings.SANDBOX_DOMAIN:
        return []
    found: list[checks.CheckMessage] = [
        checks.Error(text, hint=hint, id="sandboxes.E030")
        for is_problem, text, hint in _domain_problems(settings.SANDBOX_DOMAIN)
        if is_problem
    ]
    if settings.SANDBOX_GATEWAY_CERTIFICATE:
        found += [
            checks.Error(text, hint=hint, id="sandboxes.E031")
            for text, hint in certificate.problems(settings.SANDBOX_DOMAIN, must_read_key=False)
        ]
    if not found and (current := certificate.read()):
        found += _expiry_warnings(current)
    return found


def _expiry_warnings(current: x509.Certificate) -> Iterator[checks.CheckMessage]:
    if certificate.remaining(current) <= certificate.RENEW_BEFORE:
        text = f"SANDBOX_GATEWAY_CERTIFICATE {certificate.expiry(current)}."
        hint = "Renew it; the gateway loads new files automatically."
        yield checks.Warning(text, hint=hint, id="sandboxes.W031")


def check_owner_only(**_: Any) -> list[checks.CheckMessage]:
    """Check that the gateway is the only way to sandboxes that only their owners may open."""
    guarded = [one.name for one in folders.valid().values() if one.access is Access.OWNER]
    if not guarded:
        return []
    text = f"Others can open sandboxes of {', '.join(guarded)}, which are for their owners only: "
    if not settings.SANDBOX_DOMAIN:
        text += "the portal has no gateway (SANDBOX_DOMAIN is empty)."
        hint = "Set up a gateway: docs/gateway.md."
    elif _is_public(settings.SANDBOX_BIND_ADDRESS):
        text += f"ports are published on {settings.SANDBOX_BIND_ADDRESS}, past the gateway."
        hint = "Set SANDBOX_BIND_ADDRESS to an address that only the gateway reaches."
    else:
        return []
    return [checks.Warning(text, hint=hint, id="sandboxes.W032")]


def _is_public(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False  # Another check reports it.
    return found.is_unspecified or found.is_global


def check_gateway_dns(**_: Any) -> list[checks.CheckMessage]:
    """Check that host names of sandboxes resolve. Asks a DNS server."""
    if not settings.SANDBOX_DOMAIN:
        return []
    name = f"sbx-check.{settings.SANDBOX_DOMAIN}"
    try:
        socket.getaddrinfo(name, settings.SANDBOX_GATEWAY_HTTPS_PORT)
    except OSError as error:
        text = f"The host name {name} doesn't resolve: {error.strerror or error}."
        hint = f"Add a DNS record for *.{settings.SANDBOX_DOMAIN} with the gateway's address."
        return [checks.Warning(text, hint=hint, id="sandboxes.W030")]
    return []


def _domain_problems(domain: str) -> Iterator[Problem]:
    portal = urlsplit(settings.SITE_URL).hostname or ""
    yield (
        not DOMAIN.fullmatch(domain),
        f"SANDBOX_DOMAIN is “{domain}”, which isn't a domain for host names of sandboxes.",
        "Use a domain of lower-case letters, digits and dashes, such as sandboxes.example.net.",
    )
    yield (
        bool(DOMAIN.fullmatch(domain)) and _same_site(domain, portal),
        f"SANDBOX_DOMAIN is {domain}: a sandbox's pages could set cookies of the portal, {portal}.",
        "Use a domain that is registered apart from the portal's.",
    )
    yield (
        len(settings.SANDBOX_GATEWAY_TOKEN) < MIN_TOKEN_LENGTH,
        f"SANDBOX_GATEWAY_TOKEN has fewer than {MIN_TOKEN_LENGTH} characters.",
        'Generate one with `python -c "import secrets; print(secrets.token_urlsafe(32))"`.',
    )
    yield (
        bool(settings.SANDBOX_GATEWAY_CERTIFICATE) == bool(settings.SANDBOX_GATEWAY_ACME_DNS),
        "The gateway needs either SANDBOX_GATEWAY_CERTIFICATE or SANDBOX_GATEWAY_ACME_DNS.",
        "Set one of them: docs/gateway.md. To try it, run `manage.py gateway_development_ca`.",
    )


def _same_site(first: str, second: str) -> bool:
    """Return whether both hosts are below the same registrable domain."""
    try:
        ipaddress.ip_address(second)
    except ValueError:
        suffixes = PublicSuffixList()
        sites = [suffixes.privatesuffix(host) or host for host in (first, second)]
        return sites[0] == sites[1] or second.endswith(f".{first}")
    return False
