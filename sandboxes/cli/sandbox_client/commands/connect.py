"""Use a sandbox's API and database with curl and psql, credentials included."""

from __future__ import annotations

import os
import shutil
from typing import Annotated, TypeVar
from urllib.parse import unquote, urlsplit, urlunsplit

import typer

from sandbox_client.commands import arguments
from sandbox_client.errors import SandboxError

T = TypeVar("T")
PASS_ON = {"allow_interspersed_args": False, "ignore_unknown_options": True}

Sandbox = Annotated[
    str | None, typer.Option("--sandbox", help="Its ID or name, if you have several.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(context_settings=PASS_ON)(curl)
    app.command(context_settings=PASS_ON)(psql)


def curl(
    path: Annotated[str, typer.Argument(help="Such as /v1/orders.")],
    extra: Annotated[
        list[str] | None, typer.Argument(metavar="[CURL OPTIONS]...", help="Passed to curl.")
    ] = None,
    sandbox: Sandbox = None,
    endpoint: Annotated[
        str | None, typer.Option(help="The endpoint, if the sandbox has several APIs.")
    ] = None,
) -> None:
    """Send a request to a sandbox's API with curl."""
    program = _program("curl")
    with arguments.client() as portal:
        found = arguments.find(portal, sandbox).connections()
        token = portal.token
    access = _choose(found["apis"], endpoint or found["default_api"], "API", "--endpoint")
    # By a pipe, since every user of this machine can read a command's arguments.
    readable, writable = os.pipe()
    headers = dict(access["headers"])
    # An older portal doesn't name it.
    if token_header := access.get("portal_token_header"):
        headers[token_header] = token
    lines = "".join(f"{name}: {value}\n" for name, value in headers.items())
    os.write(writable, lines.encode())
    os.close(writable)
    os.set_inheritable(readable, True)
    url = access["url"].rstrip("/") + "/" + path.lstrip("/")
    quiet = ["--silent", "--show-error"]
    os.execv(program, ["curl", *quiet, "-H", f"@/dev/fd/{readable}", *(extra or []), url])


def psql(
    extra: Annotated[
        list[str] | None, typer.Argument(metavar="[PSQL OPTIONS]...", help="Passed to psql.")
    ] = None,
    sandbox: Sandbox = None,
    database: Annotated[
        str | None, typer.Option(help="The credential, if the sandbox has several databases.")
    ] = None,
) -> None:
    """Open a sandbox's PostgreSQL database with psql."""
    program = _program("psql")
    with arguments.client() as portal:
        databases = arguments.find(portal, sandbox).connections()["databases"]
    urls = {
        name: url
        for name, url in databases.items()
        if urlsplit(url).scheme.partition("+")[0] in ("postgres", "postgresql")
    }
    parts = urlsplit(_choose(urls, database, "PostgreSQL database", "--database"))
    environment = dict(os.environ)
    if parts.password:
        environment["PGPASSWORD"] = unquote(parts.password)
    address = parts.netloc.rpartition("@")[2]
    user = f"{parts.username}@" if parts.username else ""
    url = urlunsplit(("postgresql", f"{user}{address}", parts.path, parts.query, ""))
    os.execve(program, ["psql", *(extra or []), url], environment)


def _program(name: str) -> str:
    if found := shutil.which(name):
        return found
    raise SandboxError(f"{name} is not installed, or not in PATH.")


def _choose(found: dict[str, T], name: str | None, noun: str, option: str) -> T:
    """Return the item with this name, or the only one. Raises SandboxError."""
    if name in found:
        return found[name]
    if not found:
        raise SandboxError(f"This sandbox has no {noun}.")
    if name is None and len(found) == 1:
        return next(iter(found.values()))
    raise SandboxError(f"Choose one with {option}: {', '.join(found)}.")
