"""Where an engine is, and where clients reach the sandboxes that it runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class EngineConnection:
    """The addresses of one engine."""

    address: str = ""
    """A DOCKER_HOST: `unix://…`, `tcp://…`, `ssh://…`; empty for the default socket."""
    publish_address: str = "127.0.0.1"
    """The IP address of its machine on which ports are published."""
    public_host: str = ""
    """The host that users are shown; by default the publish address."""
    certificates: Path | None = None
    """Directory with `ca.pem`, `cert.pem` and `key.pem`; TLS on both sides is then required.

    Without it, DOCKER_TLS_VERIFY and DOCKER_CERT_PATH apply.
    """

    @property
    def is_local(self) -> bool:
        """Whether the engine runs on this machine, so that kernel counters can be read."""
        return not self.address or self.address.startswith("unix://")
