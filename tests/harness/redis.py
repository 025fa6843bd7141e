"""A Redis of the tests' own, which keeps nothing over a restart."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.harness.ports import reserve_port
from tests.helpers.wait import wait_for

DATABASES = 2048
"""Enough for a number of its own to everyone who wants one."""


class Redis:
    """Started and stopped as a test wants it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, reserve_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Returns when it answers."""
        program = shutil.which("redis-server")
        assert program, "Redis is missing; `apt-get install redis-server` brings it."
        options = {"port": str(self.port), "bind": "127.0.0.1", "save": "", "dir": str(self.folder)}
        options["databases"] = str(DATABASES)
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        self.process = subprocess.Popen(
            [program, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for(lambda: self._ask("PING") == "PONG", "Redis answers", 20, 0.05)

    def flush(self) -> int:
        """Empty it; how many messages were in the queue."""
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
def redis(folder: Path) -> Iterator[Redis]:
    server = Redis(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()
