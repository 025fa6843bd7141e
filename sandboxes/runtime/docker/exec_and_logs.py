"""Commands in one service, and its log."""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import urllib3
from docker import APIClient
from docker.errors import APIError, NotFound

from sandboxes.runtime import EngineRefused, LineCount, ServiceNotFound
from sandboxes.runtime.docker.client import CONNECTION_POOL_SIZE, EngineClient, run_parallel
from sandboxes.runtime.docker.names import SANDBOX, SERVICE, Names, label
from sandboxes.runtime.docker.observe import parse_time

MAX_OUTPUT_BYTES = 64 * 1024
MAX_LOG_BYTES = 256 * 1024
FRAME = struct.Struct(">BxxxL")
"""Header of each piece of output: its stream and its length."""


class ExecTimeout(Exception):
    """The command didn't end in time."""


@dataclass(frozen=True)
class ExecAndLogs:
    """Runs commands in services and reads their logs."""

    engine: EngineClient
    names: Names

    def execute(
        self, sandbox_id: str, service: str, command: Sequence[str], timeout: float
    ) -> tuple[int, str]:
        """Run a command; return its exit code and the last 64 KB of its output.

        After the timeout the command keeps running in the container. Raises ServiceNotFound,
        EngineRefused, EngineUnreachable.
        """
        container_id = self._container(sandbox_id, service)
        with self.engine.calling(f"run a command in the service {service}") as client:
            try:
                run = client.exec_create(container_id, list(command))["Id"]
                output = _output(client, run, timeout)
            except NotFound as error:
                raise _service_not_found(service) from error
            except ExecTimeout as error:
                raise EngineRefused(
                    f"The command in the service {service} did not end within {timeout:g} seconds."
                ) from error
            code = client.exec_inspect(run)["ExitCode"]
        return code, output.decode(errors="replace")

    def logs(self, sandbox_id: str, service: str, tail: int) -> str:
        """Return the end of the service's log. Raises ServiceNotFound, EngineUnreachable."""
        container_id = self._container(sandbox_id, service)
        with self.engine.calling(f"read the log of the service {service}") as client:
            try:
                text = client.logs(container_id, tail=tail)
            except NotFound as error:
                raise _service_not_found(service) from error
        return text[-MAX_LOG_BYTES:].decode(errors="replace")

    def count_lines(self, counts: Mapping[str, LineCount]) -> dict[str, LineCount]:
        """Continue the counts with one call for the list of containers and one for each log.

        Raises EngineUnreachable.
        """
        if not counts:
            return {}
        with self.engine.calling("list the containers") as client:
            rows = client.containers(all=True, filters=self.names.filters())
        ids = {(label(row, SANDBOX), label(row, SERVICE)): row["Id"] for row in rows}
        found = {n: one for n, count in counts.items() if (one := ids.get((n, count.service)))}
        counted = run_parallel(
            [partial(self._count, ids, counts[n]) for n, ids in found.items()], CONNECTION_POOL_SIZE
        )
        return {name: count for name, count in zip(found, counted, strict=True) if count}

    def _count(self, container_id: str, count: LineCount) -> LineCount | None:
        """Return the count including lines written since; None if the container is gone."""
        # The engine accepts whole seconds and prefixes each line with a time of fixed width.
        since = int(parse_time(count.read_to).timestamp()) if count.read_to else None
        with self.engine.calling(f"read the log of the service {count.service}") as client:
            try:
                log = client.logs(container_id, timestamps=True, since=since)
            except NotFound:
                return None
        lines = [line.partition(b" ") for line in log.split(b"\n")]
        fresh = [(at, text) for at, _, text in lines if at > count.read_to.encode()]
        read_to = max((at.decode() for at, _ in fresh), default=count.read_to)
        return count.further((text for _, text in fresh), read_to)

    def _container(self, sandbox_id: str, service: str) -> str:
        with self.engine.calling("list the sandbox's containers") as client:
            rows = client.containers(all=True, filters=self.names.filters(sandbox_id))
        for row in rows:
            if label(row, SERVICE) == service:
                return str(row["Id"])
        raise _service_not_found(service)


def _output(client: APIClient, run: str, timeout: float) -> bytes:
    """Return the end of a command's output. Raises ExecTimeout.

    The SDK's own reader waits without a time limit, even if the client has one.
    """
    output, ends = Output(), time.monotonic() + timeout
    url = f"{client.base_url}/v{client.api_version}/exec/{run}/start"
    body = {"Detach": False, "Tty": False}
    with client.post(url, json=body, stream=True, timeout=timeout) as answer:
        if not answer.ok:
            raise APIError(answer.text, response=answer, explanation=answer.text)
        try:
            while piece := answer.raw.read1(MAX_OUTPUT_BYTES):
                output.feed(piece)
                if time.monotonic() > ends:
                    raise ExecTimeout
        except urllib3.exceptions.TimeoutError as error:
            raise ExecTimeout from error
    return output.end


class Output:
    """Parser of a stream of frames that keeps the end of their contents."""

    def __init__(self) -> None:
        self.end = b""
        self._waiting = b""

    def feed(self, piece: bytes) -> None:
        data, place, found = self._waiting + piece, 0, [self.end]
        while len(data) - place >= FRAME.size:
            _, length = FRAME.unpack_from(data, place)
            if len(data) - place < FRAME.size + length:
                break
            found.append(data[place + FRAME.size : place + FRAME.size + length])
            place += FRAME.size + length
        self._waiting = data[place:]
        self.end = b"".join(found)[-MAX_OUTPUT_BYTES:]


def _service_not_found(service: str) -> ServiceNotFound:
    return ServiceNotFound(f"The sandbox has no service {service}, or it was removed.")
