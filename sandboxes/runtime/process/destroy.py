"""Removal of a sandbox: all its processes, then its directory."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from datetime import datetime

from sandboxes.runtime import EngineRefused, directory_tree
from sandboxes.runtime.process import process_table, shared_memory
from sandboxes.runtime.process.observe import Observer
from sandboxes.runtime.process.state_dir import SANDBOX_ID, SandboxDir, StateDir

SUPERVISOR_STOP_TIMEOUT_SECONDS = 2.0
STOP_TIMEOUT_SECONDS = 5.0
POLL_INTERVAL_SECONDS = 0.005
REMOVAL_TIMEOUT_SECONDS = 20.0
MAX_ATTEMPTS = 5


@dataclass(frozen=True)
class Destroyer:
    """Removes all processes and files of a sandbox."""

    home: StateDir
    observer: Observer

    def destroy(self, sandbox_id: str) -> None:
        """Remove all processes and files of the sandbox. Raises EngineRefused."""
        if not SANDBOX_ID.fullmatch(sandbox_id):
            return
        self.stop(sandbox_id)
        self._remove(self.home.sandbox(sandbox_id))

    def stop(self, sandbox_id: str) -> None:
        """End all processes of the sandbox. Raises EngineRefused."""
        directory = self.home.sandbox(sandbox_id)
        self._stop_supervisor(directory)
        if not process_table.end_all(
            lambda: self.observer.members(sandbox_id), STOP_TIMEOUT_SECONDS
        ):
            raise EngineRefused(f"Processes of {sandbox_id} can't be stopped.")
        self._remove_shared_memory(directory)

    def _remove_shared_memory(self, directory: SandboxDir) -> None:
        """Remove shared memory that killed services couldn't release."""
        if (manifest := directory.manifest()) is None:
            return
        creator_pids = [entry["pid"] for entry in directory.state()["services"].values()]
        user = os.geteuid() if manifest.user is None else manifest.user
        since = datetime.fromisoformat(manifest.created_at).timestamp()
        shared_memory.remove_segments(creator_pids, user, since - 1)

    def _stop_supervisor(self, directory: SandboxDir) -> None:
        """Ask the supervisor to stop its services, so that they release their shared memory."""
        supervisor = directory.supervisor()
        process = process_table.processes().get(supervisor) if supervisor else None
        if process is None:
            return
        process_table.send_signal(process, signal.SIGTERM)
        ends = time.monotonic() + SUPERVISOR_STOP_TIMEOUT_SECONDS
        while directory.supervisor() is not None and time.monotonic() < ends:
            time.sleep(POLL_INTERVAL_SECONDS)

    def _remove(self, directory: SandboxDir) -> None:
        reason = ""
        for _ in range(MAX_ATTEMPTS):
            try:
                directory_tree.remove(directory.path, REMOVAL_TIMEOUT_SECONDS)
            except TimeoutError:
                reason = "it has too many files to remove them at once"
                break
            except OSError as error:
                # Another process may remove it at the same time.
                reason = error.strerror or str(error)
            else:
                return
        raise EngineRefused(f"{directory.path} can't be removed: {reason}.")
