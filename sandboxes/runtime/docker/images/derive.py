"""Images with the layers of another image, but another configuration.

Neither `docker commit` nor a build can take a `VOLUME` back. `docker load` can: its archive names
the layers, and those that the engine has needn't be in it.
"""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
from collections.abc import Mapping
from typing import IO, Any

from docker import APIClient
from docker.errors import APIError

from sandboxes.runtime.docker.client import error_message
from sandboxes.runtime.docker.images.errors import DISK_FULL, ImageError, one_line
from sandboxes.runtime.docker.images.oci_layout import oci_layout, read_manifest, sha256
from sandboxes.runtime.docker.images.pull import inspect

CONFIG, LAYER = "config.json", "layer.tar"
HELD = "held-by-the-engine.tar"
"""Stands in the archive for layers that aren't in it."""


def derive(
    client: APIClient,
    source: Mapping[str, Any],
    labels: Mapping[str, str],
    layer: IO[bytes] | None = None,
) -> str:
    """Create an image without volumes, and return its ID.

    It has the layers and the configuration of `source`, as described by the engine, and one more
    layer and more labels. The same inputs give the same ID. Raises ImageError.
    """
    config = json.dumps(image_config(source, labels, layer), sort_keys=True).encode()
    if uses_containerd(client):
        image_id, files = oci_layout(read_manifest(client, source), config, layer)
    else:
        image_id, files = docker_archive(len(source["RootFS"]["Layers"]), config, layer)
    with tempfile.TemporaryFile() as archive:
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for name, content in files.items():
                add(tar, name, content)
        archive.seek(0)
        load(client, archive)
    if not inspect(client, image_id):
        raise load_error("the engine doesn't have the result")
    return image_id


def uses_containerd(client: APIClient) -> bool:
    """Return whether the engine keeps its images in containerd's store."""
    status = client.info().get("DriverStatus") or ()
    return ["driver-type", "io.containerd.snapshotter.v1"] in [list(row) for row in status]


def docker_archive(
    held: int, config: bytes, layer: IO[bytes] | None
) -> tuple[str, dict[str, IO[bytes]]]:
    """Return the image's ID and the files of an archive as `docker save` writes it."""
    layers = [HELD] * held + ([LAYER] if layer else [])
    manifest = [{"Config": CONFIG, "RepoTags": None, "Layers": layers}]
    files: dict[str, IO[bytes]] = {
        CONFIG: io.BytesIO(config),
        "manifest.json": io.BytesIO(json.dumps(manifest).encode()),
    }
    return sha256(config), files | ({LAYER: layer} if layer else {})


def image_config(
    source: Mapping[str, Any], labels: Mapping[str, str], layer: IO[bytes] | None
) -> dict[str, Any]:
    """Return the configuration of the new image."""
    settings = {key: value for key, value in source["Config"].items() if key != "Volumes"}
    settings["Labels"] = (settings.get("Labels") or {}) | dict(labels)
    diff_ids = [*source["RootFS"]["Layers"], *([sha256(layer)] if layer else [])]
    return {
        "architecture": source["Architecture"],
        "os": source["Os"],
        "created": source["Created"],
        "config": settings,
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": [{"created_by": "sandbox portal"} for _ in diff_ids],
    } | ({"variant": source["Variant"]} if source.get("Variant") else {})


def add(tar: tarfile.TarFile, name: str, content: IO[bytes]) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = content.seek(0, io.SEEK_END)
    content.seek(0)
    tar.addfile(entry, content)


def load(client: APIClient, archive: IO[bytes]) -> None:
    """Load an archive of images. Raises ImageError."""
    try:
        for step in client.load_image(archive):
            if "error" in step or "Error unpacking" in step.get("stream", ""):
                raise load_error(step.get("error") or step["stream"])
    except APIError as error:
        raise load_error(error_message(error)) from error


def load_error(reason: str) -> ImageError:
    full = "no space left" in reason
    remedy = DISK_FULL if full else "Look for the reason in the engine's log, and try again."
    return ImageError(f"The engine couldn't load the prepared image: {one_line(reason)}.", remedy)
