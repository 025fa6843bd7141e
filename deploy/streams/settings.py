"""Settings of the process, from environment variables that it shares with the portal."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

FALSE = ("", "0", "false", "no", "off")
LOCAL = "http://127.0.0.1:8000"


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
    def hosts(self) -> set[str]:
        """The hosts at which clients reach this process."""
        return {urlsplit(url).netloc for url in (self.site_url, self.streams_url) if url}

    @property
    def origins(self) -> set[str]:
        """The origins of pages that may call this process."""
        addresses = (urlsplit(url) for url in (self.site_url, self.streams_url) if url)
        return {f"{address.scheme}://{address.netloc}" for address in addresses}


def read(environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings."""
    return Settings(
        # Not from PORT, which process managers such as Honcho set for each process.
        portal_url=(environment.get("STREAMS_PORTAL_URL") or LOCAL).rstrip("/"),
        site_url=(environment.get("SITE_URL") or LOCAL).rstrip("/"),
        streams_url=environment.get("STREAMS_URL", "").rstrip("/"),
        mcp_enabled=environment.get("MCP_ENABLED", "true").lower() not in FALSE,
        portal_name=environment.get("PORTAL_NAME") or "Sandbox Portal",
    )
