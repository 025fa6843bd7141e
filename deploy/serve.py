"""Run what the Procfile names as one foreground process; Ctrl-C and SIGTERM end all of it."""

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

ASKED_TO_STOP = {signal["rc"] for signal in SIGNALS.values()}
ANNOUNCE_WITHIN_SECONDS = 60


class Portal(Manager):
    """Honcho's manager, which says whose end ended everything."""

    def terminate(self) -> None:
        if not self._all_started():
            # Honcho can't stop what it has not seen start yet.
            threading.Timer(0.1, self.terminate).start()
            return
        if self.returncode not in ASKED_TO_STOP:
            for name, process in self._processes.items():
                if process.get("returncode") is not None:
                    status = process["returncode"]
                    self._system_print(f"{name} ended by itself ({status}): everything stops.\n")
        super().terminate()


def announce(url: str, health: str) -> None:
    """Say that the portal is there as soon as it answers."""
    deadline = time.monotonic() + ANNOUNCE_WITHIN_SECONDS
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(health, timeout=2).close()  # noqa: S310 - our own address
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
        else:
            print(f"\n▸ The portal is ready: {url} (Ctrl-C ends it)\n", flush=True)
            return


def main() -> int:
    # Who runs `make run` as root has decided that; Celery's warning is for production.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:You're running the worker with superuser")
    host, port = os.environ["HOST"], os.environ["PORT"]
    near = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    portal = Portal(Printer(sys.stdout, colour=sys.stdout.isatty()))
    for name, command in parse_procfile(Path("Procfile").read_text()).processes.items():
        portal.add_process(name, command)
    health = f"http://{near}:{port}/healthz"
    threading.Thread(target=announce, args=(os.environ["SITE_URL"], health), daemon=True).start()
    portal.loop()
    return 0 if portal.returncode in ASKED_TO_STOP else 1


if __name__ == "__main__":
    sys.exit(main())
