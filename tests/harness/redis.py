"""A private Redis server for the tests, without persistence."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.harness.ports import reserve_port
from tests.helpers.wait import wait_for

DATABASES = 2048
"""Enough for one database per client."""


class Redis:
    """A server that tests can start and stop."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.port = directory, reserve_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start the server and wait until it responds."""
        program = shutil.which("redis-server")
        assert program, "Redis is missing; install it with `apt-get install redis-server`."
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "save": "",
            "dir": str(self.directory),
        }
        options["databases"] = str(DATABASES)
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        self.process = subprocess.Popen(
            [program, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for(lambda: self._ask("PING") == "PONG", "Redis answers", 20, 0.05)

    def flush(self) -> int:
        """Empty the server; return the number of messages that were queued."""
        waiting = self._ask("LLEN", "celery")
        self._ask("FLUSHALL")
        return int(waiting)

    def stop(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()

    def _ask(self, *words: str) -> str:
        command = ["redis-cli", "-p", str(self.port), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout.strip()


@contextmanager
def redis(directory: Path) -> Iterator[Redis]:
    server = Redis(directory)
    server.start()
    try:
        yield server
    finally:
        server.stop()
