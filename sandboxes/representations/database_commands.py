"""Commands that open a database, by the scheme of its URL."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit


def client_and_command(url: str) -> tuple[str, str] | None:
    """Return the name of the database's command-line client, and the command with the URL.

    None if the URL isn't one of a database, or is invalid.
    """
    try:
        parts = urlsplit(url)
        # SQLAlchemy adds the driver to the scheme: postgresql+psycopg://…
        parts = parts._replace(scheme=parts.scheme.partition("+")[0])
        return COMMANDS[parts.scheme](parts) if parts.scheme in COMMANDS else None
    except ValueError:
        return None


def is_database(url: str) -> bool:
    """Return whether the URL, or a template of one, has the scheme of a database."""
    return url.partition(":")[0].partition("+")[0] in COMMANDS


def _psql(parts: SplitResult) -> tuple[str, str]:
    return "psql", shlex.join(["psql", urlunsplit(parts)])


def _redis_cli(parts: SplitResult) -> tuple[str, str]:
    return "redis-cli", shlex.join(["redis-cli", "-u", urlunsplit(parts)])


def _mysql(parts: SplitResult) -> tuple[str, str]:
    """Return the URL as options, since the client takes no URLs."""
    options = {
        "--protocol": "TCP",  # With “localhost” it would take a socket of this machine.
        "--host": parts.hostname,
        "--port": parts.port,
        "--user": parts.username and unquote(parts.username),
        "--password": parts.password and unquote(parts.password),
    }
    words = [f"{name}={value}" for name, value in options.items() if value]
    database = unquote(parts.path.strip("/"))
    return "mysql", shlex.join(["mysql", *words, *([database] if database else [])])


COMMANDS: Mapping[str, Callable[[SplitResult], tuple[str, str]]] = {
    "mariadb": _mysql,
    "mysql": _mysql,
    "postgres": _psql,
    "postgresql": _psql,
    "redis": _redis_cli,
    "rediss": _redis_cli,
}
"""By scheme."""
