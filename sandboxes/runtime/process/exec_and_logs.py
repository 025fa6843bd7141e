"""Looking into one service: running a command where it runs, reading what it wrote."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from sandboxes.runtime import EngineRefused, LineCount, ServiceNotFound, ServiceState
from sandboxes.runtime.process import logfile
from sandboxes.runtime.process.interpreter import Interpreter
from sandboxes.runtime.process.observe import Observer
from sandboxes.runtime.process.state_dir import Manifest, Service, StateDir

MAX_OUTPUT_BYTES = 64 * 1024
MAX_LOG_BYTES = 256 * 1024


@dataclass(frozen=True)
class ExecAndLogs:
    """The services of one portal's sandboxes, from within."""

    home: StateDir
    observer: Observer

    def execute(
        self, sandbox_id: str, service: str, command: Sequence[str], timeout: float
    ) -> tuple[int, str]:
        """Exit code and output, its last 64 KB. What is not done in time is ended."""
        record, found = self._service(sandbox_id, service)
        facts = self.observer.observe_one(sandbox_id)
        seen = facts.services.get(service) if facts else None
        if seen is None or seen.state is not ServiceState.RUNNING:
            raise EngineRefused(f"The service {service} is not running.")
        with tempfile.TemporaryFile() as output:
            process = self._start(record, found, command, output)
            try:
                code = process.wait(timeout)
            except subprocess.TimeoutExpired as error:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                raise EngineRefused(
                    f"The command in the service {service} did not end within {timeout:g} seconds."
                ) from error
            return code if code >= 0 else 128 - code, read_tail(output, MAX_OUTPUT_BYTES)

    def logs(self, sandbox_id: str, service: str, tail: int) -> str:
        """The last lines that the service wrote. Raises ServiceNotFound."""
        self._service(sandbox_id, service)
        try:
            with self.home.sandbox(sandbox_id).log(service).open("rb") as log:
                lines = read_tail(log, MAX_LOG_BYTES).splitlines(keepends=True)
        except FileNotFoundError:
            return ""
        return "".join(lines[max(0, len(lines) - tail) :])

    def count_lines(self, counts: Mapping[str, LineCount]) -> dict[str, LineCount]:
        """Each carried on; the places are numbers of bytes."""
        carried = {}
        for name, count in counts.items():
            with suppress(FileNotFoundError):
                carried[name] = logfile.carry_count(
                    self.home.sandbox(name).log(count.service), count
                )
        return carried

    def _service(self, sandbox_id: str, service: str) -> tuple[Manifest, Service]:
        record = self.home.sandbox(sandbox_id).record()
        for one in record.services if record else ():
            if record and one.name == service:
                return record, one
        raise ServiceNotFound(f"The sandbox has no service {service}, or not any more.")

    def _start(
        self, record: Manifest, service: Service, command: Sequence[str], output: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            Interpreter(self.home).words(command),
            cwd=self.home.sandbox(record.sandbox).work(service.name),
            env=dict(service.environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=0o077,
            user=record.user,
            group=record.user,
            extra_groups=None if record.user is None else [],
        )


def read_tail(file: IO[bytes], most: int) -> str:
    """The last bytes of a file, as text."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - most))
    return file.read().decode(errors="replace")
