"""The runtime contract, kept by processes of this machine."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from sandboxes.runtime import (
    Capabilities,
    EngineRefused,
    EngineUnreachable,
    LineCount,
    Report,
    SandboxFacts,
    SandboxSpec,
    Usage,
)
from sandboxes.runtime.host_resources import HostResources, available_memory, disk_space
from sandboxes.runtime.process.create import Creator
from sandboxes.runtime.process.destroy import Destroyer
from sandboxes.runtime.process.exec_and_logs import ExecAndLogs
from sandboxes.runtime.process.observe import Observer
from sandboxes.runtime.process.ports import PortAllocator
from sandboxes.runtime.process.state_dir import SANDBOX_ID, StateDir
from sandboxes.runtime.process.templates import TemplateStore

MB = 1024 * 1024


class ProcessRuntime:
    """Sandboxes in directories below `home`.

    Their ports are published on `address`, each on one of `ports` or, without them, on any that is
    free, and shown as of `public_host`.
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
        self.prepared = TemplateStore(self.home)
        observer = Observer(instance, self.home, public_host or address)
        self._observer = observer
        self._launcher = Creator(
            PortAllocator(instance, self.home, self.prepared, address, ports), observer
        )
        self._destroyer = Destroyer(self.home, observer)
        self._exec_and_logs = ExecAndLogs(self.home, observer)

    @classmethod
    def from_settings(cls) -> ProcessRuntime:
        return cls(
            settings.SANDBOX_INSTANCE,
            Path(settings.SANDBOX_PROCESS_DIR),
            address=settings.SANDBOX_BIND_ADDRESS,
            public_host=settings.SANDBOX_PUBLIC_HOST,
            ports=settings.SANDBOX_PORTS,
        )

    def create(self, spec: SandboxSpec, report: Report, timeout: float) -> SandboxFacts:
        if not SANDBOX_ID.fullmatch(spec.id):
            raise EngineRefused(f"“{spec.id}” can't be a sandbox's id.")
        with self._at_home():
            return self._launcher.create(spec, report, timeout)

    def observe(self, only: str = "", *, sizes: bool = False) -> dict[str, SandboxFacts]:
        with self._at_home():
            found = self._observer.observe(sizes=sizes)
        return {name: facts for name, facts in found.items() if only in ("", name)}

    def destroy(self, sandbox_id: str) -> None:
        with self._at_home():
            self._destroyer.remove(sandbox_id)

    def execute(
        self, sandbox_id: str, service: str, command: Sequence[str], timeout: float
    ) -> tuple[int, str]:
        with self._at_home():
            return self._exec_and_logs.execute(sandbox_id, service, command, timeout)

    def logs(self, sandbox_id: str, service: str, tail: int) -> str:
        with self._at_home():
            return self._exec_and_logs.logs(sandbox_id, service, tail)

    def count_lines(self, counts: Mapping[str, LineCount]) -> dict[str, LineCount]:
        with self._at_home():
            return self._exec_and_logs.count_lines(counts)

    def usage(self, sandbox_ids: Sequence[str]) -> dict[str, Usage]:
        with self._at_home():
            return self._observer.usage(sandbox_ids)

    def capabilities(self) -> Capabilities:
        with self._at_home():
            return Capabilities(
                name="process",
                version=platform.release() or "unknown",
                isolated=False,
                hard_disk_limit=False,
                memory_mb=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // MB,
                space=HostResources(
                    *disk_space(self.home.root), memory_available_mb=available_memory()
                ),
            )

    def images(self, names: Sequence[str]) -> dict[str, str]:
        with self._at_home():
            found = {name: self.prepared.find(name) for name in names}
            return {name: path.name for name, path in found.items() if path}

    @contextmanager
    def _at_home(self) -> Iterator[None]:
        """The directory is there and can be used. Raises EngineUnreachable."""
        try:
            self.home.root.mkdir(mode=0o711, parents=True, exist_ok=True)
            yield
        except OSError as error:
            raise EngineUnreachable(
                f"The directory of sandboxes, {self.home.root}, can't be used: {error.strerror}."
            ) from error
