"""Change sandboxes: extend, touch, reset, save, restore, rename, remove."""

from __future__ import annotations

from typing import Annotated

import typer

from sandbox_client.commands import arguments
from sandbox_client.commands.output import Json, note, options, print_json, print_sandbox, progress
from sandbox_client.errors import SandboxError


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (extend, touch, reset, save, restore, saves, rename):
        app.command()(command)
    app.command("rm")(remove)


def extend(
    which: arguments.Which = None,
    by: Annotated[str, typer.Option("--by", metavar="DURATION", help="Such as 30m or 2h.")] = "1h",
    json: Json = False,
) -> None:
    """Extend the lifetime, which is possible once."""
    with arguments.client() as portal:
        print_sandbox(arguments.find(portal, which).extend(arguments.minutes(by, "--by") or 0))


def touch(which: arguments.Which = None, json: Json = False) -> None:
    """Reset the idle timer."""
    with arguments.client() as portal:
        print_sandbox(arguments.find(portal, which).touch())


def reset(which: arguments.Which = None, json: Json = False) -> None:
    """Reset the data to the seed, and wait for it."""
    with arguments.client() as portal, progress("Resetting"):
        print_sandbox(arguments.find(portal, which).reset())


def save(
    name: Annotated[str, typer.Argument(help="A name for the save point.")],
    which: arguments.Which = None,
    json: Json = False,
) -> None:
    """Save the data, to return to it or to launch other sandboxes from it."""
    with arguments.client() as portal, progress("Saving"):
        saved = arguments.find(portal, which).save(name)
    if options.json:
        print_json(saved)
    else:
        note(f"Saved as {saved['name']} ({saved['id']}), {saved['size_mb']} MB.")


def restore(
    save_point: Annotated[str, typer.Argument(help="ID or name of a save point.")],
    json: Json = False,
) -> None:
    """Return a sandbox to one of its save points, and wait for it."""
    with arguments.client() as portal, progress("Restoring"):
        found = arguments.find_save_point(portal, save_point)
        if not found["sandbox"]:
            raise SandboxError("The sandbox of this save point is gone. Use “sandbox up --from”.")
        print_sandbox(portal.sandbox(found["sandbox"]).restore(found["id"]))


def saves(json: Json = False) -> None:
    """List your save points."""
    with arguments.client() as portal:
        found = portal.save_points()
    if options.json:
        print_json(found)
        return
    for each in found:
        typer.echo(f"{each['id']}  {each['state']:8}  {each['size_mb']:>8} MB  {each['name']}")


def rename(
    name: Annotated[str, typer.Argument(help="The new name.")],
    which: arguments.Which = None,
    json: Json = False,
) -> None:
    """Give a sandbox another name."""
    with arguments.client() as portal:
        print_sandbox(arguments.find(portal, which).rename(name))


def remove(
    which: Annotated[
        list[str] | None, typer.Argument(metavar="[SANDBOX]...", help="IDs or names.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of your sandboxes.")] = False,
    json: Json = False,
) -> None:
    """Destroy sandboxes and their data."""
    if everything and which:
        raise SandboxError("Name sandboxes or use --all, not both.")
    with arguments.client() as portal:
        if everything:
            found = list(portal.sandboxes("pending", "provisioning", "running"))
        else:
            named: list[str | None] = list(which) if which else [None]
            found = [arguments.find(portal, each) for each in named]
        for sandbox in found:
            sandbox.destroy()
            note(f"{sandbox.name} ({sandbox.id}) is being removed.")
    if options.json:
        print_json([sandbox.data for sandbox in found])
