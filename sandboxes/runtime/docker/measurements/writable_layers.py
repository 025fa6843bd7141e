"""Disk usage of containers, from the directories in which the engine keeps what they wrote.

The engine's own `size` adds up the lengths of files. It counts neither directories nor blocks, so
that many small files take ten times the space that it reports, and it walks through all containers
before it responds. Measuring here needs an engine on this machine whose data this process can read;
otherwise the engine is asked.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sandboxes.runtime.directory_tree import DiskUsage, measure_all
from sandboxes.runtime.docker.client import EngineClient

DRIVER = "overlay2"
MOUNTS = Path("image", DRIVER, "layerdb", "mounts")
"""Directory with a file `mount-id` for each container, which names its layer."""


@dataclass(frozen=True)
class WritableLayers:
    """The writable layers of an engine's containers."""

    engine: EngineClient

    @property
    def are_readable(self) -> bool:
        """Whether this process can read the layers. Raises EngineUnreachable."""
        return self._root is not None and os.access(self._root / MOUNTS, os.R_OK | os.X_OK)

    def measure(
        self, sandboxes: Mapping[str, Iterable[str]], volumes: Mapping[str, Iterable[Path]]
    ) -> dict[str, DiskUsage]:
        """Return the disk usage of each sandbox, given the ids of its containers.

        `volumes` are the directories of the volumes that a sandbox has besides them.

        Sandboxes are left out if the time is over or one of their containers was removed.
        """
        paths = {}
        for name, containers in sandboxes.items():
            with suppress(OSError):
                layers = [self._path(container) for container in containers]
                paths[name] = [*layers, *volumes.get(name, ())]
        return measure_all(paths)

    def _path(self, container_id: str) -> Path:
        assert self._root
        layer = (self._root / MOUNTS / container_id / "mount-id").read_text().strip()
        return self._root / DRIVER / layer / "diff"

    @cached_property
    def _root(self) -> Path | None:
        """The engine's data directory; None if it isn't here or has another kind of storage."""
        if not self.engine.is_local:
            return None
        with self.engine.calling("describe itself") as client:
            info = client.info()
        return Path(info["DockerRootDir"]) if info["Driver"] == DRIVER else None
