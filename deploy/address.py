"""Run a command with the portal's address checked, derived, and reserved: `address.py COMMAND…`.

The command gets HOST, PORT, SITE_URL and ALLOWED_HOSTS in its environment, and the address of the
process `streams`; values that are already set are kept. Runs before the virtual environment exists,
so it uses only the standard library.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import sys
from collections.abc import Mapping
from urllib.parse import urlsplit

LOCAL = ["127.0.0.1", "localhost", "[::1]"]
WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to
MAX_PORT = 65535
FIRST_INHERITED_FD = 20
"""Shell scripts use the file descriptors below it."""


def parse_port(text: str) -> int:
    """Return the port number. Raises SystemExit if the text isn't one."""
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MAX_PORT:
        raise SystemExit(f"✗ PORT={text} isn't a valid port. Choose one from 1 to {MAX_PORT}.")
    return int(text)


def reserve(host: str, port: int) -> socket.socket:
    """Bind the address without listening. Raises SystemExit with the reason if that fails.

    While the socket is open, Linux assigns the port to no other socket, whereas a server that asks
    for this very port, as gunicorn does with SO_REUSEADDR, can still bind it and listen.
    """
    reserved = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        reserved.bind((host, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            other = port + 1 if port < MAX_PORT else port - 1
            reason = (
                f"Port {port} is in use. Stop the process that uses it, or choose another port: "
                f"PORT={other}."
            )
        else:
            reason = (
                f"Couldn't listen on HOST={host} PORT={port} ({error.strerror}). "
                "Choose an address of this machine."
            )
        raise SystemExit(f"✗ {reason}") from error
    return reserved


def lan_address() -> str:
    """Return the address at which other machines reach this one, without sending a packet."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def derive_settings(settings: Mapping[str, str]) -> dict[str, str]:
    """Return HOST, PORT, SITE_URL, and ALLOWED_HOSTS, keeping the values that are given."""
    host, port = settings.get("HOST") or "127.0.0.1", settings.get("PORT") or "8000"
    shown = lan_address() if host in WILDCARDS else f"[{host}]" if ":" in host else host
    url = settings.get("SITE_URL") or f"http://{shown}:{port}"
    names = [*LOCAL, shown, urlsplit(url).hostname or shown]
    if host in WILDCARDS:
        names.append(socket.gethostname())
    hosts = settings.get("ALLOWED_HOSTS") or ",".join(dict.fromkeys(names))
    return {"HOST": host, "PORT": port, "SITE_URL": url, "ALLOWED_HOSTS": hosts}


def reserve_streams(values: Mapping[str, str]) -> tuple[socket.socket, dict[str, str]]:
    """Reserve the port of the process `streams`: STREAMS_PORT, or the next free one after PORT.

    Its URL is set if that of the portal is derived, too: otherwise a proxy is in front of both.
    """
    host, chosen = values["HOST"], os.environ.get("STREAMS_PORT")
    if chosen:
        reserved = reserve(host, parse_port(chosen))
    else:
        try:
            reserved = reserve(host, min(int(values["PORT"]) + 1, MAX_PORT))
        except SystemExit:
            reserved = reserve(host, 0)
    port = reserved.getsockname()[1]
    local = "127.0.0.1" if host in WILDCARDS else f"[{host}]" if ":" in host else host
    found = {
        "STREAMS_HOST": host,
        "STREAMS_PORT": str(port),
        "STREAMS_PORTAL_URL": f"http://{local}:{values['PORT']}",
    }
    if not os.environ.get("SITE_URL"):
        found["STREAMS_URL"] = f"{values['SITE_URL'].rpartition(':')[0]}:{port}"
    return reserved, found | {name: os.environ[name] for name in found if os.environ.get(name)}


def main(command: list[str]) -> None:
    values = derive_settings(os.environ)
    reserved = reserve(values["HOST"], parse_port(values["PORT"]))
    streams, own = reserve_streams(values)
    if sys.platform == "linux":  # Elsewhere nothing else could bind the ports.
        for each in (reserved, streams):
            fcntl.fcntl(each, fcntl.F_DUPFD, FIRST_INHERITED_FD)
    os.environ |= values | own
    os.execvp(command[0], command)  # noqa: S606 - replaces this process, without a shell


if __name__ == "__main__":
    main(sys.argv[1:])
