"""Commands in one service, and its log."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import requests
import urllib3
from docker import APIClient
from docker.errors import APIError, NotFound, create_api_error_from_http_exception

from sandboxes.runtime import EngineRefused, LineCount, ServiceNotFound
from sandboxes.runtime.docker.client import EngineClient, run_parallel
from sandboxes.runtime.docker.names import SANDBOX, SERVICE, Names, is_previous, label
from sandboxes.runtime.docker.observe import parse_time
from sandboxes.runtime.line_count import MAX_LINE_LENGTH

MAX_OUTPUT_BYTES = 64 * 1024
MAX_LOG_BYTES = 256 * 1024
MAX_LOG_SECONDS = 10.0
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
        container_id = self._container(sandbox_id, service, complete=True)
        return run_command(self.engine, container_id, service, command, timeout)

    def logs(self, sandbox_id: str, service: str, tail: int) -> str:
        """Return the end of the service's log. Raises ServiceNotFound, EngineUnreachable."""
        container_id = self._container(sandbox_id, service)
        with self.engine.calling(f"read the log of the service {service}") as client:
            try:
                text = b""
                for piece in _read_log(client, container_id, tail=tail):
                    text = (text + piece)[-MAX_LOG_BYTES:]
            except NotFound as error:
                raise _service_not_found(service) from error
        return text.decode(errors="replace")

    def count_lines(self, counts: Mapping[str, LineCount]) -> dict[str, LineCount]:
        """Continue the counts with one call for the list of containers and one for each log.

        Raises EngineUnreachable.
        """
        if not counts:
            return {}
        with self.engine.calling("list the containers") as client:
            rows = client.containers(all=True, filters=self.names.filters())
        ids = {
            (label(row, SANDBOX), label(row, SERVICE)): row["Id"]
            for row in rows
            if not is_previous(row)
        }
        found = {n: one for n, count in counts.items() if (one := ids.get((n, count.service)))}
        counted = run_parallel([partial(self._count, ids, counts[n]) for n, ids in found.items()])
        return {name: count for name, count in zip(found, counted, strict=True) if count}

    def _count(self, container_id: str, count: LineCount) -> LineCount | None:
        """Return the count including lines written since; None if the container is gone."""
        # The engine accepts whole seconds and prefixes each line with a time of fixed width.
        since = int(parse_time(count.read_to).timestamp()) if count.read_to else None
        lines = FreshLines(count.read_to.encode())
        with self.engine.calling(f"read the log of the service {count.service}") as client:
            try:
                pieces = _read_log(client, container_id, timestamps=1, since=since or 0)
                found = count.further(lines.read(pieces), count.read_to)
            except NotFound:
                return None
        return replace(found, read_to=lines.read_to.decode())

    def _container(self, sandbox_id: str, service: str, *, complete: bool = False) -> str:
        """Return the ID of the service's container.

        With `complete`, raises EngineRefused if the replacement of the services was interrupted.
        """
        with self.engine.calling("list the sandbox's containers") as client:
            rows = client.containers(all=True, filters=self.names.filters(sandbox_id))
        if complete and any(map(is_previous, rows)):
            raise EngineRefused("The services are being recreated.")
        for row in rows:
            if label(row, SERVICE) == service and not is_previous(row):
                return str(row["Id"])
        raise _service_not_found(service)


def run_command(
    engine: EngineClient, container_id: str, service: str, command: Sequence[str], timeout: float
) -> tuple[int, str]:
    """Run a command in a container; return its exit code and the last 64 KB of its output.

    Raises the errors of `execute`.
    """
    with engine.calling(f"run a command in the service {service}") as client:
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


def _read_log(client: APIClient, container_id: str, **options: Any) -> Iterator[bytes]:
    """Yield the log in pieces, up to its current end or a time limit. Raises NotFound.

    A service may write as fast as the log is read. The SDK's own reader keeps all of it in memory.
    """
    url = f"{client.base_url}/v{client.api_version}/containers/{container_id}/logs"
    params = {"stdout": 1, "stderr": 1, **options}
    ends_at = time.monotonic() + MAX_LOG_SECONDS
    with client.get(url, params=params, stream=True, timeout=MAX_LOG_SECONDS) as answer:
        try:
            answer.raise_for_status()
        except requests.HTTPError as error:
            raise create_api_error_from_http_exception(error) from error
        frames = Frames()
        while piece := answer.raw.read1(MAX_OUTPUT_BYTES):
            yield from frames.feed(piece)
            if time.monotonic() > ends_at:
                break


def _output(client: APIClient, run: str, timeout: float) -> bytes:
    """Return the end of a command's output. Raises ExecTimeout.

    The SDK's own reader waits without a time limit, even if the client has one.
    """
    frames, output, ends = Frames(), b"", time.monotonic() + timeout
    url = f"{client.base_url}/v{client.api_version}/exec/{run}/start"
    body = {"Detach": False, "Tty": False}
    with client.post(url, json=body, stream=True, timeout=timeout) as answer:
        if not answer.ok:
            raise APIError(answer.text, response=answer, explanation=answer.text)
        try:
            while piece := answer.raw.read1(MAX_OUTPUT_BYTES):
                output = b"".join([output, *frames.feed(piece)])[-MAX_OUTPUT_BYTES:]
                if time.monotonic() > ends:
                    raise ExecTimeout
        except urllib3.exceptions.TimeoutError as error:
            raise ExecTimeout from error
    return output


class FreshLines:
    """Lines of a log that follow a position, without the time at which each begins."""

    def __init__(self, after: bytes) -> None:
        self._after = self.read_to = after
        """The time of the last line, of fixed width."""

    def read(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the lines that are complete. Of a long line, only the beginning is kept."""
        begun = b""
        for piece in pieces:
            *complete, begun = (begun + piece).split(b"\n")
            for line in complete:
                at, _space, text = line.partition(b" ")
                if at > self._after:
                    self.read_to = max(self.read_to, at)
                    yield text
            begun = begun[:MAX_LINE_LENGTH]


class Frames:
    """Parser of a stream of frames, which may arrive in pieces."""

    def __init__(self) -> None:
        self._waiting = b""

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the contents of the frames that are complete now."""
        data, place, found = self._waiting + piece, 0, []
        while len(data) - place >= FRAME.size:
            _, length = FRAME.unpack_from(data, place)
            if len(data) - place < FRAME.size + length:
                break
            found.append(data[place + FRAME.size : place + FRAME.size + length])
            place += FRAME.size + length
        self._waiting = data[place:]
        return found


def _service_not_found(service: str) -> ServiceNotFound:
    return ServiceNotFound(f"The sandbox has no service {service}, or it was removed.")
