"""Look at sandboxes: their list, state, environment and logs."""

from __future__ import annotations

import shlex
import time
import webbrowser
from enum import StrEnum
from typing import Annotated, Any

import typer

from sandbox_client.commands import arguments
from sandbox_client.commands.output import (
    Json,
    options,
    print_json,
    print_sandbox,
    print_table,
    until,
)
from sandbox_client.errors import Conflict, SandboxError

ACTIVE = ("pending", "provisioning", "running", "destroying")
FOLLOW_SECONDS = 2
FOLLOWED_LINES = 1000


class Format(StrEnum):
    """Forms of environment variables."""

    DOTENV = "dotenv"
    SHELL = "shell"
    JSON = "json"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("ls")(list_sandboxes)
    app.command()(show)
    app.command("env")(environment)
    app.command("open")(open_page)
    app.command()(logs)
    app.command()(blueprints)


def list_sandboxes(
    everything: Annotated[
        bool, typer.Option("--all", "-a", help="Also those that have ended.")
    ] = False,
    metadata: arguments.Metadata = [],
    json: Json = False,
) -> None:
    """List your sandboxes."""
    with arguments.client() as portal:
        states = () if everything else ACTIVE
        found = list(portal.sandboxes(*states, metadata=arguments.pairs(metadata, "--metadata")))
    if options.json:
        print_json([sandbox.data for sandbox in found])
    elif found:
        print_table(
            ("ID", "NAME", "BLUEPRINT", "STATE", "ENDS IN"),
            (
                (each.id, each.name, each.blueprint, each.state, until(each.ends_at))
                for each in found
            ),
        )
    else:
        typer.echo("No sandboxes. Launch one with “sandbox up”.", err=True)


def show(which: arguments.Which = None, json: Json = False) -> None:
    """Show a sandbox."""
    with arguments.client() as portal:
        print_sandbox(arguments.find(portal, which))


def environment(
    which: arguments.Which = None,
    form: Annotated[Format, typer.Option("--format", help="How to print them.")] = Format.DOTENV,
) -> None:
    """Print URLs and credentials as environment variables."""
    with arguments.client() as portal:
        variables = arguments.find(portal, which).environment()
    if form is Format.JSON:
        print_json(variables)
        return
    prefix = "export " if form is Format.SHELL else ""
    for name, value in variables.items():
        typer.echo(f"{prefix}{name}={shlex.quote(value)}")


def open_page(
    which: arguments.Which = None,
    endpoint: Annotated[
        str | None, typer.Option(help="Open this endpoint instead of the portal's page.")
    ] = None,
) -> None:
    """Open a sandbox's page in the browser."""
    with arguments.client() as portal:
        sandbox = arguments.find(portal, which)
        page = f"{portal.url}/sandboxes/{sandbox.id}/"
    if endpoint:
        if endpoint not in sandbox.endpoints:
            known = ", ".join(sandbox.endpoints) or "none while it isn't running"
            raise SandboxError(f"{sandbox.id} has no endpoint {endpoint}. It has: {known}.")
        page = sandbox.endpoints[endpoint]
    typer.echo(page)
    webbrowser.open(page)


def logs(
    which: arguments.Which = None,
    service: Annotated[str | None, typer.Option("--service", "-s", help="A service.")] = None,
    tail: Annotated[int, typer.Option("--tail", "-n", min=1, max=1000, help="Lines.")] = 100,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Print new lines, too.")] = False,
) -> None:
    """Print the last log lines of a service."""
    with arguments.client() as portal:
        sandbox = arguments.find(portal, which)
        lines = sandbox.logs(service, tail).splitlines()
        _print_lines(lines)
        while follow:
            time.sleep(FOLLOW_SECONDS)
            # Asked before the lines are read, so that the last ones are printed, too.
            follow = sandbox.refresh().is_active
            try:
                latest = sandbox.logs(service, FOLLOWED_LINES).splitlines()
            except Conflict:  # It has ended.
                return
            _print_lines(latest[overlap(lines, latest) :])
            lines = latest


def overlap(before: list[str], after: list[str]) -> int:
    """Return how many of the lines `after` were already printed with those `before`."""
    if not before:
        return 0
    # The last line is looked for from the end; more lines decide if it occurs several times.
    for end in range(len(after), 0, -1):
        shared = min(end, len(before))
        if after[end - shared : end] == before[len(before) - shared :]:
            return end
    return 0


def blueprints(json: Json = False) -> None:
    """List what can be launched."""
    with arguments.client() as portal:
        found = portal.blueprints()
    if options.json:
        print_json(found)
        return
    print_table(
        ("NAME", "TITLE", "PARAMETERS"),
        (
            (
                f"{each['name']} (default)" if each["default"] else each["name"],
                each["title"],
                _defaults(each["parameters"]),
            )
            for each in found
            if each["can_launch"]
        ),
    )


def _defaults(parameters: dict[str, dict[str, Any]]) -> str:
    return ", ".join(f"{name}={value['default']}" for name, value in parameters.items())


def _print_lines(lines: list[str]) -> None:
    for line in lines:
        typer.echo(line)
