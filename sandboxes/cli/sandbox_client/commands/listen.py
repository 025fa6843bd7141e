"""Forward events to a program on this machine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from sandbox_client.commands import arguments
from sandbox_client.commands.output import Json, note, options, print_json_line

if TYPE_CHECKING:
    import httpx2

    from sandbox_client.errors import SandboxError
    from sandbox_client.event_stream import PortalEvent
    from sandbox_client.synchronous import Client

FORWARD_SECONDS = 30
ENDED = ("sandbox.ended", "sandbox.failed")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(listen)


@dataclass(frozen=True)
class Delivery:
    """What the local program answered, or why it couldn't be reached."""

    status: int | None
    error: str
    seconds: float

    @property
    def text(self) -> str:
        """The result in a few words."""
        result = str(self.status) if self.status else self.error
        return f"{result} ({self.seconds * 1000:.0f} ms)"


def listen(
    which: Annotated[
        str | None,
        typer.Argument(
            metavar="[SANDBOX]", help="Its ID or name; by default, all.", show_default=False
        ),
    ] = None,
    forward_to: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Send each event to this URL, such as http://localhost:3000/hook.",
            show_default=False,
        ),
    ] = None,
    types: Annotated[
        list[str],
        typer.Option("--type", help="Only events of this type, such as “order.*”; repeatable."),
    ] = [],
    replay: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="Begin this far in the past, such as 10m; at most 24h.",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Print events as they happen, and forward them to a program on this machine.

    They are those of the portal and of the sandboxes' own APIs. A connection that is lost is opened
    again without losing events. Ends with the sandbox, or with Ctrl-C.
    """
    from sandbox_client.event_stream import signing_secret

    url = _checked(forward_to)
    minutes = arguments.minutes(replay, "--replay") or 0
    with arguments.client() as portal:
        sandbox_id = arguments.find(portal, which).id if which else None
        secret = signing_secret(portal.token)
        note(f"Listening to {sandbox_id or 'all your sandboxes'} on {portal.url}.")
        if url:
            note(f"Forwarding to {url}. Signing secret: {secret}")
        for event in _events(portal, sandbox_id, minutes):
            if not types or any(fnmatchcase(event.type, pattern) for pattern in types):
                _print(event, _forward(event, url, secret) if url else None)
            if event.sandbox_id == sandbox_id and event.type in ENDED:
                return


def _checked(url: str | None) -> str | None:
    """Return the URL to forward to, which may lack `http://`."""
    if url is None:
        return None
    if url.isdigit():
        url = f"localhost:{url}"
    found = url if "://" in url else f"http://{url}"
    parts = urlsplit(found)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise typer.BadParameter(
            "Use a URL such as http://localhost:3000/hook.", param_hint="--forward-to"
        )
    return found


def _events(portal: Client, sandbox_id: str | None, minutes: int) -> Iterator[PortalEvent]:
    def report(error: SandboxError) -> None:
        note(f"{error} Connecting again.")

    return portal.events(sandbox_id, replay_minutes=minutes, on_retry=report)


def _forward(event: PortalEvent, url: str, secret: str) -> Delivery:
    """Send an event, once."""
    import httpx2

    headers = event.signed_headers(secret, int(time.time()))
    started = time.monotonic()
    try:
        response: httpx2.Response = httpx2.post(
            url, content=event.body.encode(), headers=headers, timeout=FORWARD_SECONDS
        )
    except httpx2.HTTPError as error:
        return Delivery(None, f"not delivered: {error}", time.monotonic() - started)
    return Delivery(response.status_code, "", time.monotonic() - started)


def _print(event: PortalEvent, delivery: Delivery | None) -> None:
    if options.json:
        print_json_line(_fields(event, delivery))
        return
    line = f"{datetime.now():%H:%M:%S}  {event.sandbox_id}  {event.type}"  # noqa: DTZ005 - for people
    typer.echo(f"{line}  → {delivery.text}" if delivery else line)


def _fields(event: PortalEvent, delivery: Delivery | None) -> dict[str, Any]:
    sent = delivery and {
        "status": delivery.status,
        "error": delivery.error,
        "seconds": round(delivery.seconds, 3),
    }
    return {
        "id": event.id,
        "type": event.type,
        "source": event.source,
        "sandbox": event.sandbox_id,
        "data": event.data,
        "delivery": sent,
    }
