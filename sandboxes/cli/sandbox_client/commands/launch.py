"""Launch sandboxes: one that stays, or one for a single command."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sandbox_client.commands import arguments
from sandbox_client.commands.output import Json, note, options, print_sandbox, progress
from sandbox_client.errors import SandboxError

if TYPE_CHECKING:
    from sandbox_client.synchronous import Client, Sandbox

HEARTBEAT_SECONDS = 60
NOT_EXECUTABLE, NOT_FOUND, SIGNALLED = 126, 127, 128
"""Exit codes of shells."""
FORWARDED = (signal.SIGTERM, signal.SIGHUP) if hasattr(signal, "SIGHUP") else (signal.SIGTERM,)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(up)
    app.command(
        context_settings={"allow_interspersed_args": False, "ignore_unknown_options": False}
    )(run)


def up(  # noqa: PLR0913 - one for each option
    blueprint: arguments.Blueprint = None,
    name: arguments.Name = None,
    ttl: arguments.Ttl = None,
    param: arguments.Parameters = [],
    metadata: arguments.Metadata = [],
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="SAVE-POINT", help="Start with its data; its ID or name."),
    ] = None,
    wait: Annotated[bool, typer.Option(help="Wait until it is running.")] = True,
    timeout: arguments.StartupTimeout = 120,
    json: Json = False,
) -> None:
    """Launch a sandbox."""
    with arguments.client() as portal, progress("Launching"):
        sandbox = portal.launch(
            blueprint,
            name=name,
            ttl_minutes=arguments.minutes(ttl),
            parameters=arguments.parameter_values(portal, blueprint, param),
            metadata=arguments.pairs(metadata, "--metadata"),
            save_point=_save_point(portal, source),
            wait=timeout if wait else 0,
        )
    print_sandbox(sandbox)


def _save_point(portal: Client, source: str | None) -> str | None:
    """Return the ID of a save point; that of another user is known by its ID only."""
    if source is None or source.startswith("sp_"):
        return source
    return str(arguments.find_save_point(portal, source)["id"])


def run(
    command: Annotated[list[str], typer.Argument(help="The command and its arguments.")],
    blueprint: Annotated[
        str | None, typer.Option("--blueprint", "-b", help="By default, that of the portal.")
    ] = None,
    name: arguments.Name = None,
    ttl: arguments.Ttl = None,
    param: arguments.Parameters = [],
    metadata: arguments.Metadata = [],
    timeout: arguments.StartupTimeout = 120,
    heartbeat: Annotated[
        int,
        typer.Option(help="Seconds after which the portal ends the sandbox of a killed client."),
    ] = HEARTBEAT_SECONDS,
) -> None:
    """Launch a sandbox, run a command with its URLs and credentials, and destroy it.

    The command finds them in its environment, under the names of “sandbox env”. Its exit code is
    passed on: sandbox run -- pytest
    """
    options.runs_command = True
    with arguments.client() as portal, _ending_on_signals():
        with progress("Launching"):
            sandbox = portal.launch(
                blueprint,
                name=name,
                ttl_minutes=arguments.minutes(ttl),
                parameters=arguments.parameter_values(portal, blueprint, param),
                metadata=arguments.pairs(metadata, "--metadata"),
                heartbeat_seconds=heartbeat,
                wait=timeout,
            )
        try:
            note(f"{sandbox.name} ({sandbox.id}) is running.")
            code = _run(command, sandbox.environment())
        finally:
            _destroy(sandbox, heartbeat)
    raise typer.Exit(code)


def _destroy(sandbox: Sandbox, heartbeat: int) -> None:
    """Destroy the sandbox. If that fails, say so, and keep the exit code of the command."""
    try:
        sandbox.destroy()
    except SandboxError as error:
        typer.echo(
            f"Warning: {sandbox.id} couldn't be destroyed. Without heartbeats, the portal ends it "
            f"in {heartbeat} s. ({error})",
            err=True,
        )


def _run(command: list[str], variables: dict[str, str]) -> int:
    """Run the command in the foreground and return its exit code, as a shell would."""
    try:
        process = subprocess.Popen(command, env=os.environ | variables)
    except FileNotFoundError:
        typer.echo(f"Error: {command[0]} is not installed, or not in PATH.", err=True)
        return NOT_FOUND
    except OSError as error:
        typer.echo(f"Error: {command[0]} can't be run: {error.strerror}.", err=True)
        return NOT_EXECUTABLE
    with _passing_signals_to(process):
        code = process.wait()
    return SIGNALLED - code if code < 0 else code


@contextmanager
def _ending_on_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end this process as Ctrl-C does, so that the sandbox is destroyed."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with _handling(dict.fromkeys(FORWARDED, interrupt)):
        yield


@contextmanager
def _passing_signals_to(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Leave Ctrl-C, which the terminal sends to both, to the command; pass the others on."""

    def forward(number: int, _frame: Any) -> None:
        process.send_signal(number)

    handlers: dict[signal.Signals, Any] = dict.fromkeys(FORWARDED, forward)
    handlers[signal.SIGINT] = lambda *_: None
    with _handling(handlers):
        yield


@contextmanager
def _handling(handlers: dict[signal.Signals, Any]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
