"""Load the images of blueprints on the engines that operators added, with the same ids.

They are saved once from the engine of the environment, and loaded on the others in parallel, with
the operator's certificate: the portal's processes may not load images.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from django.conf import settings

from sandboxes.core.fleet import Fleet
from sandboxes.models import BlueprintVersion, Engine
from sandboxes.preparation.images import SILENCE_SECONDS, Log
from sandboxes.runtime import EngineConnection, ImageMissing, RuntimeFailure, call_engines
from sandboxes.runtime.docker import DockerRuntime
from sandboxes.runtime.docker.client import EngineClient

CHUNK_BYTES = 1 << 20
MB = 1 << 20
DISTRIBUTION_SECONDS = 3600.0
PROGRESS_STEPS = 4
"""Lines about the progress of each engine."""


@dataclass
class Upload:
    """An archive that is sent to one engine, and logs its progress."""

    file: BinaryIO
    engine: str
    log: Log

    def __len__(self) -> int:
        return os.fstat(self.file.fileno()).st_size

    def __iter__(self) -> Iterator[bytes]:
        total, sent, step = len(self), 0, 1
        while piece := os.pread(self.file.fileno(), CHUNK_BYTES, sent):
            yield piece
            sent += len(piece)
            if sent >= total * step // PROGRESS_STEPS:
                self.log(f"{self.engine}: {sent // MB} of {total // MB} MB")
                step += 1


def distribute(names: Iterable[str], log: Log) -> dict[str, RuntimeFailure]:
    """Load the images of these blueprints on all added engines that lack some.

    Return the failures by engine. Raises RuntimeFailure if the images can't be saved.
    """
    wanted = wanted_images(names)
    engines = [one for one in Fleet.read().engines if not one.is_default]
    if not engines or not wanted:
        log("No engines were added." if not engines else "No blueprint has a version to launch.")
        return {}
    calls = {one.name: partial(_held, one, wanted) for one in engines}
    held, failures = call_engines(calls)
    lacking = {name: wanted.keys() - ids for name, ids in held.items()}
    for engine in engines:
        if lacking.get(engine.name) == set():
            log(f"{engine}: has all images.")
    receivers = [one for one in engines if lacking.get(one.name)]
    if receivers:
        images = sorted(set().union(*(lacking[one.name] for one in receivers)))
        failures |= _send(receivers, {image: wanted[image] for image in images}, log)
    for engine in engines:
        if engine.name not in failures:
            engine.store(images=(engine.images or {}) | {image: image for image in wanted})
    return failures


def wanted_images(names: Iterable[str]) -> dict[str, str]:
    """Return the name of each image, by its id, of the versions that are launched."""
    chosen = set(names)
    return {
        image: name
        for version in BlueprintVersion.objects.active()
        if version.name in chosen
        for name, image in version.images.items()
    }


def _send(
    engines: Iterable[Engine], images: Mapping[str, str], log: Log
) -> dict[str, RuntimeFailure]:
    source = EngineClient(settings.DOCKER_HOST, SILENCE_SECONDS)
    with tempfile.TemporaryFile() as archive:
        log(f"Saving {len(images)} images")
        with source.calling("save images") as client:
            # The SDK saves single images only, and would repeat the layers that they share.
            saved = client.get(
                f"{client.base_url}/v{client.api_version}/images/get",
                params={"names": _references(images)},
                stream=True,
                timeout=SILENCE_SECONDS,
            )
            if not saved.ok:
                raise ImageMissing(f"The engine can't save the images: {saved.text}")
            for piece in saved.iter_content(CHUNK_BYTES):
                archive.write(piece)
        archive.flush()
        calls = {
            one.name: partial(_load, one, frozenset(images), Upload(archive, one.name, log))
            for one in engines
        }
        return call_engines(calls, DISTRIBUTION_SECONDS)[1]


def _references(images: Mapping[str, str]) -> list[str]:
    """Return the references by which to save these images: names if they still have them."""
    current = DockerRuntime.from_settings().images(sorted(images.values()))
    return [name if current.get(name) == image else image for image, name in images.items()]


def _load(engine: Engine, images: frozenset[str], upload: Upload) -> None:
    client = _operators_client(engine)
    with client.calling("load images") as api:
        for line in api.load_image(upload):
            if error := line.get("error"):
                raise ImageMissing(f"{engine} can't load the images: {error}")
    if missing := images - _held(engine, images):
        raise ImageMissing(
            f"{engine} has other ids for the images {', '.join(sorted(missing))}. Use the same "
            "storage driver on all engines."
        )
    upload.log(f"{engine}: loaded {len(images)} images.")


def _held(engine: Engine, images: Iterable[str]) -> set[str]:
    where = EngineConnection(engine.address, certificates=_operators_certificates())
    runtime = DockerRuntime(settings.SANDBOX_INSTANCE, settings.SANDBOX_SUBNETS, connection=where)
    return {*runtime.images(sorted(images))}


def _operators_client(engine: Engine) -> EngineClient:
    return EngineClient(engine.address, SILENCE_SECONDS, _operators_certificates())


def _operators_certificates() -> Path:
    return Path(settings.SANDBOX_ENGINE_CA) / "operator"
