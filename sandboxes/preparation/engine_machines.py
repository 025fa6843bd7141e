"""What the machine of an engine needs: a directory that `deploy/install.sh engine` sets it up from.

It holds the machine's own certificate and the settings of its socket proxy, and no secret of the
portal.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator

from sandboxes.lib.exceptions import ValidationFailed
from sandboxes.models.engine import NAME
from sandboxes.preparation.engine_certificates import (
    OPERATOR,
    PORTAL,
    Authority,
    write,
)
from sandboxes.runtime.port_rotation import HOST_PORTS

HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|[0-9a-fA-F:]{2,39}")
DEFAULT_PORT = 2376
MAX_PORT = 65_535
MAX_DAYS = 3650
PASSED_ON = (
    "SANDBOX_INSTANCE",
    "SANDBOX_SUBNETS",
    "SANDBOX_CONTAINER_RUNTIME",
    "SANDBOX_ROOT_SERVICES",
    "SANDBOX_MEMORY_MB",
    "SANDBOX_MEMORY_MAX_MB",
    "SANDBOX_CPUS",
    "SANDBOX_CPUS_MAX",
    "SANDBOX_DISK_MB",
    "SANDBOX_DISK_MAX_MB",
)
"""Settings to which the socket proxy holds containers and networks."""
PROXY_VARIABLES = ("SOCKET_PROXY_IMAGES", "SOCKET_PROXY_MAX_PIDS", "SOCKET_PROXY_MAX_OPEN_FILES")
"""Those that only the socket proxy reads, from the environment of this command."""


@dataclass(frozen=True)
class EngineMachine:
    """A machine for one engine, and how the portal reaches it."""

    name: str
    hosts: Sequence[str]
    """Addresses for which its certificate is valid; the portal uses the first."""
    publish_address: str
    port: int = DEFAULT_PORT

    def check(self) -> None:
        """Raise ValidationFailed with the field and the remedy."""
        try:
            RegexValidator(NAME, "Use lowercase letters, digits and hyphens.")(self.name)
        except ValidationError as error:
            raise ValidationFailed("name", " ".join(error.messages)) from error
        for host in self.hosts:
            if not HOST.fullmatch(host):
                raise ValidationFailed("host", f"“{host}” isn't an IP address or a host name.")
        if not self.hosts:
            raise ValidationFailed("host", "Name the address at which the portal reaches it.")
        if not 1 <= self.port <= MAX_PORT:
            raise ValidationFailed("port", f"Use a number from 1 to {MAX_PORT}.")
        try:
            published = ip_address(self.publish_address)
        except ValueError:
            raise ValidationFailed(
                "publish_address", "Name an IP address of its machine."
            ) from None
        if published.is_loopback or published.is_unspecified:
            raise ValidationFailed(
                "publish_address",
                "Name an address of its machine that the portal and its users reach.",
            )

    @property
    def address(self) -> str:
        return f"tcp://{_bracketed(self.hosts[0])}:{self.port}"

    @property
    def _listen_address(self) -> str:
        """Where the proxy listens: at the publish address, unless the host is an address, too."""
        host = self.publish_address
        with suppress(ValueError):
            host = str(ip_address(self.hosts[0]))
        return f"{_bracketed(host)}:{self.port}"

    def environment(self) -> str:
        """Return the settings of its socket proxy, as a file that shells and systemd read."""
        ports = settings.SANDBOX_PORTS or HOST_PORTS
        values: dict[str, object] = {name: getattr(settings, name) for name in PASSED_ON}
        values |= {
            "SANDBOX_BIND_ADDRESS": self.publish_address,
            "SANDBOX_PORTS": f"{ports.start}-{ports.stop - 1}",
            "SOCKET_PROXY_CLIENT": PORTAL,
            "ENGINE_TLS": self._listen_address,
        }
        values |= {name: os.environ[name] for name in PROXY_VARIABLES if os.environ.get(name)}
        return _lines(values)

    def write(self, directory: Path, authority: Authority, days: int, firewall: str) -> None:
        """Write the directory; replace an earlier certificate. Raises OSError."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        authority.issue_for_engine(directory, self.name, self.hosts, days)
        write(directory / "engine.env", self.environment().encode(), 0o600)
        write(directory / "firewall.sh", firewall.encode(), 0o600)


def renew_clients(authority: Authority, days: int, *, force: bool = False) -> list[str]:
    """Issue certificates for the portal and the operator, where they end soon or are missing.

    Return the names of those that are new. Raises OSError.
    """
    directories = {
        PORTAL: Path(settings.SANDBOX_ENGINE_CERTIFICATES),
        OPERATOR: Path(settings.SANDBOX_ENGINE_CA) / "operator",
    }
    renewed = []
    for name, directory in directories.items():
        if force:
            authority.issue_for_client(directory, name, days)
            renewed.append(name)
        elif authority.renew_for_client(directory, name, days):
            renewed.append(name)
    return renewed


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _lines(values: Mapping[str, object]) -> str:
    texts = {name: str(value) for name, value in values.items() if value not in ("", None)}
    return "".join(f"{name}={shlex.quote(text)}\n" for name, text in texts.items())
