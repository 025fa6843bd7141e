"""Disk usage of containers, from the directories in which the engine keeps what they wrote.

The engine's own `size` adds up the lengths of files. It counts neither directories nor blocks, so
that many small files take ten times the space that it reports, and it walks through all containers
before it responds. Measuring here needs an engine on this machine whose data this process can read;
otherwise the engine is asked.

Reading the status of each file takes more CPU time than all else of a sweep. As long as the file
system has hardly less space than at the last measurement, no sandbox can have grown, and only new
ones are measured.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from time import monotonic

from sandboxes.runtime.directory_tree import DiskUsage, measure_all
from sandboxes.runtime.docker.client import EngineClient

DRIVER = "overlay2"
MOUNTS = Path("image", DRIVER, "layerdb", "mounts")
"""Directory with a file `mount-id` for each container, which names its layer."""
VOLUMES = "volumes"
GROWTH_MB = 8.0
GROWTH_FILES = 1000
"""How much less free space and how many fewer free inodes count as growth."""
MAX_AGE_SECONDS = 300.0
"""What other programs free meanwhile can hide growth for this long."""
MB = 1024 * 1024

Sources = tuple[Sequence[str], Sequence[Path]]
"""The ids of a sandbox's containers, and the directories of its volumes."""


@dataclass(frozen=True)
class FreeSpace:
    """Free space and inodes of the file systems of an engine's data at one time."""

    read_at: float
    megabytes: float
    files: int

    def has_shrunk_since(self, earlier: FreeSpace) -> bool:
        """Return whether a sandbox may have grown since then."""
        return (
            self.read_at - earlier.read_at > MAX_AGE_SECONDS
            or earlier.megabytes - self.megabytes > GROWTH_MB
            or earlier.files - self.files > GROWTH_FILES
        )


class WritableLayers:
    """The writable layers of an engine's containers."""

    def __init__(self, engine: EngineClient) -> None:
        self.engine = engine
        self._measured: dict[str, tuple[Sources, DiskUsage]] = {}
        """Each sandbox that was measured to the end."""
        self._free_space: FreeSpace | None = None
        """As it was before all sandboxes were measured the last time."""

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
        sources: dict[str, Sources] = {
            name: (list(containers), list(volumes.get(name, ())))
            for name, containers in sandboxes.items()
        }
        known = self._known(sources)
        paths = {}
        for name in sources.keys() - known.keys():
            containers, directories = sources[name]
            with suppress(OSError):
                paths[name] = [*map(self._path, containers), *directories]
        found = measure_all(paths)
        complete = {name: (sources[name], usage) for name, usage in found.items() if usage.complete}
        self._measured |= complete
        return known | found

    def _known(self, sources: Mapping[str, Sources]) -> dict[str, DiskUsage]:
        """Return the usage of sandboxes that can't have grown since they were measured."""
        # Read before measuring: what is written meanwhile counts as growth.
        free, before = self._read_free_space(), self._free_space
        gone = self._measured.keys() - sources.keys()
        if before is None or gone or free.has_shrunk_since(before):
            self._measured, self._free_space = {}, free
        return {
            name: usage
            for name, (measured, usage) in self._measured.items()
            if measured == sources[name]
        }

    def _read_free_space(self) -> FreeSpace:
        assert self._root
        # Volumes may be on a file system of their own; otherwise growth counts twice.
        found = []
        for name in (DRIVER, VOLUMES):
            with suppress(OSError):
                found.append(os.statvfs(self._root / name))
        megabytes = sum(one.f_bfree * one.f_frsize for one in found) / MB
        return FreeSpace(monotonic(), megabytes, sum(one.f_ffree for one in found))

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
