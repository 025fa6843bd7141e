"""The hard limit on what a container may write, where the engine's storage can enforce one.

Docker's `--storage-opt size` works on btrfs and zfs, and on overlay2 over XFS that is mounted with
project quotas. Elsewhere the engine refuses it, and what is written is measured instead. It covers
a container's own layer, not volumes, and sandboxes have none.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from docker.errors import APIError

from sandboxes.runtime import SandboxSpec, ServiceSpec
from sandboxes.runtime.docker.client import EngineClient
from sandboxes.runtime.docker.container_config import UNPRIVILEGED
from sandboxes.runtime.docker.names import INSTANCE, SANDBOX, Names

MB = 1024 * 1024
QUOTA_ALWAYS_SUPPORTED = ("btrfs", "zfs")
QUOTA_INCLUDES_IMAGE = ("btrfs",)
"""Here the limit is on all that a container can see, so its image's size is added."""


@dataclass
class DiskQuota:
    """Knows, after asking once, whether the engine enforces a limit, and how to set it."""

    engine: EngineClient
    names: Names
    _driver: str | None = None
    _works: bool | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def options(self, spec: SandboxSpec, service: ServiceSpec) -> dict[str, str]:
        """The storage options of a container: the services that can write share the disk."""
        if service.read_only or not self.works(service.image):
            return {}
        writers = sum(not s.read_only for s in spec.services)
        size_mb = spec.disk_mb // writers
        if self._driver in QUOTA_INCLUDES_IMAGE:
            size_mb += self._image_mb(service.image)
        return {"size": f"{size_mb}M"}

    def works(self, image: str = "") -> bool:
        """Whether the engine enforces it. `image`: one that a trial container can be made of."""
        with self._lock:
            if self._works is None:
                self._works = self._find_out(image)
            return bool(self._works)

    def _find_out(self, image: str) -> bool | None:
        with self.engine.calling("describe itself") as client:
            info = client.info()
        self._driver = info["Driver"]
        if self._driver in QUOTA_ALWAYS_SUPPORTED:
            return True
        if self._driver != "overlay2" or ["Backing Filesystem", "xfs"] not in info["DriverStatus"]:
            return False
        return self._try_out(image or self._any_image())

    def _any_image(self) -> str:
        with self.engine.calling("list the images") as client:
            images = client.images(quiet=True)
        return str(images[0]) if images else ""

    def _try_out(self, image: str) -> bool | None:
        """Whether the engine makes a container with a limit; None: it can't be told yet.

        The container is never started. Should it be left behind, the reaper finds it by its labels.
        """
        if not image:
            return None
        labels = {INSTANCE: self.names.instance, SANDBOX: "disk-limit-trial"}
        storage = {"StorageOpt": {"size": "64M"}, "NetworkMode": "none"}
        host: dict[str, Any] = UNPRIVILEGED | storage
        config = {"Image": image, "Cmd": ["true"], "Labels": labels, "HostConfig": host}
        with self.engine.calling("try out the disk limit") as client:
            try:
                made = client.create_container_from_config(config)  # type: ignore[no-untyped-call]
            except APIError as error:
                if "storage-opt" in str(error.explanation):
                    return False
                raise
            with suppress(APIError):
                client.remove_container(made["Id"], force=True)
        return True

    def _image_mb(self, image: str) -> int:
        with self.engine.calling(f"describe the image {image}") as client:
            size: int = client.inspect_image(image)["Size"]  # type: ignore[no-untyped-call]
        # Rounded down, lest what the engine let through be measured as too much.
        return size // MB
