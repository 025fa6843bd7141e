"""Settings of the process, from environment variables that the portal has, too."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

FALSE = ("", "0", "false", "no", "off")
WILDCARDS = ("", "0.0.0.0", "::")  # noqa: S104 - compared with, not bound to


@dataclass(frozen=True)
class Settings:
    """Where the portal is, and what this process offers."""

    portal_url: str
    """Where this process reaches the web process."""
    site_url: str
    """The portal's public address."""
    streams_url: str
    """The public address of this process; empty if it isn't offered."""
    mcp_enabled: bool
    portal_name: str

    @property
    def host(self) -> str:
        """The portal's public host, with the port if it isn't the usual one."""
        return urlsplit(self.site_url).netloc

    @property
    def scheme(self) -> str:
        """`https` or `http`, as clients reach the portal."""
        return urlsplit(self.site_url).scheme

    @property
    def origins(self) -> set[str]:
        """The origins of pages that may call this process."""
        addresses = (urlsplit(url) for url in (self.site_url, self.streams_url) if url)
        return {f"{address.scheme}://{address.netloc}" for address in addresses}


def read(environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings."""
    host, port = environment.get("HOST", ""), environment.get("PORT") or "8000"
    local = "127.0.0.1" if host in WILDCARDS else f"[{host}]" if ":" in host else host
    own = f"http://{local}:{port}"
    return Settings(
        portal_url=(environment.get("STREAMS_PORTAL_URL") or own).rstrip("/"),
        site_url=(environment.get("SITE_URL") or own).rstrip("/"),
        streams_url=environment.get("STREAMS_URL", "").rstrip("/"),
        mcp_enabled=environment.get("MCP_ENABLED", "true").lower() not in FALSE,
        portal_name=environment.get("PORTAL_NAME") or "Sandbox Portal",
    )
