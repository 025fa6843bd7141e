"""Commands in one service, and its log."""

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
from sandboxes.runtime.process.interpreter import Interpreter
from sandboxes.runtime.process.observe import Observer
from sandboxes.runtime.process.state_dir import UNUSABLE, Manifest, Service, StateDir, open_file
from sandboxes.runtime.process.supervisor import logfile

MAX_OUTPUT_BYTES = 64 * 1024
MAX_LOG_BYTES = 256 * 1024


@dataclass(frozen=True)
class ExecAndLogs:
    """Runs commands in services and reads their logs."""

    home: StateDir
    observer: Observer

    def execute(
        self, sandbox_id: str, service: str, command: Sequence[str], timeout: float
    ) -> tuple[int, str]:
        """Run a command; return its exit code and the last 64 KB of its output.

        Kills the command after the timeout. Raises ServiceNotFound, EngineRefused.
        """
        if self.home.sandbox(sandbox_id).previous.exists():
            raise EngineRefused("The services are being recreated.")
        return self.run(sandbox_id, service, command, timeout)

    def run(
        self, sandbox_id: str, service: str, command: Sequence[str], timeout: float
    ) -> tuple[int, str]:
        """Run a command like `execute`, also while the services are being recreated."""
        manifest, found = self._service(sandbox_id, service)
        facts = self.observer.observe_one(sandbox_id)
        seen = facts.services.get(service) if facts else None
        if seen is None or seen.state is not ServiceState.RUNNING:
            raise EngineRefused(f"The service {service} is not running.")
        with tempfile.TemporaryFile() as output:
            process = self._start(manifest, found, command, output)
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
        """Return the last lines of the service's log. Raises ServiceNotFound."""
        self._service(sandbox_id, service)
        try:
            with open_file(self.home.sandbox(sandbox_id).log(service)) as log:
                lines = read_tail(log, MAX_LOG_BYTES).splitlines(keepends=True)
        except UNUSABLE:
            return ""
        return "".join(lines[max(0, len(lines) - tail) :])

    def count_lines(self, counts: Mapping[str, LineCount]) -> dict[str, LineCount]:
        """Continue each count; positions are numbers of bytes."""
        carried = {}
        for name, count in counts.items():
            with suppress(*UNUSABLE):
                carried[name] = logfile.carry_count(
                    self.home.sandbox(name).log(count.service), count
                )
        return carried

    def _service(self, sandbox_id: str, service: str) -> tuple[Manifest, Service]:
        manifest = self.home.sandbox(sandbox_id).manifest()
        for one in manifest.services if manifest else ():
            if manifest and one.name == service:
                return manifest, one
        raise ServiceNotFound(f"The sandbox has no service {service}, or it was removed.")

    def _start(
        self, manifest: Manifest, service: Service, command: Sequence[str], output: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            Interpreter(self.home).words(command),
            cwd=self.home.sandbox(manifest.sandbox).work(service.name),
            env=dict(service.environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=0o077,
            user=manifest.user,
            group=manifest.user,
            extra_groups=None if manifest.user is None else [],
        )


def read_tail(file: IO[bytes], max_bytes: int) -> str:
    """Return the last bytes of a file as text."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - max_bytes))
    return file.read().decode(errors="replace")
