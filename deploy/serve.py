"""Run the processes of the Procfile in the foreground; Ctrl-C and SIGTERM stop all of them."""

from __future__ import annotations

import os
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

from honcho.environ import parse_procfile
from honcho.manager import SIGNALS, Manager
from honcho.printer import Printer

STOP_STATUSES = {signal["rc"] for signal in SIGNALS.values()}
START_TIMEOUT_SECONDS = 60


class Portal(Manager):
    """Honcho's manager, extended to report which process stopped the others by exiting."""

    def terminate(self) -> None:
        if not self._all_started():
            # Honcho can't stop a process before it has seen it start.
            threading.Timer(0.1, self.terminate).start()
            return
        if self.returncode not in STOP_STATUSES:
            for name, process in self._processes.items():
                if process.get("returncode") is not None:
                    status = process["returncode"]
                    self._system_print(f"{name} exited ({status}); stopping everything.\n")
        super().terminate()


def announce(url: str, health: str) -> None:
    """Print the portal's URL as soon as its health check succeeds."""
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(health, timeout=2).close()  # noqa: S310 - our own address
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
        else:
            print(f"\n▸ The portal is ready: {url} (stop it with Ctrl-C)\n", flush=True)
            return


def main() -> int:
    # Celery warns about running as root, which is fine for `make run`.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:You're running the worker with superuser")
    host, port = os.environ["HOST"], os.environ["PORT"]
    loopback = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - compared with, not bound to
    local = loopback.get(host, f"[{host}]" if ":" in host else host)
    portal = Portal(Printer(sys.stdout, colour=sys.stdout.isatty()))
    for name, command in parse_procfile(Path("Procfile").read_text()).processes.items():
        portal.add_process(name, command)
    health = f"http://{local}:{port}/healthz"
    threading.Thread(target=announce, args=(os.environ["SITE_URL"], health), daemon=True).start()
    portal.loop()
    return 0 if portal.returncode in STOP_STATUSES else 1


if __name__ == "__main__":
    sys.exit(main())
