"""The addresses of the portal's own machines, which webhooks must not reach."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from django.conf import settings

from sandboxes.models import Engine


def interface_addresses() -> set[str]:
    """Return the IP addresses of all network interfaces of this machine."""
    # Most processes never need the package.
    import psutil

    return {
        address.address.partition("%")[0]
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family in (socket.AF_INET, socket.AF_INET6)
    }


def own_hosts() -> set[str]:
    """Return the names and addresses of the portal, its sandboxes and its engines.

    Their addresses may belong to a proxy or router, and then to no interface of this machine.
    """
    urls = (urlsplit(settings.SITE_URL), urlsplit(settings.DOCKER_HOST))
    hosts = {url.hostname for url in urls if url.scheme != "unix"}
    hosts |= {settings.SANDBOX_PUBLIC_HOST, settings.SANDBOX_BIND_ADDRESS}
    for engine in Engine.objects.present():
        hosts |= {urlsplit(engine.address).hostname, engine.publish_address, engine.public_host}
    return {host.strip("[]") for host in hosts if host}
