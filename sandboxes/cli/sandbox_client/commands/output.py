"""What commands print: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from sandbox_client.protocol import SandboxData


@dataclass
class Options:
    """Options that matter after the command has failed, too."""

    json: bool = False
    runs_command: bool = False


options = Options()


def _set_json(value: bool) -> bool:
    options.json = value
    return value


Json = Annotated[
    bool, typer.Option("--json", callback=_set_json, help="Print JSON instead of text.")
]


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_json_line(value: Any) -> None:
    """Print one of several values as JSON, on a line of its own and at once."""
    typer.echo(json.dumps(value, ensure_ascii=False))
    sys.stdout.flush()


def note(text: str) -> None:
    """Print a sentence that isn't part of the result."""
    if not options.json:
        typer.echo(text, err=True)


@contextmanager
def progress(text: str) -> Iterator[None]:
    """Show that something is going on, on a terminal."""
    if options.json or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(text):
        yield


def print_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print columns; without a terminal, each as wide as its longest value."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(*titles, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console.width = console.measure(table).maximum
    console.print(table)


def print_sandbox(sandbox: SandboxData) -> None:
    """Print a sandbox."""
    if options.json:
        print_json(sandbox.data)
        return
    lines = [
        ("Sandbox", f"{sandbox.name} ({sandbox.id})"),
        ("Blueprint", sandbox.blueprint),
        ("State", sandbox.state),
        ("", sandbox.data["summary"]),
        *sorted(sandbox.endpoints.items()),
        *((name, str(value)) for name, value in sandbox.data["parameters"].items()),
        *(("Metadata", f"{key}={value}") for key, value in sandbox.metadata.items()),
        ("Problem", sandbox.data["problem"] or ""),
        ("Reason", sandbox.data["end_message"] or ""),
        ("Advice", sandbox.data["advice"] or ""),
    ]
    shown = [(name, value) for name, value in lines if value]
    width = max(len(name) for name, _ in shown)
    for name, value in shown:
        typer.echo(f"{name:{width}}  {value}")


def until(moment: datetime | None) -> str:
    """Return the time that is left, such as `42 min`; empty without an end."""
    if moment is None:
        return ""
    left = max(0, round((moment - datetime.now(UTC)).total_seconds() / 60))
    hours, minutes = divmod(left, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min"
