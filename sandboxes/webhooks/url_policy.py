"""Where webhooks may lead: to web servers that the whole world may reach, and nowhere else.

The portal stands in a network whose inside is none of its users' business: databases, the engine's
machine, the metadata service of a cloud. So names are resolved here, every address that comes of
it is checked, and the connection goes to the address that was checked.
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
    """The address is not one that the whole world may reach."""


def check_url(url: str) -> str:
    """The address as it is kept, if it has the form of one that may be told.

    Raises ValidationFailed.

    Asks no name server: what a name leads to is checked each time when something is sent there.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        words = "Give a complete address, such as https://example.com/hook."
        raise ValidationFailed("url", words) from None
    if problem := _problem(url, parts, port):
        raise ValidationFailed("url", problem)
    return url.strip()


def _problem(url: str, parts: SplitResult, port: int | None) -> str:
    schemes = ("https", "http") if settings.WEBHOOK_ALLOW_HTTP else ("https",)
    if not url.strip().isascii() or any(sign.isspace() for sign in url.strip()):
        return "Use ASCII characters alone, and no spaces; encode others."
    if parts.scheme not in schemes or not parts.hostname:
        prefixes = ", ".join(f"{scheme}://" for scheme in schemes)
        return f"Give a complete address that begins with {prefixes}."
    if parts.username is not None or parts.fragment or port == 0:
        return "Leave out user names, passwords and what follows a “#”."
    if len(url) > MAX_URL_LENGTH:
        return f"Use at most {MAX_URL_LENGTH} characters."
    if _is_ip_literal(parts.hostname) and not is_public(parts.hostname):
        return "This address is not public; the portal sends to public ones alone."
    return ""


def _is_ip_literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return host == "localhost"
    return True


def is_public(address: str) -> bool:
    """Whether it is public, or private ones are allowed here. Names are no addresses."""
    if settings.WEBHOOK_ALLOW_PRIVATE:
        return True
    try:
        found = ip_address(address)
    except ValueError:
        return False
    return all(one.is_global and not one.is_multicast for one in _embedded_addresses(found))


def _embedded_addresses(address: Address) -> Iterator[Address]:
    """The address, or the IPv4 addresses that it is another form of or leads through to."""
    if isinstance(address, IPv4Address):
        yield address
    elif address.ipv4_mapped:
        yield address.ipv4_mapped
    elif address in NAT64:
        yield IPv4Address(int(address) & 0xFFFFFFFF)
    else:
        # Beyond what is assigned for public use lie forms that Python takes for public ones.
        yield address if address in PUBLIC else IPv6Address("::")
        yield from (one for one in (address.sixtofour, *(address.teredo or ())) if one)


def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of the host, all checked. Raise BlockedAddress or OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
    # One that may not be reached condemns the name: whoever controls it would choose the order.
    if not all(is_public(address) for address in addresses):
        raise BlockedAddress(f"{host} leads to an address that is not public")
    return addresses
