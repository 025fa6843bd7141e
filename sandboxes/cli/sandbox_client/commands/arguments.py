"""Arguments and options that several commands share."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sandbox_client.errors import NotFound, SandboxError

if TYPE_CHECKING:
    from sandbox_client.synchronous import Client, Sandbox

DURATION = re.compile(r"(?:(?P<hours>\d+)h)?(?:(?P<minutes>\d+)m?)?")

Which = Annotated[
    str | None,
    typer.Argument(
        metavar="[SANDBOX]",
        help="Its ID or name. May be left out if you have just one.",
        show_default=False,
    ),
]
Blueprint = Annotated[
    str | None,
    typer.Argument(
        metavar="[BLUEPRINT]", help="By default, that of the portal.", show_default=False
    ),
]
Name = Annotated[str | None, typer.Option(help="A name for the sandbox.", show_default=False)]
Ttl = Annotated[
    str | None,
    typer.Option(metavar="DURATION", help="Its lifetime, such as 30m or 2h.", show_default=False),
]
Parameters = Annotated[
    list[str],
    typer.Option(
        "--param", "-p", metavar="NAME=VALUE", help="A parameter of the blueprint; may be repeated."
    ),
]
Metadata = Annotated[
    list[str],
    typer.Option(
        "--metadata", "-m", metavar="KEY=VALUE", help="A pair of your own; may be repeated."
    ),
]
StartupTimeout = Annotated[
    float, typer.Option("--timeout", help="Seconds to wait until it is running.")
]


def client() -> Client:
    """Return the client of the portal. Raises NotSignedIn."""
    from sandbox_client.synchronous import Client

    return Client()


def find(portal: Client, which: str | None) -> Sandbox:
    """Return a sandbox by ID or name, or the only one. Raises SandboxError."""
    unknown: NotFound | None = None
    if which and which.startswith("sbx_"):
        try:
            return portal.sandbox(which)
        except NotFound as error:  # It may be a name.
            unknown = error
    found = list(portal.sandboxes("pending", "provisioning", "running"))
    if which:
        found = [sandbox for sandbox in found if sandbox.name == which]
    if unknown and not found:
        raise unknown
    match found:
        case [sandbox]:
            return sandbox
        case []:
            named = f"no sandbox called {which}" if which else "no sandbox"
            raise SandboxError(f"You have {named}. Launch one with “sandbox up”.")
        case _:
            listed = ", ".join(f"{each.id} ({each.name})" for each in found)
            raise SandboxError(f"Say which sandbox you mean: {listed}.")


def find_save_point(portal: Client, which: str) -> dict[str, Any]:
    """Return a save point by ID or name. Raises SandboxError."""
    found = [each for each in portal.save_points() if which in (each["id"], each["name"])]
    match found:
        case [save_point]:
            return save_point
        case []:
            raise SandboxError(f"You have no save point {which}. “sandbox saves” lists them.")
        case _:
            listed = ", ".join(each["id"] for each in found)
            raise SandboxError(f"Say which save point you mean: {listed}.")


def minutes(duration: str | None, option: str = "--ttl") -> int | None:
    """Return a duration such as `30m`, `2h`, `1h30m` or `90` in minutes."""
    if duration is None:
        return None
    match = DURATION.fullmatch(duration.strip())
    if not match or not any(match.groups()):
        raise typer.BadParameter("Use a duration such as 30m, 2h or 1h30m.", param_hint=option)
    return 60 * int(match["hours"] or 0) + int(match["minutes"] or 0)


def pairs(given: Iterable[str], option: str) -> dict[str, str]:
    """Return `NAME=VALUE` arguments as a mapping."""
    found = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"Write {each!r} as NAME=VALUE.", param_hint=option)
        if name in found:
            raise typer.BadParameter(f"{name} is given twice.", param_hint=option)
        found[name] = value
    return found


def parameter_values(
    portal: Client, blueprint: str | None, given: Iterable[str]
) -> dict[str, str | int | bool]:
    """Return the values of parameters, in the types that the blueprint declares."""
    texts = pairs(given, "--param")
    if not texts:
        return {}
    chosen = (
        each
        for each in portal.blueprints()
        if (each["name"] == blueprint if blueprint else each["default"])
    )
    declared: dict[str, Any] = next(chosen, {}).get("parameters", {})
    return {
        name: _convert(text, declared.get(name, {}).get("type", "")) for name, text in texts.items()
    }


def _convert(text: str, kind: str) -> str | int | bool:
    """Return the value; the portal says what is wrong with one that doesn't have the type."""
    if kind == "integer" and re.fullmatch(r"-?\d+", text):
        return int(text)
    if kind == "boolean" and text.lower() in ("true", "false", "yes", "no"):
        return text.lower() in ("true", "yes")
    return text
