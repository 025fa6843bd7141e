"""Replacement of a sandbox's services by new ones with the same ports.

    stop → rename `work` to `previous` → new manifest → create → rename `previous`, remove it

`previous` exists as long as the new services aren't ready, so the next call after a kill starts
over. It comes back if a step fails.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from sandboxes.runtime import (
    EngineRefused,
    NotReady,
    Report,
    RuntimeFailure,
    SandboxFacts,
    SandboxSpec,
    ServiceNotFound,
)
from sandboxes.runtime.process.create import Creator
from sandboxes.runtime.process.destroy import Destroyer
from sandboxes.runtime.process.state_dir import SandboxDir, read_manifest, write

RESTORE_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class Recreator:
    """Recreates sandboxes in their directories."""

    creator: Creator
    destroyer: Destroyer

    def recreate(self, spec: SandboxSpec, report: Report, timeout: float) -> SandboxFacts:
        """Replace all services. Raises the errors of `create`; nothing has changed then."""
        directory = self.destroyer.home.sandbox(spec.id)
        if (known := directory.manifest()) is None:
            raise ServiceNotFound("The sandbox was removed.")
        manifest = self.creator.allocator.renew_manifest(spec, known)
        report("network")
        self.destroyer.stop(spec.id)
        if not directory.previous.exists():
            write(directory.work_root / "record.json", asdict(known))
            directory.work_root.rename(directory.previous)
        self._discard(directory.work_root)
        directory.work_root.mkdir(mode=0o711)
        directory.write_manifest(manifest)
        try:
            facts = self.creator.create(spec, report, timeout)
        except RuntimeFailure:
            self._restore(spec, directory, report)
            raise
        except OSError as error:
            self._restore(spec, directory, report)
            raise EngineRefused(f"The services can't be created: {error.strerror}.") from error
        self._discard(directory.previous)
        return facts

    def _restore(self, spec: SandboxSpec, directory: SandboxDir, report: Report) -> None:
        """Start the previous services again in place of the new ones."""
        self.destroyer.stop(spec.id)
        self._discard(directory.work_root)
        manifest = read_manifest(directory.previous / "record.json")
        assert manifest
        directory.write_manifest(manifest)
        directory.previous.rename(directory.work_root)
        with suppress(NotReady):
            self.creator.create(replace(spec, save_point=""), report, RESTORE_TIMEOUT_SECONDS)

    def _discard(self, path: Path) -> None:
        """Remove a directory; after a kill, it is either complete or has another name."""
        discarded = path.with_name("discarded")
        shutil.rmtree(discarded, ignore_errors=True)
        with suppress(FileNotFoundError):
            path.rename(discarded)
        shutil.rmtree(discarded, ignore_errors=True)
