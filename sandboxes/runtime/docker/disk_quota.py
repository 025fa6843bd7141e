"""The hard limit of a container's disk usage, where the engine's storage can enforce one.

Docker's `--storage-opt size` works on btrfs and zfs, and on overlay2 over XFS mounted with project
quotas. Elsewhere the engine rejects it, and usage is measured instead. The limit covers a
container's writable layer. Volumes that services share are measured only.
"""

from __future__ import annotations

import secrets
import threading
from contextlib import suppress
from dataclasses import dataclass, field

from docker.errors import APIError

from sandboxes.runtime import SandboxSpec, ServiceSpec
from sandboxes.runtime.docker.client import EngineClient
from sandboxes.runtime.docker.containers.container_config import ContainerConfig
from sandboxes.runtime.docker.names import Names

MB = 1024 * 1024
QUOTA_ALWAYS_SUPPORTED = ("btrfs", "zfs")
QUOTA_INCLUDES_IMAGE = ("btrfs",)
"""These drivers count the image towards the limit, so its size is added."""


@dataclass
class DiskQuota:
    """Detects once whether the engine enforces a limit, and provides the options to set it."""

    engine: EngineClient
    names: Names
    container_config: ContainerConfig
    _driver: str | None = None
    _is_enforced: bool | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def options(self, spec: SandboxSpec, service: ServiceSpec) -> dict[str, str]:
        """Return the storage options of a container. Services that can write share the limit."""
        if not service.writes_to_layer or not self.is_enforced(service.image):
            return {}
        writers = sum(s.writes_to_layer for s in spec.services)
        size_mb = spec.disk_mb // writers
        if self._driver in QUOTA_INCLUDES_IMAGE:
            size_mb += self._image_mb(service.image)
        return {"size": f"{size_mb}M"}

    def is_enforced(self, image: str = "") -> bool:
        """Return whether the engine enforces the limit; tested with `image` if necessary."""
        with self._lock:
            if self._is_enforced is None:
                self._is_enforced = self._detect(image)
            return bool(self._is_enforced)

    def _detect(self, image: str) -> bool | None:
        with self.engine.calling("describe itself") as client:
            info = client.info()
        self._driver = info["Driver"]
        if self._driver in QUOTA_ALWAYS_SUPPORTED:
            return True
        if self._driver != "overlay2" or ["Backing Filesystem", "xfs"] not in info["DriverStatus"]:
            return False
        return self._probe(image or self._any_image())

    def _any_image(self) -> str:
        with self.engine.calling("list the images") as client:
            images = client.images(quiet=True)
        return str(images[0]) if images else ""

    def _probe(self, image: str) -> bool | None:
        """Return whether the engine creates a container with a limit; None if unknown yet.

        The container is never started. If it is left behind, the reaper finds it by its labels.
        """
        if not image:
            return None
        spec = trial_spec(image)
        [service] = spec.services
        config = self.container_config.config(spec, service, {"size": "64M"})
        config["HostConfig"]["NetworkMode"] = "none"
        del config["NetworkingConfig"]
        name = self.names.container(spec.id, service.name)
        with self.engine.calling("test the disk limit") as client:
            try:
                created = client.create_container_from_config(config, name)
            except APIError as error:
                if "storage-opt" in str(error.explanation):
                    return False
                raise
            with suppress(APIError):
                client.remove_container(created["Id"], force=True)
        return True

    def _image_mb(self, image: str) -> int:
        with self.engine.calling(f"describe the image {image}") as client:
            size: int = client.inspect_image(image)["Size"]
        # Rounded down, so that usage allowed by the engine never exceeds our limit.
        return size // MB


def trial_spec(image: str) -> SandboxSpec:
    """Return a sandbox of one service that only tests an option and is never started."""
    service = ServiceSpec(
        "trial", image, memory_mb=16, cpus=0.1, pids=8, command=["true"], user="65534"
    )
    trial_id = f"disk-limit-trial-{secrets.token_hex(4)}"
    return SandboxSpec(trial_id, "trial", [service], ready=[], disk_mb=64)
