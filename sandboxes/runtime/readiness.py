"""Readiness of a starting sandbox: one request, and the errors of those that don't become ready."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from time import monotonic

from sandboxes.runtime import (
    HttpCheck,
    NotReady,
    ReadyCheck,
    ServiceFacts,
    ServiceState,
    TcpCheck,
)
from sandboxes.runtime.start_order import Awaited

MAX_STATUS_LINE_BYTES = 1024
STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})( [^\r\n]*)?\r?\n")
WAITING_INTERVAL_SECONDS = 0.2
MAX_PRINTED_LENGTH = 200
ACCEPT_SECONDS = 0.1
"""How long an accepted connection must stay open. A proxy of the engine accepts connections on
behalf of a service, and closes them at once if it can't reach the service."""


def require_running(name: str, service: ServiceFacts | None) -> None:
    """Raise NotReady unless the service was observed to run, or to have completed."""
    if service is None:
        raise NotReady(f"The service {name} disappeared during startup.", service=name)
    if service.state in (ServiceState.RUNNING, ServiceState.COMPLETED):
        return
    how = "ran out of memory" if service.out_of_memory else f"stopped ({service.exit_code})"
    if not service.out_of_memory and service.exit_code is not None:
        how = f"stopped with exit code {service.exit_code}"
    message = f"The service {name} {how} before the sandbox was ready."
    raise NotReady(message, service=name, exit_code=service.exit_code)


def timeout_error(check: ReadyCheck | Awaited, seconds: float, output: str = "") -> NotReady:
    """Return the error for a check that didn't succeed in time; `output` is its command's."""
    message = f"The service {check.service} did not {check} within {seconds:g} seconds."
    if lines := output.strip().splitlines():
        message += f" Its last check printed: {lines[-1][-MAX_PRINTED_LENGTH:]}"
    return NotReady(message, service=check.service)


def responds(
    host: str,
    port: int,
    path: str,
    seconds: float,
    while_waiting: Callable[[], None] = lambda: None,
) -> bool:
    """Return whether a GET request is answered with 200 within `seconds`.

    Reads the status line only, since headers and body may be endless. A service that listens before
    it is ready needs no second request: it responds to the first one as soon as it is ready.

    `while_waiting` is called several times a second and may raise to stop waiting.
    """
    ends_at = monotonic() + seconds
    try:
        with socket.create_connection((host, port), timeout=seconds) as connection:
            connection.sendall(build_request(host, port, path))
            line = _read_line(connection, ends_at, while_waiting)
    except OSError:
        return False
    found = STATUS_LINE.match(line)
    return found is not None and int(found[1]) == HTTPStatus.OK


def succeeds(
    check: HttpCheck | TcpCheck,
    host: str,
    port: int,
    seconds: float,
    while_waiting: Callable[[], None] = lambda: None,
) -> bool:
    """Return whether the check of a port, which is reached here, succeeds within `seconds`."""
    if isinstance(check, HttpCheck):
        return responds(host, port, check.path, seconds, while_waiting)
    return accepts_connections(host, port, seconds)


def accepts_connections(host: str, port: int, seconds: float) -> bool:
    """Return whether a connection is accepted within `seconds` and stays open."""
    try:
        with socket.create_connection((host, port), timeout=seconds) as connection:
            connection.settimeout(ACCEPT_SECONDS)
            with suppress(TimeoutError):
                return bool(connection.recv(1))
            return True
    except OSError:
        return False


def build_request(host: str, port: int, path: str) -> bytes:
    """Return the GET request of a ready check."""
    named = f"[{host}]" if ":" in host else host
    lines = (
        f"GET {path} HTTP/1.1",
        f"Host: {named}:{port}",
        "User-Agent: sandbox-portal",
        "Connection: close",
    )
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


def _read_line(
    connection: socket.socket, ends_at: float, while_waiting: Callable[[], None]
) -> bytes:
    """Return the first line of the response, or what has arrived of it at the end."""
    line = b""
    while b"\n" not in line and len(line) < MAX_STATUS_LINE_BYTES:
        if (left := ends_at - monotonic()) <= 0:
            break
        connection.settimeout(min(left, WAITING_INTERVAL_SECONDS))
        try:
            if not (piece := connection.recv(MAX_STATUS_LINE_BYTES)):
                break
            line += piece
        except TimeoutError:
            pass  # The total time limit decides.
        while_waiting()
    return line
