"""Start PostgreSQL, load the seed and passwords at the first start, and reset the data.

Counterpart of `start.sh`, `run-script.sh` and `reset.sh` of the image.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from .binaries import postgres_binaries
from .cluster import DATA_DIR, SCRIPTS_DIR, SUPERUSER

SPARE_DELAY_SECONDS = 3
SCENARIOS = ("standard", "empty", "dunning", "large")
RESET_TIMEOUT_SECONDS = 15
"""Less than the portal waits, so that a reset that failed there isn't running here."""


class InvalidEnvironment(Exception):
    """An environment variable is missing or invalid."""


class ResetFailed(Exception):
    """The data couldn't be reset, or not in time."""


class RekeyFailed(Exception):
    """The passwords couldn't be set, or not yet."""


def serve() -> None:
    """Replace this process by the server, and initialize the data from a child process."""
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
    scenario = os.environ.get("SCENARIO") or SCENARIOS[0]
    if scenario not in SCENARIOS:
        raise InvalidEnvironment(
            f"SCENARIO is {scenario!r}; it must be one of {', '.join(SCENARIOS)}"
        )
    # A killed server leaves lock files behind; their process id may belong to any process by now.
    for lock in (DATA_DIR / "postmaster.pid", *DATA_DIR.glob(".s.PGSQL.*.lock")):
        lock.unlink(missing_ok=True)
    server = os.getpid()
    if not os.fork():
        # Fork twice, so that the only children of PostgreSQL are its own processes.
        if not os.fork():
            _initialize(server)
        os._exit(0)
    os.wait()
    program = str(postgres_binaries()[0] / "postgres")
    os.execv(program, [program, "-D", str(DATA_DIR), "-p", os.environ["PORT"]])  # noqa: S606


def reset() -> None:
    """Restore the seed data, then create the spare database in the background.

    Raises ResetFailed; nothing has changed then.
    """
    try:
        _run_script("reset.sql", timeout=RESET_TIMEOUT_SECONDS)
    except subprocess.SubprocessError as error:
        with suppress(subprocess.TimeoutExpired):
            _psql("-c", "ALTER DATABASE billing ALLOW_CONNECTIONS true", "postgres", timeout=1)
        raise ResetFailed("the data could not be reset; see the lines above") from error
    subprocess.Popen(
        [sys.executable, "-c", "from billing_db.server import create_spare; create_spare()"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def rekey() -> None:
    """Set the passwords of this sandbox in data that another one had. Raises RekeyFailed."""
    try:
        _run_script("rekey.sql", timeout=RESET_TIMEOUT_SECONDS)
    except subprocess.SubprocessError as error:
        raise RekeyFailed("the passwords could not be set; see the lines above") from error


def create_spare() -> None:
    """Create the database that the next reset swaps in."""
    _run_script("create-spare.sql", quiet=True)


def _initialize(server: int) -> None:
    """Wait for the server, run the script for its start, and create the spare database."""
    while not _accepts_connections():
        time.sleep(0.01)
        try:
            os.kill(server, 0)
        except ProcessLookupError:
            return
    try:
        _run_script("start.sql")
    except subprocess.CalledProcessError:
        print("billing-db: the seed could not be loaded; see the lines above", flush=True)
        # A server that is stopped normally would report success.
        os.kill(server, signal.SIGKILL)
        return
    print("billing-db: ready for connections", flush=True)
    # Wait until the launch is over; an earlier reset creates the database itself.
    time.sleep(SPARE_DELAY_SECONDS)
    create_spare()


def _accepts_connections() -> bool:
    try:
        lines = (DATA_DIR / "postmaster.pid").read_text().splitlines()
    except OSError:
        return False
    return "ready" in (line.strip() for line in lines)


def _run_script(name: str, *, quiet: bool = False, timeout: float | None = None) -> None:
    """Run an SQL script. A lock serializes scripts that swap databases.

    Raises CalledProcessError unless `quiet`, TimeoutExpired.
    """
    script = ("-f", str((SCRIPTS_DIR / name).resolve()), "postgres")
    with Path("exchange.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = _psql("-v", "ON_ERROR_STOP=1", *script, quiet=quiet, timeout=timeout)
    if not quiet:
        done.check_returncode()


def _psql(
    *arguments: str, quiet: bool = False, timeout: float | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run psql as the superuser, with fixed settings. Raises TimeoutExpired."""
    connection = {
        # The data directory, by a name short enough for a socket path.
        "PGHOST": "/proc/self/cwd" if sys.platform == "linux" else str(DATA_DIR.resolve()),
        "PGPORT": os.environ["PORT"],
        "PGUSER": SUPERUSER,
        "PGOPTIONS": "-c client_min_messages=warning -c search_path=pg_catalog"
        " -c statement_timeout=15s",
    }
    return subprocess.run(
        [postgres_binaries()[0] / "psql", "-X", "-q", "-o", "/dev/null", *arguments],
        cwd=DATA_DIR,
        env=os.environ | connection,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL if quiet else None,
        timeout=timeout,
        check=False,
    )
