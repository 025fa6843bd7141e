"""The directories and state files of sandboxes.

<home>/prepared/<image>/<fingerprint>/    template of a service: see `templates.py`
<home>/<sandbox id>/record.json           the manifest; written before anything is started
                    state.json            state of the services; written by the supervisor
                    traffic               bytes received from and sent to callers
                    lock                  held by the supervisor while it runs
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
TEMPLATES = "prepared"
TRAFFIC = struct.Struct("<QQ")


@dataclass(frozen=True)
class Port:
    """A port of a service: its number in the blueprint, its published port, its internal port."""

    name: int
    published: int
    own: int


@dataclass(frozen=True)
class Service:
    """One service with all that is needed to start it."""

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
    """Everything that the supervisor needs to start a sandbox, also after a restart."""

    instance: str
    sandbox: str
    created_at: str
    address: str
    """Where callers reach the published ports."""
    disk_mb: int
    user: int | None
    """User ID of the services; None for the user that runs the portal."""
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

    def manifest(self) -> Manifest | None:
        """Return the manifest; None if it isn't written yet."""
        if not (found := _read(self.path / "record.json")):
            return None
        services = [
            Service(**one | {"ports": [Port(**port) for port in one["ports"]]})
            for one in found["services"]
        ]
        return Manifest(**found | {"services": services})

    def write_manifest(self, manifest: Manifest) -> None:
        write(self.path / "record.json", asdict(manifest))

    def state(self) -> dict[str, Any]:
        """Return `boot` and, under `services`, the `exit_code` of each service."""
        return _read(self.path / "state.json") or {"boot": "", "services": {}}

    def write_state(self, state: Mapping[str, Any]) -> None:
        write(self.path / "state.json", state)

    def traffic(self) -> tuple[int, int]:
        """Return the bytes received from and sent to callers of the published ports."""
        try:
            data = (self.path / "traffic").read_bytes()
        except FileNotFoundError:
            return 0, 0
        return TRAFFIC.unpack(data) if len(data) == TRAFFIC.size else (0, 0)

    def created_at(self) -> datetime:
        """Return when the directory was created, as far as known without a manifest."""
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
        """Return the existing sandboxes by ID."""
        with suppress(FileNotFoundError):
            names = [entry.name for entry in os.scandir(self.root) if entry.is_dir()]
            return {n: self.sandbox(n) for n in names if n != TEMPLATES and SANDBOX_ID.fullmatch(n)}
        return {}

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Serialize the assignment of ports and users, which depends on earlier assignments."""
        self.root.mkdir(mode=0o711, parents=True, exist_ok=True)
        with (self.root / ".turn").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Replace a file atomically, readable only by its owner."""
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
