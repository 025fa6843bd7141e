"""The ports of the gateway: whether they are free, and which certificate it presents."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator

from cryptography import x509
from django.conf import settings

from sandboxes.gateway import certificate

CONNECT_SECONDS = 3
PORTS = (
    "SANDBOX_GATEWAY_HTTP_PORT",
    "SANDBOX_GATEWAY_HTTPS_PORT",
    "SANDBOX_GATEWAY_POSTGRESQL_PORT",
)


def taken_ports(address: str) -> Iterator[tuple[str, int]]:
    """Yield settings and ports on which another program than the gateway listens.

    `address` is where the gateway listens (all addresses if empty).
    """
    own = presented_certificate(address or "127.0.0.1")
    if own and certificate.covers(own, settings.SANDBOX_DOMAIN):
        return  # The gateway runs.
    for name in PORTS:
        if (port := getattr(settings, name)) and _is_taken(address, port):
            yield name, port


def _is_taken(address: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            # Another socket may be bound with the same option, but only one listens.
            probe.listen(1)
        except OSError as error:
            # Other errors, such as a missing permission, may not concern the gateway's user.
            return error.errno == errno.EADDRINUSE
    return False


def presented_certificate(host: str) -> x509.Certificate | None:
    """Return the certificate that the HTTPS port presents for a sandbox, without verifying it.

    None if there is no connection, or no TLS.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    place = (host, settings.SANDBOX_GATEWAY_HTTPS_PORT)
    name = f"sbx-check.{settings.SANDBOX_DOMAIN}"
    try:
        with (
            socket.create_connection(place, CONNECT_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=name) as connection,
        ):
            found = connection.getpeercert(binary_form=True)
    except OSError:
        return None
    return x509.load_der_x509_certificate(found) if found else None
