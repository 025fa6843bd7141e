"""Volumes that several services of a sandbox share."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sandboxes.runtime import EngineRefused, SandboxSpec
from sandboxes.runtime.docker.client import EngineClient, run_parallel
from sandboxes.runtime.docker.containers.destroy import ignore_gone
from sandboxes.runtime.docker.names import VOLUME, Names, label

Row = Mapping[str, Any]


@dataclass(frozen=True)
class SharedVolumes:
    """The shared volumes of one portal's sandboxes. They are removed with their sandbox."""

    engine: EngineClient
    names: Names

    def ensure(self, spec: SandboxSpec, engine_names: Mapping[str, str]) -> None:
        """Create the volumes of a sandbox unless they exist.

        Raises EngineRefused, EngineUnreachable.
        """
        run_parallel([partial(self._ensure, spec, *one) for one in engine_names.items()])

    def _ensure(self, spec: SandboxSpec, volume: str, engine_name: str) -> None:
        labels = self.names.volume_labels(spec, volume)
        with self.engine.calling(f"create the volume {volume}") as client:
            # The engine returns an existing volume of this name as it is.
            found = client.create_volume(engine_name, labels=labels)
        if not self.names.owns(found, spec.id):
            raise EngineRefused(f"A volume of another program already has the name {engine_name}.")

    def remove_unused(self, sandbox_id: str) -> None:
        """Remove the sandbox's volumes that none of its containers uses."""
        filters = self.names.filters(sandbox_id)
        with self.engine.calling("list the sandbox's volumes") as client:
            containers = client.containers(all=True, filters=filters)
            volumes = client.volumes(filters=filters)["Volumes"] or ()
        used = {name for row in containers for name in mounted(row)}
        unused = [row["Name"] for row in volumes if is_shared(row) and row["Name"] not in used]
        run_parallel([partial(self._remove, name) for name in unused])

    def _remove(self, engine_name: str) -> None:
        with self.engine.calling("remove the sandbox's volume") as client:
            ignore_gone(partial(client.remove_volume, engine_name))


def mounts(volumes: Mapping[str, str], engine_names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the mounts of a service in the engine's request that creates its container."""
    return [
        {"Type": "volume", "Source": engine_names[volume], "Target": path}
        for path, volume in volumes.items()
    ]


def mounted(container: Row) -> set[str]:
    """Return the names of the volumes that a container uses."""
    found = container.get("Mounts") or ()
    return {mount["Name"] for mount in found if mount["Type"] == "volume"}


def is_shared(volume: Row) -> bool:
    """Return whether a volume from the engine's lists has data; others only mark a claim."""
    return bool(label(volume, VOLUME))


def mount_points(volumes: Collection[Row]) -> list[Path]:
    """Return the directories of the shared volumes on the engine's machine."""
    return [Path(row["Mountpoint"]) for row in volumes if is_shared(row)]


def engine_sizes(engine: EngineClient) -> dict[str, int]:
    """Return the size of each volume in bytes, as the engine measures it. Raises EngineUnreachable.

    The engine measures all of its data for it, so this takes long.
    """
    with engine.calling("measure the volumes", timeout_factor=SIZES_TIMEOUT_FACTOR) as client:
        url = f"{client.base_url}/v{client.api_version}/system/df"
        answer = client.get(url, params={"type": "volume"}, timeout=client.timeout)
        answer.raise_for_status()
        rows = answer.json()["Volumes"] or ()
    sizes = {row["Name"]: (row.get("UsageData") or {}).get("Size", 0) for row in rows}
    return {name: max(0, size) for name, size in sizes.items()}


SIZES_TIMEOUT_FACTOR = 6
"""To report sizes, the engine walks through all files that it keeps."""
