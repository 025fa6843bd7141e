"""Settings from environment variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

MIN_KEY_LENGTH = 16
MAX_PORT = 65535


class SettingsError(Exception):
    """A variable is missing or invalid; the message is one sentence for the log."""


class Settings(NamedTuple):
    """The API key, the database, and the address to listen on.

    If ``database_url`` is empty, libpq reads its own variables (``PGHOST``, ``PGPASSWORD`` ...).
    """

    api_key: str
    database_url: str = ""
    host: str = "127.0.0.1"
    port: int = 8080
    scenario: str = "standard"
    """Which data the database starts with."""
    portal_key: str = ""
    """A second key, with which the portal reads events and records deliveries; optional."""
    stellar_address: str = ""
    """The sandbox's account on Stellar's network; optional."""


def from_environment(environ: Mapping[str, str]) -> Settings:
    """Read ``API_KEY``, ``DATABASE_URL``, ``HOST``, ``PORT`` and the optional variables.

    Raises SettingsError.
    """
    api_key = environ.get("API_KEY", "")
    if len(api_key) < MIN_KEY_LENGTH:
        raise SettingsError(f"API_KEY must be set, to at least {MIN_KEY_LENGTH} characters")
    database_url = environ.get("DATABASE_URL", "")
    if not database_url and "PGHOST" not in environ:
        raise SettingsError(
            "DATABASE_URL must be set, such as postgresql://user:password@host/billing"
        )
    host = environ.get("HOST", Settings._field_defaults["host"])
    scenario = environ.get("SCENARIO") or Settings._field_defaults["scenario"]
    port, portal_key = _port(environ.get("PORT", "8080")), environ.get("PORTAL_KEY", "")
    address = environ.get("STELLAR_ADDRESS", "")
    return Settings(api_key, database_url, host, port, scenario, portal_key, address)


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and 1 <= int(text) <= MAX_PORT:
        return int(text)
    raise SettingsError(f"PORT is {text!r}; it must be a number from 1 to {MAX_PORT}")
