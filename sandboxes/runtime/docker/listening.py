"""The ports on which a container listens, and those that its image names."""

from __future__ import annotations

from docker.errors import NotFound

from sandboxes.runtime import ServiceNotFound
from sandboxes.runtime.docker.client import EngineClient
from sandboxes.runtime.docker.exec_and_logs import run_command

SOCKETS = ("cat", "/proc/net/tcp", "/proc/net/tcp6")
LISTEN = "0A"
"""State of a listening socket, see proc_net_tcp in the kernel's documentation."""
LOOPBACK = ("0100007F", "00000000000000000000000001000000")
COMMAND_SECONDS = 5.0


def exposed_ports(engine: EngineClient, container_id: str) -> set[int]:
    """Return the TCP ports that the image or the blueprint names.

    Raises ServiceNotFound, EngineRefused, EngineUnreachable.
    """
    with engine.calling("inspect a container") as client:
        try:
            config = client.inspect_container(container_id)["Config"]
        except NotFound as error:
            raise ServiceNotFound("The container is gone.") from error
    named = (port.partition("/") for port in config.get("ExposedPorts") or ())
    return {int(number) for number, _, protocol in named if protocol == "tcp"}


def listening_ports(engine: EngineClient, container_id: str, service: str) -> set[int] | None:
    """Return the ports on which other containers can connect; None if they can't be read.

    Raises ServiceNotFound, EngineRefused, EngineUnreachable.
    """
    _, output = run_command(engine, container_id, service, SOCKETS, COMMAND_SECONDS)
    return parse_sockets(output)


def parse_sockets(text: str) -> set[int] | None:
    """Return the ports of listening sockets that are reachable from elsewhere; None without any.

    The text has the kernel's lists for IPv4 and IPv6, of which one may be missing.
    """
    if "local_address" not in text:
        return None
    found = set()
    for line in text.splitlines():
        words = line.split()
        if len(words) > 3 and words[3] == LISTEN:  # noqa: PLR2004 - sl, local, remote, state
            address, _, port = words[1].partition(":")
            if address not in LOOPBACK:
                found.add(int(port, 16))
    return found
