"""Facts about sandboxes, from directories, the supervisors' state files and the process table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sandboxes.runtime import (
    NetworkBytes,
    Published,
    SandboxFacts,
    ServiceFacts,
    ServiceState,
    Usage,
    directory_tree,
)
from sandboxes.runtime.directory_tree import DiskUsage
from sandboxes.runtime.process import process_table
from sandboxes.runtime.process.state_dir import SandboxDir, Service, StateDir

KILLED = 137
EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True)
class Observer:
    """Observes all sandboxes of one portal. Their ports are shown at `public_host`."""

    instance: str
    home: StateDir
    public_host: str

    def observe(self, *, sizes: bool) -> dict[str, SandboxFacts]:
        """Return all sandboxes with a directory, and those without one that have processes."""
        found = {}
        directories = self.home.sandboxes()
        paths = {name: [directory.path] for name, directory in directories.items() if sizes}
        usage = directory_tree.measure_all(paths)
        for name, directory in directories.items():
            if facts := self._facts(name, directory, usage.get(name)):
                found[name] = facts
        for name in process_table.members(self.instance, self.home.root):
            if name not in found and not self.home.sandbox(name).path.exists():
                found[name] = SandboxFacts(name, {}, created_at=EPOCH)
        return found

    def observe_one(self, sandbox_id: str) -> SandboxFacts | None:
        return self._facts(sandbox_id, self.home.sandbox(sandbox_id))

    def read_traffic(self, sandbox_id: str) -> int:
        """Return the bytes sent to callers of the published ports."""
        return self.home.sandbox(sandbox_id).traffic()[1]

    def members(self, sandbox_id: str) -> list[process_table.Process]:
        """Return the running processes of one sandbox."""
        return process_table.members(self.instance, self.home.root).get(sandbox_id, [])

    def usage(self, sandbox_ids: Sequence[str]) -> dict[str, Usage]:
        """Return the usage of the sandboxes that are running."""
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

    def _facts(
        self, name: str, directory: SandboxDir, usage: DiskUsage | None = None
    ) -> SandboxFacts | None:
        try:
            # Before its state: the last state that a supervisor wrote stays true after its end.
            lives = directory.supervisor() is not None
            manifest, state = directory.manifest(), directory.state()
            created_at = directory.created_at()
        except FileNotFoundError:
            return None
        if manifest is None:
            return SandboxFacts(name, {}, created_at)
        services = {
            service.name: self._service(service, state["services"][service.name], state, lives)
            for service in manifest.services
            if service.name in state["services"]
        }
        received, sent = directory.traffic()
        return SandboxFacts(
            id=name,
            services=services,
            created_at=datetime.fromisoformat(manifest.created_at),
            traffic_bytes=sent,
            # Packets that acknowledge a response aren't seen here, as they are on a bridge.
            network=NetworkBytes(max(received, sent), sent),
            claim=directory.claim(),
            disk_mb=usage.megabytes if usage else None,
            files=usage.files if usage else None,
        )

    def _service(
        self, service: Service, entry: dict[str, Any], state: dict[str, Any], lives: bool
    ) -> ServiceFacts:
        if entry["exit_code"] is not None:
            return ServiceFacts(
                ServiceState.EXITED,
                exit_code=entry["exit_code"],
                out_of_memory=entry["out_of_memory"],
            )
        if lives:
            ports = {p.name: Published(self.public_host, p.published) for p in service.ports}
            return ServiceFacts(ServiceState.RUNNING, ports)
        # Without a supervisor, requests don't reach the service. A reboot isn't an error.
        restarted = state["boot"] != process_table.boot_id()
        return ServiceFacts(ServiceState.EXITED, exit_code=KILLED, stopped_with_engine=restarted)
