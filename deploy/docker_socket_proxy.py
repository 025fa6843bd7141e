r"""A proxy for the Docker socket that allows only what the portal needs, on its own objects.

    SANDBOX_INSTANCE=production SANDBOX_SUBNETS=10.213.0.0/16 \
        python3 deploy/docker_socket_proxy.py /run/sandbox-portal-engine/engine.sock

For a portal on another machine, it listens on an address, with certificates on both sides:

        python3 deploy/docker_socket_proxy.py --tls 10.0.0.2:2376 --certificates DIRECTORY

`docs/socket-proxy.md` says what it promises. Uses only the standard library.
"""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import json
import logging
import os
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from socket_proxy.server import SocketProxy
from socket_proxy.settings import InvalidSetting, Settings
from socket_proxy.tls import Certificates, CertificatesUnusable

SOCKET_UMASK = 0o117
"""The socket's user and group may use it, no other user."""


class JSONFormatter(logging.Formatter):
    """One object a line, with the same fields as the portal's own lines."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        fields = {
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields)


def configure_logging(log_format: str) -> None:
    handler = logging.StreamHandler()
    text = logging.Formatter("%(levelname)s %(message)s")
    handler.setFormatter(JSONFormatter() if log_format == "json" else text)
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def main() -> None:
    options = parse_options()
    try:
        settings = Settings.from_environment(os.environ)
        certificates = Certificates(options.certificates) if options.tls else None
    except (InvalidSetting, CertificatesUnusable) as error:
        sys.exit(f"docker_socket_proxy: {error}")
    configure_logging(os.environ.get("LOG_FORMAT", ""))
    os.umask(SOCKET_UMASK)
    proxy = SocketProxy(settings)
    serving = (
        proxy.serve_tls(options.tls, certificates) if certificates else proxy.serve(options.socket)
    )
    with suppress(KeyboardInterrupt):
        asyncio.run(serving)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Filters the engine calls of one portal.")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("socket", nargs="?", type=Path, help="path of the socket to listen on")
    where.add_argument("--tls", type=address, metavar="HOST:PORT", help="address to listen on")
    parser.add_argument(
        "--certificates", type=Path, metavar="DIRECTORY", help="with ca.pem, cert.pem and key.pem"
    )
    options = parser.parse_args()
    if options.tls and not options.certificates:
        parser.error("--tls needs --certificates")
    return options


def address(given: str) -> tuple[str, int]:
    """Parse an IP address with a port; an IPv6 address is in brackets."""
    host, _, port = given.rpartition(":")
    return str(ipaddress.ip_address(host.strip("[]"))), int(port)


if __name__ == "__main__":
    main()
