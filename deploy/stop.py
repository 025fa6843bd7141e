"""Stop the portal's processes that run in this checkout. Uses only the standard library."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = (
    "deploy/serve.py",
    "sandboxportal.wsgi",
    "--app sandboxportal",
    "reap_sandboxes --",
    "streams.app:",
)
STOP_TIMEOUT_SECONDS = 10.0


def is_ours(process: Path) -> bool:
    """Return whether it is one of the portal's processes, started in this directory."""
    try:
        command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return (process / "cwd").readlink() == ROOT and any(part in command for part in COMMANDS)
    except OSError:
        return False


def running_pids() -> list[int]:
    processes = [process for process in Path("/proc").glob("[0-9]*") if is_ours(process)]
    return [int(process.name) for process in processes if int(process.name) != os.getpid()]


def send(number: signal.Signals) -> None:
    for pid in running_pids():
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def wait(until: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not until() and time.monotonic() < deadline:
        time.sleep(0.1)


def main() -> None:
    if not running_pids():
        return
    print("▸ Stopping the portal")
    send(signal.SIGTERM)
    wait(lambda: not running_pids(), STOP_TIMEOUT_SECONDS)
    send(signal.SIGKILL)
    wait(lambda: not running_pids(), STOP_TIMEOUT_SECONDS)


if __name__ == "__main__":
    main()
