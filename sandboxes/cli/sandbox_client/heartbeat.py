"""A thread that reports to the portal that this process still uses a sandbox."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from sandbox_client.errors import SandboxError


class Heartbeat:
    """Calls `send` every `interval` seconds until it is stopped; failures are tried again."""

    def __init__(self, send: Callable[[], object], interval: float) -> None:
        self._send = send
        self._interval = interval
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sandbox-heartbeat", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopped.wait(self._interval):
            with suppress(SandboxError):
                self._send()

    def stop(self) -> None:
        """Stop sending."""
        self._stopped.set()
