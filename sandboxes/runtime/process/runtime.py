"""The runtime contract with processes of this machine."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from django.conf import settings

from sandboxes.runtime import (
    Capabilities,
    EngineRefused,
    EngineUnreachable,
    LineCount,
    ProbeResult,
    ReadyCheck,
    Repair,
    Report,
    SandboxFacts,
    SandboxSpec,
    Saved,
    Usage,
    needs_containers,
)
from sandboxes.runtime.host_resources import HostResources, available_memory, disk_space
from sandboxes.runtime.probing import probe_host
from sandboxes.runtime.process.create import Creator
from sandboxes.runtime.process.destroy import Destroyer
from sandboxes.runtime.process.exec_and_logs import ExecAndLogs
from sandboxes.runtime.process.observe import Observer
from sandboxes.runtime.process.ports import PortAllocator
from sandboxes.runtime.process.recreate import Recreator
from sandboxes.runtime.process.repair import Repairer
from sandboxes.runtime.process.save_points import SavePoints
from sandboxes.runtime.process.state_dir import SANDBOX_ID, StateDir
from sandboxes.runtime.process.templates import TemplateStore, template_id

MB = 1024 * 1024


class ProcessRuntime:
    """Sandboxes in directories below `home`.

    Ports are published on `address` and shown at `public_host`. They are taken from `ports`, or are
    any free ports if it is empty.
    """

    def __init__(
        self,
        instance: str,
        home: Path,
        *,
        address: str = "127.0.0.1",
        public_host: str = "",
        ports: Sequence[int] = (),
    ) -> None:
        self.home = StateDir(home.resolve())
        self.templates = TemplateStore(self.home)
        observer = Observer(instance, self.home, public_host or address)
        self._observer = observer
        self._exec_and_logs = ExecAndLogs(self.home, observer)
        self._creator = Creator(
            PortAllocator(instance, self.home, self.templates, address, ports),
            observer,
            self._exec_and_logs,
        )
        self._destroyer = Destroyer(self.home, observer)
        self._repairer = Repairer(observer, self._creator, self._destroyer, probe_host(address))
        self._recreator = Recreator(self._creator, self._destroyer)
        self._save_points = SavePoints(self.home, observer)

    @classmethod
    def from_settings(cls, instance: str = "", folder: Path | None = None) -> ProcessRuntime:
        """Return the runtime of this portal, or of another instance with its own folder."""
        return cls(
            instance or settings.SANDBOX_INSTANCE,
            folder or Path(settings.SANDBOX_PROCESS_DIR),
            address=settings.SANDBOX_BIND_ADDRESS,
            public_host=settings.SANDBOX_PUBLIC_HOST,
            ports=settings.SANDBOX_PORTS,
        )

    def create(self, spec: SandboxSpec, report: Report, timeout: float) -> SandboxFacts:
        if not SANDBOX_ID.fullmatch(spec.id):
            raise EngineRefused(f"“{spec.id}” isn't a valid sandbox ID.")
        if needs_containers(spec.services, spec.ready):
            raise EngineRefused(f"The blueprint {spec.blueprint} needs containers to run.")
        with self._usable_home():
            return self._creator.create(spec, report, timeout)

    def recreate(self, spec: SandboxSpec, report: Report, timeout: float) -> SandboxFacts:
        with self._usable_home():
            return self._recreator.recreate(spec, report, timeout)

    def save(self, spec: SandboxSpec, save_point: str) -> Saved:
        with self._usable_home():
            return self._save_points.save(spec, save_point)

    def save_points(self) -> dict[str, datetime]:
        with self._usable_home():
            return self._save_points.list()

    def remove_save_point(self, save_point: str) -> None:
        with self._usable_home():
            self._save_points.remove(save_point)

    def observe(self, only: str = "", *, sizes: bool = False) -> dict[str, SandboxFacts]:
        with self._usable_home():
            found = self._observer.observe(sizes=sizes)
        return {name: facts for name, facts in found.items() if only in ("", name)}

    def probe(
        self,
        observed: Iterable[SandboxFacts],
        checks: Mapping[str, Sequence[ReadyCheck]],
        seconds: float,
    ) -> dict[str, ProbeResult]:
        with self._usable_home():
            return self._repairer.probe(observed, checks, seconds)

    def repair(self, spec: SandboxSpec, report: Report, timeout: float) -> Repair:
        with self._usable_home():
            return self._repairer.repair(spec, report, timeout)

    def destroy(self, sandbox_id: str) -> None:
        with self._usable_home():
            self._destroyer.destroy(sandbox_id)

    def mark_claimed(self, sandbox_id: str, claim: str) -> str:
        with self._usable_home():
            return self.home.sandbox(sandbox_id).mark_claimed(claim)

    def execute(
        self, sandbox_id: str, service: str, command: Sequence[str], timeout: float
    ) -> tuple[int, str]:
        with self._usable_home():
            return self._exec_and_logs.execute(sandbox_id, service, command, timeout)

    def logs(self, sandbox_id: str, service: str, tail: int) -> str:
        with self._usable_home():
            return self._exec_and_logs.logs(sandbox_id, service, tail)

    def count_lines(self, counts: Mapping[str, LineCount]) -> dict[str, LineCount]:
        with self._usable_home():
            return self._exec_and_logs.count_lines(counts)

    def usage(self, sandbox_ids: Sequence[str]) -> dict[str, Usage]:
        with self._usable_home():
            return self._observer.usage(sandbox_ids)

    def capabilities(self) -> Capabilities:
        with self._usable_home():
            return Capabilities(
                name="process",
                version=platform.release() or "unknown",
                isolated=False,
                hard_disk_limit=False,
                memory_mb=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // MB,
                resources=HostResources(
                    *disk_space(self.home.root), memory_available_mb=available_memory()
                ),
            )

    def images(self, names: Sequence[str]) -> dict[str, str]:
        with self._usable_home():
            found = {name: self.templates.find(name) for name in names}
            return {name: template_id(name, path) for name, path in found.items() if path}

    @contextmanager
    def _usable_home(self) -> Iterator[None]:
        """Create the directory if necessary. Raises EngineUnreachable if it can't be used."""
        try:
            self.home.root.mkdir(mode=0o711, parents=True, exist_ok=True)
            yield
        except OSError as error:
            raise EngineUnreachable(
                f"The sandboxes' directory {self.home.root} can't be used: {error.strerror}."
            ) from error
