"""Starts PostgreSQL and, the first time, puts the seed and the passwords in; puts the seed back.

The image's `start.sh`, `run-script.sh` and `reset.sh` do the same.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

from .binaries import postgres_binaries
from .cluster import DATA_DIR, SCRIPTS_DIR, SUPERUSER

SPARE_DELAY = 3


class InvalidEnvironment(Exception):
    """A variable is missing or makes no sense."""


def serve() -> None:
    """Become the server."""
    if not os.environ.get("DATABASE_PASSWORD"):
        raise InvalidEnvironment(
            "DATABASE_PASSWORD is not set; it is the password of the role developer"
        )
    launched_at = os.environ.get("SANDBOX_LAUNCHED_AT", "")
    try:
        datetime.fromisoformat(launched_at)
    except ValueError:
        raise InvalidEnvironment(
            f"SANDBOX_LAUNCHED_AT is {launched_at!r}; it must be a time such as "
            "2026-01-31T09:30:00Z"
        ) from None
    # A killed server leaves it behind, and the process it names may be anything by now.
    (DATA_DIR / "postmaster.pid").unlink(missing_ok=True)
    server = os.getpid()
    if not os.fork():
        # A child of its own, so that PostgreSQL is nobody's parent but its own processes'.
        if not os.fork():
            _initialize(server)
        os._exit(0)
    os.wait()
    program = str(postgres_binaries()[0] / "postgres")
    os.execv(program, [program, "-D", str(DATA_DIR), "-p", os.environ["PORT"]])  # noqa: S606


def reset() -> None:
    """Put the seed back, and then make the spare database for the next time."""
    _run_script("reset.sql")
    subprocess.Popen(
        [sys.executable, "-c", "from billing_db.server import make_spare; make_spare()"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def make_spare() -> None:
    """Have a database ready that the next reset can take."""
    _run_script("create-spare.sql", quiet=True)


def _initialize(server: int) -> None:
    """Wait for the server, and then do what is to be done once."""
    while not _accepts_connections():
        time.sleep(0.01)
        try:
            os.kill(server, 0)
        except ProcessLookupError:
            return
    try:
        _run_script("first-start.sql", "billing")
    except subprocess.CalledProcessError:
        print("billing-db: the seed could not be put in; the lines above say why", flush=True)
        # Asked to stop, the server would report success.
        os.kill(server, signal.SIGKILL)
        return
    # When the rush of the launch is over; a reset that can't wait does it itself.
    time.sleep(SPARE_DELAY)
    make_spare()


def _accepts_connections() -> bool:
    try:
        lines = (DATA_DIR / "postmaster.pid").read_text().splitlines()
    except OSError:
        return False
    return "ready" in (line.strip() for line in lines)


def _run_script(name: str, database: str = "postgres", *, quiet: bool = False) -> None:
    """Run a script of ours as the owner. Those that exchange databases take turns."""
    connection = {
        # The server's own directory, by a name that is never too long for a socket.
        "PGHOST": "/proc/self/cwd" if sys.platform == "linux" else str(DATA_DIR.resolve()),
        "PGPORT": os.environ["PORT"],
        "PGUSER": SUPERUSER,
        "PGOPTIONS": "-c client_min_messages=warning",
    }
    script = (SCRIPTS_DIR / name).resolve()
    command = ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-f", str(script)]
    with Path("exchange.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run(
            [postgres_binaries()[0] / "psql", *command, database],
            cwd=DATA_DIR,
            env=os.environ | connection,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL if quiet else None,
            check=not quiet,
        )
