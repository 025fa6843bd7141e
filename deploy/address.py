"""Check that the portal can listen at HOST and PORT, and say what follows from them.

Prints shell assignments of HOST, PORT, SITE_URL and ALLOWED_HOSTS; those that are set in the
environment stay as they are. Needs nothing but Python itself.
"""

from __future__ import annotations

import errno
import os
import shlex
import socket
import sys
from collections.abc import Mapping
from urllib.parse import urlsplit

LOCAL = ["127.0.0.1", "localhost", "[::1]"]
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - told apart from one address
HIGHEST_PORT = 65535


def port_of(text: str) -> int:
    """Raises SystemExit unless the text is a port."""
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= HIGHEST_PORT:
        raise SystemExit(f"✗ PORT={text} is no port; choose one from 1 to {HIGHEST_PORT}.")
    return int(text)


def listen(host: str, port: int) -> None:
    """Raises SystemExit with the reason when nobody can listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                other = port + 1 if port < HIGHEST_PORT else port - 1
                why = f"Port {port} is in use; stop what uses it, or take another: PORT={other}."
            else:
                why = f"Nobody can listen at HOST={host} PORT={port} ({error.strerror})."
            raise SystemExit(f"✗ {why}") from error


def own_address() -> str:
    """The address that others reach this machine at; no packet is sent to find it out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def follow(settings: Mapping[str, str]) -> dict[str, str]:
    """HOST, PORT, and what they mean for the portal's address and the names it answers to."""
    host, port = settings.get("HOST") or "127.0.0.1", settings.get("PORT") or "8000"
    shown = own_address() if host in EVERYWHERE else f"[{host}]" if ":" in host else host
    url = settings.get("SITE_URL") or f"http://{shown}:{port}"
    names = [*LOCAL, shown, urlsplit(url).hostname or shown]
    if host in EVERYWHERE:
        names.append(socket.gethostname())
    hosts = settings.get("ALLOWED_HOSTS") or ",".join(dict.fromkeys(names))
    return {"HOST": host, "PORT": port, "SITE_URL": url, "ALLOWED_HOSTS": hosts}


def main() -> None:
    values = follow(os.environ)
    listen(values["HOST"], port_of(values["PORT"]))
    for name, value in values.items():
        print(f"export {name}={shlex.quote(value)}")


if __name__ == "__main__":
    sys.exit(main())
