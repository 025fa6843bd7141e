"""What is there: the directories, how the supervisors say that services are, and every process."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sandboxes.runtime import Published, SandboxFacts, ServiceFacts, ServiceState, Usage
from sandboxes.runtime.process import process_table
from sandboxes.runtime.process.state_dir import SandboxDir, Service, StateDir

MB = 1024 * 1024
BLOCK = 512
KILLED = 137
EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True)
class Observer:
    """Sees all sandboxes of one portal. `public_host`: as what their ports are shown."""

    instance: str
    home: StateDir
    public_host: str

    def observe(self, *, sizes: bool) -> dict[str, SandboxFacts]:
        """Everything that has a directory, and whatever still runs of those that have none."""
        found = {}
        for name, folder in self.home.sandboxes().items():
            if facts := self._facts(name, folder, sizes):
                found[name] = facts
        for name in process_table.members(self.instance, self.home.root):
            if name not in found and not self.home.sandbox(name).path.exists():
                found[name] = SandboxFacts(name, {}, created_at=EPOCH)
        return found

    def observe_one(self, sandbox_id: str) -> SandboxFacts | None:
        return self._facts(sandbox_id, self.home.sandbox(sandbox_id), sizes=False)

    def members(self, sandbox_id: str) -> list[process_table.Process]:
        """The living processes of one sandbox."""
        return process_table.members(self.instance, self.home.root).get(sandbox_id, [])

    def usage(self, sandbox_ids: Sequence[str]) -> dict[str, Usage]:
        """Consumption of those that run."""
        members = process_table.members(self.instance, self.home.root) if sandbox_ids else {}
        found = {}
        for name in sandbox_ids:
            facts = self.observe_one(name)
            if facts is None or not facts.alive:
                continue
            received, sent = self.home.sandbox(name).traffic()
            found[name] = Usage(
                memory_mb=sum(process.memory_mb for process in members.get(name, ())),
                cpu_seconds=sum(process.cpu_seconds for process in members.get(name, ())),
                received_bytes=received,
                sent_bytes=sent,
            )
        return found

    def _facts(self, name: str, folder: SandboxDir, sizes: bool) -> SandboxFacts | None:
        try:
            # Before its notes: what a supervisor wrote last is true of its end, too.
            lives = folder.supervisor() is not None
            record, state = folder.record(), folder.state()
            made_at = folder.made_at()
        except FileNotFoundError:
            return None
        if record is None:
            return SandboxFacts(name, {}, made_at, disk_mb=size_mb(folder) if sizes else None)
        services = {
            service.name: self._service(service, state["services"][service.name], state, lives)
            for service in record.services
            if service.name in state["services"]
        }
        return SandboxFacts(
            id=name,
            services=services,
            created_at=datetime.fromisoformat(record.created_at),
            traffic_bytes=folder.traffic()[1],
            disk_mb=size_mb(folder) if sizes else None,
        )

    def _service(
        self, service: Service, kept: dict[str, Any], state: dict[str, Any], lives: bool
    ) -> ServiceFacts:
        if kept["exit_code"] is not None:
            return ServiceFacts(
                ServiceState.EXITED,
                exit_code=kept["exit_code"],
                out_of_memory=kept["out_of_memory"],
            )
        if lives:
            ports = {p.name: Published(self.public_host, p.published) for p in service.ports}
            return ServiceFacts(ServiceState.RUNNING, ports)
        # Nobody passes on what callers send any more. With the machine that is no fault of its own.
        restarted = state["boot"] != process_table.boot_id()
        return ServiceFacts(ServiceState.EXITED, exit_code=KILLED, stopped_with_engine=restarted)


def size_mb(folder: SandboxDir) -> float:
    """What the files of a sandbox take of the disk, in MB; they may come and go meanwhile."""
    blocks = 0
    for path, _, files in os.walk(folder.path):
        for name in files:
            try:
                blocks += os.lstat(os.path.join(path, name)).st_blocks  # noqa: PTH118 - many files
            except FileNotFoundError:
                continue
    return blocks * BLOCK / MB
