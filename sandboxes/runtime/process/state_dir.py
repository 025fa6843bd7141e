"""The directories and state files of sandboxes.

<home>/prepared/<image>/<fingerprint>/    template of a service: see `templates.py`
<home>/<sandbox id>/record.json           the manifest; written before anything is started
                    state.json            state of the services; written by the supervisor
                    claim                 mark of the launch that claimed it from the pool
                    traffic               bytes received from and sent to callers
                    lock                  held by the supervisor while it runs
                    logs/<service>.log
                    work/<service>/       the service's own directory
                    previous/             earlier `work` and manifest, until a replacement is ready
<home>/save-points/<id>/<service>/        copy of the service's own directory
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import stat
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep
from types import NoneType
from typing import IO, Any

from sandboxes.runtime import EngineRefused

SANDBOX_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
TEMPLATES = "prepared"
SAVE_POINTS = "save-points"
TRAFFIC = struct.Struct("<QQ")
MAX_STATE_BYTES = 1024 * 1024
MAX_PID_DIGITS = 20
LOCK_TIMEOUT_SECONDS = 20.0
LOCK_INTERVAL_SECONDS = 0.01
MAX_CLAIM_BYTES = 200
UNUSABLE = (FileNotFoundError, PermissionError)
"""Errors of files that were never written, or that a service made unreadable."""


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

    def create(self, user: int | None) -> None:
        """Create the directories. Only the portal and the services, which run as `user`, enter."""
        for path in (self.path, self.path / "logs", self.path / "work"):
            path.mkdir(mode=0o700, exist_ok=True)
            if user is not None:
                os.chown(path, -1, user)
                path.chmod(0o710)

    @property
    def lock(self) -> Path:
        return self.path / "lock"

    def log(self, service: str) -> Path:
        return self.path / "logs" / f"{service}.log"

    @property
    def work_root(self) -> Path:
        return self.path / "work"

    @property
    def previous(self) -> Path:
        return self.path / "previous"

    def work(self, service: str) -> Path:
        return self.work_root / service

    def manifest(self) -> Manifest | None:
        """Return the manifest; None if it isn't written yet or was overwritten by a service."""
        return read_manifest(self.path / "record.json")

    def write_manifest(self, manifest: Manifest) -> None:
        write(self.path / "record.json", asdict(manifest))

    def state(self) -> dict[str, Any]:
        """Return `boot` and, under `services`, the state of each service."""
        found = _read(self.path / "state.json")
        services = found.get("services")
        entries = services if isinstance(services, dict) else {}
        return {
            "boot": found.get("boot", ""),
            "services": {name: entry for name, entry in entries.items() if _is_state(entry)},
        }

    def write_state(self, state: Mapping[str, Any]) -> None:
        write(self.path / "state.json", state)

    def mark_claimed(self, claim: str) -> str:
        """Write the mark unless there is one; return the existing one."""
        draft = self.path / f".claim-{os.getpid()}-{threading.get_ident()}"
        with suppress(FileNotFoundError):  # The sandbox was removed.
            draft.write_text(claim)
            with suppress(FileExistsError):
                (self.path / "claim").hardlink_to(draft)
            draft.unlink()
        return self.claim() or claim

    def claim(self) -> str:
        """Return the mark of the launch that claimed the sandbox; empty if there is none."""
        with suppress(*UNUSABLE), open_file(self.path / "claim") as file:
            return file.read(MAX_CLAIM_BYTES).decode(errors="replace")
        return ""

    def traffic(self) -> tuple[int, int]:
        """Return the bytes received from and sent to callers of the published ports."""
        try:
            with open_file(self.path / "traffic") as file:
                data = file.read(TRAFFIC.size + 1)
        except UNUSABLE:
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
            with open_file(self.lock) as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    number = file.read(MAX_PID_DIGITS)
                    return int(number) if number.isdigit() else 0
        except UNUSABLE:
            pass
        return None


@dataclass(frozen=True)
class StateDir:
    """The directory of all sandboxes of one portal."""

    root: Path

    def save_point(self, save_point: str) -> Path:
        return self.root / SAVE_POINTS / save_point

    def sandbox(self, sandbox_id: str) -> SandboxDir:
        return SandboxDir(self.root / sandbox_id)

    def sandboxes(self) -> dict[str, SandboxDir]:
        """Return the existing sandboxes by ID."""
        with suppress(FileNotFoundError):
            names = [entry.name for entry in os.scandir(self.root) if entry.is_dir()]
            return {n: self.sandbox(n) for n in names if is_sandbox(n)}
        return {}

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Serialize the assignment of ports and users, which depends on earlier assignments.

        Raises EngineRefused if another process holds the lock for too long.
        """
        self.root.mkdir(mode=0o711, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        with os.fdopen(os.open(self.root / ".turn", flags, 0o600), "w") as file:
            # Sandboxes run as other users if they can, who must not be able to lock it.
            os.fchmod(file.fileno(), 0o600)
            ends_at = monotonic() + LOCK_TIMEOUT_SECONDS
            while not _try_lock(file):
                if monotonic() > ends_at:
                    raise EngineRefused(f"Another process has locked {file.name}.")
                sleep(LOCK_INTERVAL_SECONDS)
            yield


def is_sandbox(name: str) -> bool:
    """Return whether an entry of the home directory can be a sandbox."""
    return name not in (TEMPLATES, SAVE_POINTS) and bool(SANDBOX_ID.fullmatch(name))


def read_manifest(path: Path) -> Manifest | None:
    """Return the manifest in a file; None if there is none or a service has overwritten it."""
    try:
        found = _read(path)
        services = [
            Service(**one | {"ports": [Port(**port) for port in one["ports"]]})
            for one in found["services"]
        ]
        manifest = Manifest(**found | {"services": services})
        datetime.fromisoformat(manifest.created_at)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    return manifest


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Replace a file atomically, readable only by its owner."""
    draft = path.with_name(f".{path.name}-{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as out:
        json.dump(content, out)
    draft.replace(path)


def open_file(path: Path) -> IO[bytes]:
    """Open a file of a sandbox for reading.

    Without root, services run as the portal's user, and may replace it: nothing but a regular file
    is opened, as reading a pipe would wait for ever. Raises FileNotFoundError, PermissionError.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except NotADirectoryError as error:
        raise FileNotFoundError(path) from error
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise PermissionError(f"{path} is not a regular file") from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise PermissionError(f"{path} is not a regular file")
    return os.fdopen(descriptor, "rb")


def _try_lock(file: IO[str]) -> bool:
    with suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _read(path: Path) -> dict[str, Any]:
    """Return the content of a state file; nothing if it is missing or isn't an object."""
    try:
        with open_file(path) as file:
            found = json.loads(file.read(MAX_STATE_BYTES))
    except (*UNUSABLE, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_state(entry: Any) -> bool:
    """Return whether the value is the state of a service, as the supervisor writes it."""
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("pid"), int)
        and isinstance(entry.get("exit_code", ""), (int, NoneType))
        and isinstance(entry.get("out_of_memory"), bool)
    )
