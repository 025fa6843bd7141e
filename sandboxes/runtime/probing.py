"""Probes of published ports: the requests that the portal sends to sandboxes unasked.

Each probe is one request whose body is thrown away. Its traffic must not count as activity, so the
counter of a sandbox is read again once the services have closed the connections of its probes, and
their last packets have passed.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from http import HTTPStatus
from time import monotonic
from urllib.parse import urlsplit

from sandboxes.runtime.contract import ProbeResult, SandboxFacts
from sandboxes.runtime.readiness import (
    ACCEPT_SECONDS,
    MAX_STATUS_LINE_BYTES,
    STATUS_LINE,
    build_request,
)
from sandboxes.runtime.specs import HttpCheck, ReadyCheck

MAX_PARALLEL = 256
"""Connections at a time; a process may have at least 1024 open files."""
SETTLE_SECONDS = 0.1
"""Time for the last packets of a closed connection; as long as some arrive, it starts again."""
MAX_SETTLE_SECONDS = 0.5
"""Limit of that time, for a sandbox that others use meanwhile."""
CLOSE_SECONDS = 0.5
"""How long a service may take to close its end of a connection."""
MAX_REST_BYTES = 64 * 1024
"""How much of a response is thrown away before the connection is closed anyway."""

ReadTraffic = Callable[[str], int | None]
"""Returns the traffic counter of a sandbox; None if reading it takes an engine call."""


@dataclass(frozen=True)
class Target:
    """A port to probe: with a path by a GET request, else by connecting to it."""

    service: str
    host: str
    port: int
    path: str = ""

    @property
    def title(self) -> str:
        what = f"GET {self.path}" if self.path else "connections"
        return f"The service {self.service} doesn't respond to {what}."


def targets(facts: SandboxFacts, checks: Sequence[ReadyCheck], host: str = "") -> Iterator[Target]:
    """Yield the published ports of a sandbox; `host` replaces the one that callers are shown."""
    http = [check for check in checks if isinstance(check, HttpCheck)]
    paths = {(check.service, check.port): check.path for check in http}
    for name, service in facts.services.items():
        for port, published in service.ports.items():
            path = paths.get((name, port), "")
            yield Target(name, host or published.host, published.port, path)


def probe_sandboxes(
    observed: Iterable[SandboxFacts],
    checks: Mapping[str, Sequence[ReadyCheck]],
    seconds: float,
    read_traffic: ReadTraffic,
    host: str = "",
) -> dict[str, ProbeResult]:
    """Probe the published ports of these sandboxes once; `checks` are by sandbox id."""
    chosen = {facts.id: targets(facts, checks.get(facts.id, ()), host) for facts in observed}
    return probe_all(chosen, seconds, read_traffic)


def probe_all(
    sandboxes: Mapping[str, Iterable[Target]], seconds: float, read_traffic: ReadTraffic
) -> dict[str, ProbeResult]:
    """Probe all targets in parallel, each for at most `seconds`; return the results by sandbox."""
    # A thread of its own, because the caller's may already run an event loop.
    with ThreadPoolExecutor(1) as thread:
        probes = _probe_all(sandboxes, seconds, read_traffic)
        return thread.submit(asyncio.run, probes).result()


async def _probe_all(
    sandboxes: Mapping[str, Iterable[Target]], seconds: float, read_traffic: ReadTraffic
) -> dict[str, ProbeResult]:
    slots = asyncio.Semaphore(MAX_PARALLEL)

    async def one_sandbox(sandbox_id: str, chosen: Iterable[Target]) -> ProbeResult:
        found = await asyncio.gather(*(_probe(target, seconds, slots) for target in chosen))
        traffic = await _settled(lambda: read_traffic(sandbox_id))
        problems = sorted((one for one in found if one.problem), key=lambda one: one.responded)
        return replace(problems[0] if problems else ProbeResult(), traffic_bytes=traffic)

    results = await asyncio.gather(*(one_sandbox(*one) for one in sandboxes.items()))
    return dict(zip(sandboxes, results, strict=True))


async def _settled(read: Callable[[], int | None]) -> int | None:
    """Return the counter once it no longer changes, or after `MAX_SETTLE_SECONDS`.

    On a busy machine, the last packets of a probe are late, and would count as activity.
    """
    ends_at = monotonic() + MAX_SETTLE_SECONDS
    latest = read()
    while True:
        before = latest
        await asyncio.sleep(SETTLE_SECONDS)
        latest = read()
        if latest == before or monotonic() > ends_at:
            return latest


async def _probe(target: Target, seconds: float, slots: asyncio.Semaphore) -> ProbeResult:
    async with slots:
        try:
            async with asyncio.timeout(seconds):
                status = await _request(target)
        except (OSError, TimeoutError, ValueError):
            return ProbeResult(target.title, target.service, responded=False)
    if status == HTTPStatus.OK:
        return ProbeResult()
    problem = f"The service {target.service} isn't ready: GET {target.path} returns {status}."
    return ProbeResult(problem, target.service)


async def _request(target: Target) -> int:
    """Return the HTTP status; OK for a port that only has to accept connections.

    Raises OSError, or ValueError for a response that isn't HTTP.
    """
    reader, writer = await asyncio.open_connection(
        target.host, target.port, limit=MAX_STATUS_LINE_BYTES
    )
    try:
        if not target.path:
            await _stays_open(reader)
            return HTTPStatus.OK
        writer.write(build_request(target.host, target.port, target.path))
        if not (found := STATUS_LINE.match(await reader.readline())):
            raise ValueError(target)
        return int(found[1])
    finally:
        await _finish(reader, writer)


async def _finish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close the connection, if possible after the service has closed its end.

    Otherwise, its last packet may be sent so late that it counts as activity.
    """
    try:
        with suppress(OSError, TimeoutError):
            writer.write_eof()
            async with asyncio.timeout(CLOSE_SECONDS):
                for _ in range(MAX_REST_BYTES // MAX_STATUS_LINE_BYTES):
                    if not await reader.read(MAX_STATUS_LINE_BYTES):
                        break
    finally:
        writer.close()


async def _stays_open(reader: asyncio.StreamReader) -> None:
    """Raise OSError if the connection is closed at once."""
    with suppress(TimeoutError):
        async with asyncio.timeout(ACCEPT_SECONDS):
            if not await reader.read(1):
                raise ConnectionResetError


def probe_host(bind_address: str, engine_url: str = "") -> str:
    """Return where this process reaches the ports that are published on `bind_address`."""
    if not ipaddress.ip_address(bind_address).is_unspecified:
        return bind_address
    # A remote engine publishes ports on the host of its URL.
    return urlsplit(engine_url).hostname or "127.0.0.1"
