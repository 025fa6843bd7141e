"""Where everything of a sandbox lies, and what is written down about it.

<home>/prepared/<image>/<fingerprint>/    what services start from: see `preparing.py`
<home>/<sandbox id>/record.json           what it is to be; written before anything is started
                    state.json            how its services are; the supervisor writes it
                    traffic               bytes from and to callers so far
                    lock                  held by the supervisor for as long as it lives
                    logs/<service>.log
                    work/<service>/       the service's own directory
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

SANDBOX_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
PREPARED = "prepared"
TRAFFIC = struct.Struct("<QQ")


@dataclass(frozen=True)
class Port:
    """A port of a service: as the blueprint has it, as callers reach it, and where it listens."""

    name: int
    published: int
    own: int


@dataclass(frozen=True)
class Service:
    """One service as it is to be started."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    ports: Sequence[Port]
    memory_mb: int
    pids: int
    open_files: int
    stop_signal: str


@dataclass(frozen=True)
class Manifest:
    """All that the supervisor must know to start a sandbox, at first and again."""

    instance: str
    sandbox: str
    created_at: str
    address: str
    """Where callers reach the published ports."""
    disk_mb: int
    user: int | None
    """Whom its services run as; None: as whoever runs the portal."""
    services: Sequence[Service]

    @property
    def ports(self) -> list[Port]:
        return [port for service in self.services for port in service.ports]


@dataclass(frozen=True)
class SandboxDir:
    """The directory of one sandbox."""

    path: Path

    @property
    def lock(self) -> Path:
        return self.path / "lock"

    def log(self, service: str) -> Path:
        return self.path / "logs" / f"{service}.log"

    def work(self, service: str) -> Path:
        return self.path / "work" / service

    def record(self) -> Manifest | None:
        """What is written down of it; None if nothing was yet."""
        if not (found := _read(self.path / "record.json")):
            return None
        services = [
            Service(**one | {"ports": [Port(**port) for port in one["ports"]]})
            for one in found["services"]
        ]
        return Manifest(**found | {"services": services})

    def write_record(self, record: Manifest) -> None:
        write(self.path / "record.json", asdict(record))

    def state(self) -> dict[str, Any]:
        """How the services are: `boot`, and under `services` the `exit_code` of each."""
        return _read(self.path / "state.json") or {"boot": "", "services": {}}

    def write_state(self, state: Mapping[str, Any]) -> None:
        write(self.path / "state.json", state)

    def traffic(self) -> tuple[int, int]:
        """Bytes from and to callers of its published ports so far."""
        try:
            data = (self.path / "traffic").read_bytes()
        except FileNotFoundError:
            return 0, 0
        return TRAFFIC.unpack(data) if len(data) == TRAFFIC.size else (0, 0)

    def made_at(self) -> datetime:
        """When the directory was made, as near as it can be told without a record."""
        return datetime.fromtimestamp(self.path.stat().st_mtime, UTC)

    def supervisor(self) -> int | None:
        """Return the process ID of the supervisor if it runs, else None.

        The supervisor holds an exclusive lock: acquiring a shared one shows that it has ended.
        """
        try:
            with self.lock.open("r+") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return None
        except BlockingIOError:
            with suppress(OSError, ValueError):
                return int(self.lock.read_text())
            return 0
        return None


@dataclass(frozen=True)
class StateDir:
    """The directory of all sandboxes of one portal."""

    root: Path

    def sandbox(self, sandbox_id: str) -> SandboxDir:
        return SandboxDir(self.root / sandbox_id)

    def sandboxes(self) -> dict[str, SandboxDir]:
        """All that are there, by id."""
        with suppress(FileNotFoundError):
            names = [entry.name for entry in os.scandir(self.root) if entry.is_dir()]
            return {n: self.sandbox(n) for n in names if n != PREPARED and SANDBOX_ID.fullmatch(n)}
        return {}

    @contextmanager
    def lock(self) -> Iterator[None]:
        """One at a time: whoever gives out ports and users looks at what was given out before."""
        self.root.mkdir(mode=0o711, parents=True, exist_ok=True)
        with (self.root / ".turn").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Replace a file at once, for the owner's eyes only: whoever reads sees the old or the new."""
    draft = path.with_name(f".{path.name}-{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as out:
        json.dump(content, out)
    draft.replace(path)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return found
