"""URL policy of webhooks: only publicly reachable web servers (SSRF protection).

The portal's network may contain databases, the engine's host or a cloud's metadata service. The
portal therefore resolves host names itself, checks every address, and connects to a checked one.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import SplitResult, urlsplit

from django.conf import settings

from sandboxes.lib.exceptions import ValidationFailed

MAX_URL_LENGTH = 500
NAT64, PUBLIC = IPv6Network("64:ff9b::/96"), IPv6Network("2000::/3")

Address = IPv4Address | IPv6Address


class BlockedAddress(OSError):
    """The address isn't publicly reachable."""


def check_url(url: str) -> str:
    """Return the normalized URL. Raise ValidationFailed if its form isn't allowed.

    Doesn't resolve the host: its addresses are checked on each delivery.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        message = "Enter a full URL, such as https://example.com/hook."
        raise ValidationFailed("url", message) from None
    if problem := _problem(url, parts, port):
        raise ValidationFailed("url", problem)
    return url.strip()


def _problem(url: str, parts: SplitResult, port: int | None) -> str:
    schemes = ("https", "http") if settings.WEBHOOK_ALLOW_HTTP else ("https",)
    if not url.strip().isascii() or any(character.isspace() for character in url.strip()):
        return "Use only ASCII characters without spaces; percent-encode others."
    if parts.scheme not in schemes or not parts.hostname:
        prefixes = ", ".join(f"{scheme}://" for scheme in schemes)
        return f"Enter a full URL that starts with {prefixes}."
    if parts.username is not None or parts.fragment or port == 0:
        return "Remove user names, passwords and the part after “#”."
    if len(url) > MAX_URL_LENGTH:
        return f"Use at most {MAX_URL_LENGTH} characters."
    if _is_ip_literal(parts.hostname) and not is_public(parts.hostname):
        return "Webhook URLs must be publicly reachable."
    return ""


def _is_ip_literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return host == "localhost"
    return True


def is_public(address: str) -> bool:
    """Return whether this IP address is public, or private ones are allowed."""
    if settings.WEBHOOK_ALLOW_PRIVATE:
        return True
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return all(a.is_global and not a.is_multicast for a in _embedded_addresses(parsed))


def _embedded_addresses(address: Address) -> Iterator[Address]:
    """Yield the address, or the IPv4 addresses that it maps or tunnels to."""
    if isinstance(address, IPv4Address):
        yield address
    elif address.ipv4_mapped:
        yield address.ipv4_mapped
    elif address in NAT64:
        yield IPv4Address(int(address) & 0xFFFFFFFF)
    else:
        # Python considers some addresses outside the assigned public range as global.
        yield address if address in PUBLIC else IPv6Address("::")
        yield from (a for a in (address.sixtofour, *(address.teredo or ())) if a)


def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of the host, all checked. Raise BlockedAddress or OSError."""
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(info[4][0]) for info in infos))
    # One blocked address blocks the host: its owner controls the order of the addresses.
    if not all(is_public(address) for address in addresses):
        raise BlockedAddress(f"{host} resolves to a non-public address")
    return addresses
