"""URL policy of webhooks: only public web servers that aren't the portal's own (SSRF protection).

The portal's network may contain databases, the engine's host or a cloud's metadata service, and a
public address of the portal's machine leads to what listens there. The portal therefore resolves
host names itself, checks every address and the port, and connects to a checked address.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from concurrent.futures import Future
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from threading import Thread
from time import monotonic
from urllib.parse import SplitResult, urlsplit

from django.conf import settings

from sandboxes.lib.exceptions import ValidationFailed
from sandboxes.webhooks.own_addresses import interface_addresses, own_hosts

MAX_URL_LENGTH = 500
MAX_HOST_LENGTH = 253
LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE)
NUMBER = re.compile(r"(?:\d+|0x[0-9a-f]*)", re.IGNORECASE)
PRINTABLE = re.compile(r"[!-~]+")
"""ASCII without spaces and control characters."""
NAT64, PUBLIC = IPv6Network("64:ff9b::/96"), IPv6Network("2000::/3")
SPECIAL = [
    ip_network(text)
    for text in ("192.0.0.0/24", "192.52.193.0/24", "192.88.99.0/24", "2001:db8::/32", "3fff::/20")
]
"""Networks for special purposes that not every Python version knows as not global."""
OWN_LOOKUP_SECONDS = 2.0
OWN_LOOKUP_REUSED_SECONDS = 60
FULL_URL = "Enter a full URL, such as https://example.com/hook."
NOT_PUBLIC = "Webhook URLs must be publicly reachable."

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class BlockedAddress(OSError):
    """Webhooks may not be sent to this address or port."""


def check_url(url: str) -> str:
    """Return the normalized URL. Raises ValidationFailed if its form isn't allowed.

    Doesn't resolve the host: its addresses are checked on each delivery.
    """
    url = url.strip()
    if problem := _problem(url):
        raise ValidationFailed("url", problem)
    return url


def _problem(url: str) -> str:
    if len(url) > MAX_URL_LENGTH:
        return f"Use at most {MAX_URL_LENGTH} characters."
    if url and not PRINTABLE.fullmatch(url):
        return (
            "Use only ASCII characters without spaces; percent-encode others, and write an "
            "international host name in its xn-- form."
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return FULL_URL
    schemes = ("https", "http") if settings.WEBHOOK_ALLOW_HTTP else ("https",)
    if parts.scheme not in schemes or not parts.hostname:
        prefixes = ", ".join(f"{scheme}://" for scheme in schemes)
        return f"Enter a full URL that starts with {prefixes}."
    if parts.username is not None or parts.fragment:
        return "Remove user names, passwords and the part after “#”."
    return _port_problem(port) or _host_problem(parts)


def _port_problem(port: int | None) -> str:
    return "" if port is None or is_allowed_port(port) else f"Port {port} isn't allowed."


def is_allowed_port(port: int) -> bool:
    return any(port in ports for ports in settings.WEBHOOK_PORTS)


def _host_problem(parts: SplitResult) -> str:
    """Return what is wrong with the host: its form, or an address that isn't public."""
    host = parts.hostname or ""
    labels = host.split(".")
    if "[" in parts.netloc:
        return _ip_problem(host, IPv6Address)
    if NUMBER.fullmatch(labels[-1]):
        return _ip_problem(host, IPv4Address)
    if labels[-1].lower() == "localhost" and not settings.WEBHOOK_ALLOW_PRIVATE:
        return NOT_PUBLIC
    return _name_problem(host, labels)


def _ip_problem(host: str, kind: type[Address]) -> str:
    # Resolvers also read 127.1, 0x7f.1 and 2130706433 as addresses.
    try:
        kind(host)
    except ValueError:
        return "Write an IP address in its usual form, such as 192.0.2.1 or [2001:db8::1]."
    return "" if is_public(host) else NOT_PUBLIC


def _name_problem(host: str, labels: list[str]) -> str:
    if host.endswith("."):
        return "Remove the dot at the end of the host name."
    if len(host) > MAX_HOST_LENGTH or not all(LABEL.fullmatch(label) for label in labels):
        return (
            f"The host name isn't valid. It has at most {MAX_HOST_LENGTH} letters, digits, hyphens "
            "and dots, and at most 63 between two dots."
        )
    return "" if _is_idna(labels) else "The host name isn't a valid international domain name."


def _is_idna(labels: list[str]) -> bool:
    """Return whether the labels in xn-- form can be decoded."""
    encoded = [label[4:] for label in labels if label.lower().startswith("xn--")]
    try:
        decoded = [label.encode("ascii").decode("punycode") for label in encoded]
    except (ValueError, OverflowError):
        return False
    return all(text.isprintable() and not text.isascii() for text in decoded)


def is_public(address: str) -> bool:
    """Return whether this IP address is in no blocked network and public.

    It needn't be public if private addresses are allowed.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return bool(settings.WEBHOOK_ALLOW_PRIVATE)
    if isinstance(parsed, IPv6Address) and parsed.scope_id:
        # With the zone of an interface, it would differ from the same address without one.
        return False
    leads_to = list(_embedded_addresses(parsed))
    if _is_in([parsed, *leads_to], settings.WEBHOOK_BLOCKED_NETWORKS):
        return False
    if settings.WEBHOOK_ALLOW_PRIVATE:
        return True
    return not _is_in(leads_to, SPECIAL) and all(
        a.is_global and not a.is_multicast for a in leads_to
    )


def _is_in(addresses: list[Address], networks: list[Network]) -> bool:
    return any(address in network for address in addresses for network in networks)


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


def resolve(host: str, port: int, seconds: float) -> list[str]:
    """Return the addresses of the host, all checked, within a time in seconds.

    Raises BlockedAddress, TimeoutError, or another OSError if the host isn't known.
    """
    if not is_allowed_port(port):
        raise BlockedAddress(f"port {port} isn't allowed")
    addresses = _look_up(host, seconds)
    # One blocked address blocks the host: its owner controls the order of the addresses.
    if not all(is_public(address) for address in addresses):
        raise BlockedAddress(f"{host} resolves to a non-public address")
    if not settings.WEBHOOK_ALLOW_PRIVATE and _leads_to_portal(addresses):
        raise BlockedAddress(f"{host} resolves to an address of the portal itself")
    return addresses


def _leads_to_portal(addresses: list[str]) -> bool:
    own = interface_addresses()
    for host in own_hosts():
        own.update(_look_up_own(host, int(monotonic() / OWN_LOOKUP_REUSED_SECONDS)))
    parsed = {ip_address(address) for address in own}
    return any(a in parsed for text in addresses for a in _embedded_addresses(ip_address(text)))


@lru_cache(maxsize=8)
def _look_up_own(host: str, _period: int) -> list[str]:
    """Return the addresses of a host of the portal, or none if it can't be resolved soon."""
    try:
        return _look_up(host, OWN_LOOKUP_SECONDS)
    except OSError:
        return []


def _look_up(host: str, seconds: float) -> list[str]:
    """Return the addresses of a host. Raises OSError; TimeoutError when the time is over."""
    try:
        return [str(ip_address(host))]
    except ValueError:
        pass
    found: Future[list[str]] = Future()

    def ask() -> None:
        try:
            infos = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            found.set_result(list(dict.fromkeys(str(info[4][0]) for info in infos)))
        except OSError as error:
            found.set_exception(error)
        except ValueError:
            found.set_exception(OSError(f"“{host}” isn't a valid host name"))

    # The system's resolver has no time limit of its own that could be set.
    Thread(target=ask, daemon=True).start()
    return found.result(seconds)
