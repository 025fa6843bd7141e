"""Removing a sandbox: its processes as one, then its directory."""

from __future__ import annotations

import os
import shutil
import signal
import time
from dataclasses import dataclass
from datetime import datetime

from sandboxes.runtime import EngineRefused
from sandboxes.runtime.process import process_table, shared_memory
from sandboxes.runtime.process.observe import Observer
from sandboxes.runtime.process.state_dir import SANDBOX_ID, SandboxDir, StateDir

SUPERVISOR_STOP_TIMEOUT_SECONDS = 2.0
STOP_TIMEOUT_SECONDS = 5.0
POLL_INTERVAL_SECONDS = 0.005
MAX_ATTEMPTS = 5


@dataclass(frozen=True)
class Destroyer:
    """Leaves nothing of a sandbox."""

    home: StateDir
    observer: Observer

    def remove(self, sandbox_id: str) -> None:
        """No process and no file of it is left. Raises EngineRefused."""
        if not SANDBOX_ID.fullmatch(sandbox_id):
            return
        folder = self.home.sandbox(sandbox_id)
        self._ask_keeper(folder)
        if not process_table.end_all(
            lambda: self.observer.members(sandbox_id), STOP_TIMEOUT_SECONDS
        ):
            raise EngineRefused(f"Processes of {sandbox_id} can't be ended.")
        self._forget_shared_memory(folder)
        self._remove(folder)

    def _forget_shared_memory(self, folder: SandboxDir) -> None:
        """What its services would have put away themselves, had nobody killed them."""
        if (record := folder.record()) is None:
            return
        makers = [kept["pid"] for kept in folder.state()["services"].values()]
        user = os.geteuid() if record.user is None else record.user
        since = datetime.fromisoformat(record.created_at).timestamp()
        shared_memory.remove_segments(makers, user, since - 1)

    def _ask_keeper(self, folder: SandboxDir) -> None:
        """Services that are asked to end put their shared memory away; those killed don't."""
        supervisor = folder.supervisor()
        process = process_table.processes().get(supervisor) if supervisor else None
        if process is None:
            return
        process_table.send_signal(process, signal.SIGTERM)
        ends = time.monotonic() + SUPERVISOR_STOP_TIMEOUT_SECONDS
        while folder.supervisor() is not None and time.monotonic() < ends:
            time.sleep(POLL_INTERVAL_SECONDS)

    def _remove(self, folder: SandboxDir) -> None:
        for _ in range(MAX_ATTEMPTS):
            # Others may be at it as well, so what has gone already is no error.
            shutil.rmtree(folder.path, ignore_errors=True)
            if not folder.path.exists():
                return
        raise EngineRefused(f"{folder.path} can't be removed.")
