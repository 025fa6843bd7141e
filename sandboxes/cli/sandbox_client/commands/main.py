"""The application, and how its errors become sentences and exit codes."""

from __future__ import annotations

import json
import sys
from typing import NoReturn

import typer

from sandbox_client import __version__, errors
from sandbox_client.commands import connect, inspect, launch, lifecycle, listen, session
from sandbox_client.commands.output import options

EPILOG = (
    "Exit codes: 0 success, 1 refused, 2 wrong usage, 3 not signed in or not allowed, 4 not found, "
    "5 not possible now, 6 limit reached, 7 portal unreachable or unavailable, 8 launch failed, "
    "130 interrupted. “sandbox run” exits with the code of its command, and with 125 if it "
    "couldn't get a sandbox."
)
INTERRUPTED = 130
EXIT_CODES: tuple[tuple[type[errors.SandboxError], int], ...] = (
    (errors.NotSignedIn, 3),
    (errors.InvalidToken, 3),
    (errors.Forbidden, 3),
    (errors.NotFound, 4),
    (errors.Conflict, 5),
    (errors.LimitReached, 6),
    (errors.PortalUnreachable, 7),
    (errors.Unavailable, 7),
    (errors.LaunchFailed, 8),
    (errors.LaunchTimeout, 8),
    (errors.SandboxError, 1),
)
"""The first class that fits decides. These numbers don't change."""

app = typer.Typer(
    name="sandbox",
    help="Private, disposable copies of an API for development and tests.",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode=None,  # Rich takes longer to import than `--help` may.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (session, launch, inspect, connect, lifecycle, listen):
    module.register(app)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version."
    ),
) -> None:
    pass


def exit_code(error: errors.SandboxError) -> int:
    """Return the exit code of an error."""
    return next(code for kind, code in EXIT_CODES if isinstance(error, kind))


def report(error: errors.SandboxError) -> None:
    """Print an error on standard error, as JSON if the command was to print JSON."""
    if options.json:
        status = getattr(error, "status", None)
        members = dict(getattr(error, "members", {}))
        typer.echo(json.dumps({"error": str(error), "status": status} | members), err=True)
        return
    typer.echo(f"Error: {error}", err=True)
    if isinstance(error, errors.ProblemError) and (hint := session.version_hint(error)):
        typer.echo(hint, err=True)


def main() -> NoReturn:
    """Run the command line."""
    try:
        app()
    except errors.SandboxError as error:
        report(error)
        sys.exit(125 if options.runs_command else exit_code(error))
    except KeyboardInterrupt:
        typer.echo("Interrupted.", err=True)
        sys.exit(INTERRUPTED)
    sys.exit(0)
