"""Looking into one service: running a command there, reading what it wrote."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import requests
from docker import APIClient
from docker.errors import APIError, NotFound

from sandboxes.runtime import EngineRefused, NoSuchService
from sandboxes.runtime.docker.engine import Engine
from sandboxes.runtime.docker.names import SERVICE, Names, label

LONGEST_OUTPUT = 64 * 1024
LONGEST_LOG = 256 * 1024
FRAME = struct.Struct(">BxxxL")
"""Before each piece of output: which stream it is of, and how long it is."""


class TookTooLong(Exception):
    """The command was still at it when its time was up."""


@dataclass(frozen=True)
class Inside:
    """The services of one portal's sandboxes, from within."""

    engine: Engine
    names: Names

    def execute(
        self, sandbox_id: str, service: str, command: Sequence[str], timeout: float
    ) -> tuple[int, str]:
        """Exit code and output, its last 64 KB. What is not done in time goes on by itself.

        Raises NoSuchService, EngineRefused, EngineUnreachable.
        """
        container_id = self._container(sandbox_id, service)
        with self.engine.asked(f"run a command in the service {service}") as client:
            try:
                run = client.exec_create(container_id, list(command))["Id"]
                output = b"".join(_frames(client, run, timeout))
            except NotFound as error:
                raise _no_such(service) from error
            except (TookTooLong, requests.Timeout) as error:
                raise EngineRefused(
                    f"The command in the service {service} did not end within {timeout:g} seconds."
                ) from error
            code = client.exec_inspect(run)["ExitCode"]
        return code, output[-LONGEST_OUTPUT:].decode(errors="replace")

    def logs(self, sandbox_id: str, service: str, tail: int) -> str:
        """The last lines that the service wrote. Raises NoSuchService, EngineUnreachable."""
        container_id = self._container(sandbox_id, service)
        with self.engine.asked(f"read the log of the service {service}") as client:
            try:
                text = client.logs(container_id, tail=tail)
            except NotFound as error:
                raise _no_such(service) from error
        return text[-LONGEST_LOG:].decode(errors="replace")

    def _container(self, sandbox_id: str, service: str) -> str:
        with self.engine.asked("list the sandbox's containers") as client:
            rows = client.containers(all=True, filters=self.names.filters(sandbox_id))
        for row in rows:
            if label(row, SERVICE) == service:
                return str(row["Id"])
        raise _no_such(service)


def _frames(client: APIClient, run: str, timeout: float) -> Iterator[bytes]:
    """The output of a command, piece by piece. Raises TookTooLong, requests.Timeout.

    The SDK's own reader waits without a time limit, whatever the client's is.
    """
    try:
        yield from _read(client, run, timeout)
    except requests.ConnectionError as error:
        if "timed out" in str(error):
            raise TookTooLong from error
        raise


def _read(client: APIClient, run: str, timeout: float) -> Iterator[bytes]:
    ends, waiting = time.monotonic() + timeout, b""
    url = f"{client.base_url}/v{client.api_version}/exec/{run}/start"
    with client.post(
        url, json={"Detach": False, "Tty": False}, stream=True, timeout=timeout
    ) as answer:
        if not answer.ok:
            raise APIError(answer.text, response=answer, explanation=answer.text)
        for piece in answer.iter_content(None):
            waiting += piece
            while len(waiting) >= FRAME.size:
                _, length = FRAME.unpack_from(waiting)
                if len(waiting) < FRAME.size + length:
                    break
                yield waiting[FRAME.size : FRAME.size + length]
                waiting = waiting[FRAME.size + length :]
            if time.monotonic() > ends:
                raise TookTooLong


def _no_such(service: str) -> NoSuchService:
    return NoSuchService(f"The sandbox has no service {service}, or not any more.")
