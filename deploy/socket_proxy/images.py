"""Archives of images of save points: parsed, and written again from the parsed values.

Such an archive has no layers, only their digests: the engine takes them from an image that it has.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from typing import Any

from socket_proxy import bodies
from socket_proxy.schema import list_of, parse_json, record, require, text
from socket_proxy.settings import Settings

MANIFEST = "manifest.json"
MAX_MEMBERS = 2


def rebuild(content: bytes, settings: Settings) -> bytes:
    """Return an archive of the same image, without anything else. Raises RequestDenied."""
    files = _read(content)
    require(MANIFEST in files and len(files) == MAX_MEMBERS, "malformed archive of an image")
    [described] = list_of(
        record(
            {
                "Config": text(r"[0-9a-f]{64}\.json"),
                "RepoTags": list_of(bodies.image_name(settings), 1, 1),
                "Layers": list_of(text(r"[0-9]{1,3}/layer\.tar")),
            }
        ),
        1,
        1,
    )(parse_json(files[MANIFEST]))
    require(described["Config"] in files, "malformed archive of an image")
    configuration = bodies.image_configuration(settings)(parse_json(files[described["Config"]]))
    return _pack(described["RepoTags"][0], configuration)


def parse(content: bytes) -> tuple[str, dict[str, Any]]:
    """Return the name and the configuration in an archive of `rebuild`."""
    files = _read(content)
    [described] = json.loads(files[MANIFEST])
    return described["RepoTags"][0], json.loads(files[described["Config"]])


def _read(content: bytes) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as given:
            for member in given:
                file = given.extractfile(member) if member.isreg() else None
                require(file and not member.issparse(), "only plain files are allowed")
                require(member.name not in files, "a file occurs twice")
                require(len(files) < MAX_MEMBERS, "malformed archive of an image")
                assert file
                files[member.name] = file.read()
    except (tarfile.TarError, ValueError, OSError, EOFError, OverflowError):
        require(False, "malformed archive")
    return files


def _pack(name: str, configuration: dict[str, Any]) -> bytes:
    stored = json.dumps(configuration).encode()
    config_name = f"{hashlib.sha256(stored).hexdigest()}.json"
    layers = [f"{number}/layer.tar" for number in range(len(configuration["rootfs"]["diff_ids"]))]
    manifest = json.dumps([{"Config": config_name, "RepoTags": [name], "Layers": layers}]).encode()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path, content in ((config_name, stored), (MANIFEST, manifest)):
            member = tarfile.TarInfo(path)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()
