"""Images as blobs, for engines that keep images in containerd's store.

Such an engine wants to know a layer by the digest of its compressed blob, which only the image's
manifest has.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from contextlib import closing
from typing import IO, Any

from docker import APIClient

from sandboxes.runtime.docker.images.errors import ImageError

BLOBS = "blobs/sha256/"
MAX_METADATA_BYTES = 4 * 1024 * 1024
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"


def read_manifest(client: APIClient, source: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest of an image, for the engine's platform. Raises ImageError."""
    blobs = read_metadata(client, source["Id"])
    waiting = [json.loads(blobs.get("index.json", "{}"))]
    for document in waiting:
        if "layers" in document and "config" in document:
            return dict(document)
        for one in document.get("manifests", ()):
            blob = blobs.get(BLOBS + one["digest"].removeprefix("sha256:"))
            platform = one.get("platform") or {}
            wanted = platform.get("architecture", source["Architecture"]) == source["Architecture"]
            if blob and wanted:
                waiting.append(json.loads(blob))
    raise ImageError(
        "The engine couldn't export the image's manifest.",
        "Look for the reason in the engine's log, and try again.",
    )


def read_metadata(client: APIClient, image: str) -> dict[str, bytes]:
    """Return the JSON documents of an image by their names in an exported archive."""
    found = {}
    url = f"{client.base_url}/v{client.api_version}/images/{image}/get"
    with closing(client.get(url, stream=True, timeout=client.timeout)) as answer:
        answer.raise_for_status()
        with tarfile.open(fileobj=answer.raw, mode="r|") as tar:
            for member in tar:
                file = tar.extractfile(member) if member.size <= MAX_METADATA_BYTES else None
                content = file.read() if file else b""
                if content.startswith(b"{"):
                    found[member.name] = content
    return found


def oci_layout(
    manifest: Mapping[str, Any], config: bytes, layer: IO[bytes] | None
) -> tuple[str, dict[str, IO[bytes]]]:
    """Return the ID of the image with another configuration and one more layer, and its files.

    The layers of the given manifest are left out, since the engine has them.
    """
    layers = list(manifest["layers"])
    files: dict[str, IO[bytes]] = {"oci-layout": document({"imageLayoutVersion": "1.0.0"})}
    if layer:
        layers.append({"mediaType": LAYER_TYPE, "digest": sha256(layer), "size": size_of(layer)})
        files[blob_name(layer)] = layer
    content = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {"mediaType": CONFIG_TYPE, "digest": sha256(config), "size": len(config)},
        "layers": layers,
    }
    new = document(content)
    target = {"mediaType": MANIFEST_TYPE, "digest": sha256(new), "size": size_of(new)}
    files |= {
        blob_name(config): io.BytesIO(config),
        blob_name(new): new,
        "index.json": document({"schemaVersion": 2, "manifests": [target]}),
    }
    return sha256(new), files


def document(content: Mapping[str, Any]) -> IO[bytes]:
    return io.BytesIO(json.dumps(content, sort_keys=True).encode())


def blob_name(content: IO[bytes] | bytes) -> str:
    return BLOBS + sha256(content).removeprefix("sha256:")


def sha256(content: IO[bytes] | bytes) -> str:
    """Return the digest of some content, as registries and engines write it."""
    if isinstance(content, bytes):
        return f"sha256:{hashlib.sha256(content).hexdigest()}"
    content.seek(0)
    return f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}"  # type: ignore[arg-type]


def size_of(file: IO[bytes]) -> int:
    return file.seek(0, io.SEEK_END)
