"""Save points: copies of the services' own directories, made while all processes are stopped."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sandboxes.runtime import (
    EngineRefused,
    ImageMissing,
    SandboxSpec,
    Saved,
    ServiceNotFound,
    ServiceState,
    directory_tree,
)
from sandboxes.runtime.process import process_table
from sandboxes.runtime.process.observe import Observer
from sandboxes.runtime.process.state_dir import SAVE_POINTS, StateDir

MB = 1024 * 1024
SECONDS = 20.0
"""Time limit of a removal, and of a measurement."""


@dataclass(frozen=True)
class SavePoints:
    """The save points of one portal, in a directory that services can't enter."""

    home: StateDir
    observer: Observer

    def save(self, spec: SandboxSpec, save_point: str) -> Saved:
        """Save the sandbox. Raises ServiceNotFound, EngineRefused."""
        self._require_running(spec)
        self.remove(save_point)
        target = self.home.save_point(save_point)
        target.parent.mkdir(mode=0o700, exist_ok=True)
        target.mkdir(mode=0o700)
        source = self.home.sandbox(spec.id)
        started_at = time.monotonic()
        with self._stopped(spec.id):
            for service in spec.services:
                copy(source.work(service.name), target / service.name)
        pause_seconds = time.monotonic() - started_at
        size = directory_tree.measure(target, SECONDS).megabytes
        return Saved(int(size * MB), pause_seconds)

    def list(self) -> dict[str, datetime]:
        """Return all save points, with the times at which they were begun."""
        directory = self.home.root / SAVE_POINTS
        found = directory.iterdir() if directory.exists() else ()
        return {one.name: datetime.fromtimestamp(one.stat().st_mtime, UTC) for one in found}

    def remove(self, save_point: str) -> None:
        directory_tree.remove(self.home.save_point(save_point), SECONDS)

    def _require_running(self, spec: SandboxSpec) -> None:
        facts = self.observer.observe_one(spec.id)
        for service in spec.services:
            if facts is None or service.name not in facts.services:
                raise ServiceNotFound(f"The service {service.name} is gone.")
            if facts.services[service.name].state is not ServiceState.RUNNING:
                raise EngineRefused(f"The service {service.name} is not running.")

    @contextmanager
    def _stopped(self, sandbox_id: str) -> Iterator[None]:
        """Stop all processes of a sandbox; those that a process has just started, too."""
        stopped: dict[int, process_table.Process] = {}
        try:
            while new := [p for p in self.observer.members(sandbox_id) if p.pid not in stopped]:
                for process in new:
                    process_table.send_signal(process, signal.SIGSTOP)
                    stopped[process.pid] = process
            yield
        finally:
            for process in stopped.values():
                process_table.send_signal(process, signal.SIGCONT)


def copy(source: Path, target: Path) -> None:
    """Copy a directory with its links as they are; without sockets and pipes.

    Raises ImageMissing if it doesn't exist.
    """
    if not source.is_dir():
        raise ImageMissing("The data of the save point is gone.")
    shutil.copytree(source, target, symlinks=True, ignore=_special_files)


def _special_files(directory: str, names: Sequence[str]) -> list[str]:
    modes = {name: os.lstat(Path(directory, name)).st_mode for name in names}
    kinds = (stat.S_ISREG, stat.S_ISDIR, stat.S_ISLNK)
    return [name for name, mode in modes.items() if not any(kind(mode) for kind in kinds)]
