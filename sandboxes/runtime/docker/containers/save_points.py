"""Save points: the layers of a sandbox's containers, as images of this instance.

    pause all containers → commit each → resume them → replace the images' configurations

A commit keeps all environment variables of the container in its image, where they can't be left out
(`ContainerConfig`). So the committed image is replaced by one with the same layers that has the
configuration of the image from which the container was created: loading an image takes layers that
the engine has from there. In between, no other image depends on the committed one.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sandboxes.runtime import EngineRefused, SandboxSpec, Saved, ServiceNotFound, ServiceSpec
from sandboxes.runtime.docker.client import EngineClient, run_parallel
from sandboxes.runtime.docker.containers import files
from sandboxes.runtime.docker.containers.destroy import ignore_gone
from sandboxes.runtime.docker.names import SAVE_POINT, SERVICE, Names, is_previous, label

COMMIT_TIMEOUT_FACTOR = 3
"""The engine copies all data. A worker's lease lasts as long."""
MAX_LAYERS = 100
"""Engines mount at most 128; each save point of a restored sandbox adds one."""
KEPT_CONFIG = ("Cmd", "Entrypoint", "Env", "ExposedPorts", "StopSignal", "User", "WorkingDir")

Row = Mapping[str, Any]


@dataclass(frozen=True)
class SavePoints:
    """The save points of one portal."""

    engine: EngineClient
    names: Names

    def save(self, spec: SandboxSpec, save_point: str) -> Saved:
        """Save the sandbox. Raises ServiceNotFound, EngineRefused, EngineUnreachable."""
        if spec.volumes:
            raise EngineRefused(
                "Its services share volumes, which save points don't include yet. Store the data "
                "in one of the services."
            )
        containers = self._containers(spec)
        services = stored_services(spec)
        bases = run_parallel([partial(self._base, containers[one.name]) for one in services])
        self.remove(save_point)
        running = [row for row in containers.values() if row["State"] in ("running", "paused")]
        started_at = time.monotonic()
        try:
            run_parallel([partial(self._pause, row) for row in running], max_parallel=len(running))
            committed = run_parallel(
                [partial(self._commit, one, containers[one.name], save_point) for one in services]
            )
        finally:
            run_parallel([partial(self._resume, row) for row in running], max_parallel=len(running))
        pause_seconds = time.monotonic() - started_at
        images = zip(services, committed, bases, strict=True)
        sizes = run_parallel([partial(self._clean, save_point, *one) for one in images])
        return Saved(sum(sizes), pause_seconds)

    def list(self) -> dict[str, datetime]:
        """Return the save points that have images. Raises EngineUnreachable."""
        found: dict[str, datetime] = {}
        for row in self._images():
            created_at = datetime.fromtimestamp(row["Created"], UTC)
            name = label(row, SAVE_POINT)
            found[name] = min(created_at, found.get(name, created_at))
        return found

    def remove(self, save_point: str) -> None:
        """Remove all images of a save point. Raises EngineRefused, EngineUnreachable."""
        run_parallel([partial(self._remove, row["Id"]) for row in self._images(save_point)])

    def with_images(self, spec: SandboxSpec) -> SandboxSpec:
        """Return the specification with the images of its save point, if it has one."""
        if not spec.save_point:
            return spec
        stored = {one.name for one in stored_services(spec)}
        services = [
            replace(one, image=self._image_name(spec.save_point, one.name))
            if one.name in stored
            else one
            for one in spec.services
        ]
        return replace(spec, services=services)

    def _image_name(self, save_point: str, service: str) -> str:
        tag = self.names.save_point_tag(save_point, service)
        return f"{self.names.save_point_repository}:{tag}"

    def _containers(self, spec: SandboxSpec) -> dict[str, Row]:
        """Return the container of each service, from the engine's list.

        Raises ServiceNotFound, EngineRefused if one doesn't run.
        """
        with self.engine.calling("list the sandbox's containers") as client:
            rows = client.containers(all=True, filters=self.names.filters(spec.id))
        if any(map(is_previous, rows)):
            raise EngineRefused("The services are being recreated.")
        found = {label(row, SERVICE): row for row in rows}
        for service in spec.services:
            if service.name not in found:
                raise ServiceNotFound(f"The service {service.name} is no longer on the engine.")
            if found[service.name]["State"] not in ("running", "paused") and not service.one_shot:
                raise EngineRefused(f"The service {service.name} is not running.")
        return found

    def _base(self, container: Row) -> dict[str, Any]:
        """Return the image of a container. Raises EngineRefused if it has too many layers."""
        with self.engine.calling("describe the sandbox's image") as client:
            image = dict(client.inspect_image(container["ImageID"]))
        if len(image["RootFS"]["Layers"]) >= MAX_LAYERS:
            raise EngineRefused(
                "The sandbox was saved and restored too often. Reset it, or launch another one."
            )
        return image

    def _pause(self, container: Row) -> None:
        # One that an interrupted call has paused still is.
        if container["State"] == "running":
            with self.engine.calling("pause a service") as client:
                client.pause(container["Id"])

    def _resume(self, container: Row) -> None:
        with self.engine.calling("resume a service") as client:
            client.unpause(container["Id"])

    def _commit(self, service: ServiceSpec, container: Row, save_point: str) -> str:
        """Make an image of the container's layer; return its ID."""
        variables = {**service.environment, **files.variables(service.secret_files)}
        config = {
            "Env": [f"{name}=" for name in variables],
            "Labels": self.names.save_point_labels(save_point, service.name),
        }
        action = f"save the service {service.name}"
        with self.engine.calling(action, timeout_factor=COMMIT_TIMEOUT_FACTOR) as client:
            tag = self.names.save_point_tag(save_point, service.name)
            repository = self.names.save_point_repository
            done = client.commit(container["Id"], repository, tag, pause=False, conf=config)
        return str(done["Id"])

    def _clean(
        self, save_point: str, service: ServiceSpec, committed: str, base: Mapping[str, Any]
    ) -> int:
        """Replace the configuration of a committed image; return the size of its own layers."""
        name = self._image_name(save_point, service.name)
        labels = self.names.save_point_labels(save_point, service.name)
        with self.engine.calling(f"save the service {service.name}") as client:
            image = client.inspect_image(committed)
            original = client.inspect_image(service.image)
            size = max(0, int(image["Size"]) - int(original["Size"]))
            if not any((image.get("ContainerConfig") or {}).get(key) for key in KEPT_CONFIG):
                return size
            answers = list(client.load_image(archive(name, image, base["Config"], labels)))
            if errors := [one["error"] for one in answers if "error" in one]:
                raise EngineRefused(f"The engine refused to store the save point: {errors[0]}.")
            client.remove_image(committed, noprune=True)
        return size

    def _images(self, save_point: str = "") -> Sequence[Row]:
        filters = self.names.save_point_filters(save_point)
        with self.engine.calling("list the save points") as client:
            rows: list[Row] = client.images(filters=filters)
        return rows

    def _remove(self, image_id: str) -> None:
        with self.engine.calling("remove a save point") as client:
            ignore_gone(partial(client.remove_image, image_id, noprune=True))


def stored_services(spec: SandboxSpec) -> list[ServiceSpec]:
    """Return the services that can have data; the others start from their own images."""
    return [service for service in spec.services if service.writes_to_layer]


def archive(
    name: str, image: Mapping[str, Any], config: Mapping[str, Any], labels: Mapping[str, str]
) -> bytes:
    """Return an archive of an image with the layers of another one, which the engine has.

    It has this configuration, and no history, which would repeat the container's command.
    """
    layers = image["RootFS"]["Layers"]
    content = {
        "architecture": image["Architecture"],
        "os": image["Os"],
        "created": image["Created"],
        "config": {key: config[key] for key in KEPT_CONFIG if config.get(key)} | {"Labels": labels},
        "rootfs": {"type": "layers", "diff_ids": layers},
    }
    stored = json.dumps(content).encode()
    config_name = f"{hashlib.sha256(stored).hexdigest()}.json"
    missing = [f"{number}/layer.tar" for number in range(len(layers))]
    manifest = [{"Config": config_name, "RepoTags": [name], "Layers": missing}]
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path, data in ((config_name, stored), ("manifest.json", json.dumps(manifest).encode())):
            member = tarfile.TarInfo(path)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return packed.getvalue()
