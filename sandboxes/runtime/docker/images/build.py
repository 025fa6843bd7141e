"""Builds of images; an image is rebuilt only when its inputs have changed."""

from __future__ import annotations

import os
import time

from docker import APIClient
from docker.errors import APIError

from sandboxes.runtime import ImageBuild
from sandboxes.runtime.docker.client import EngineClient
from sandboxes.runtime.docker.images import builders
from sandboxes.runtime.docker.images.base_image import ensure_base, existing_base
from sandboxes.runtime.docker.images.build_context import BuildContext
from sandboxes.runtime.docker.images.dockerfile import base_images
from sandboxes.runtime.docker.images.errors import ImageError
from sandboxes.runtime.docker.images.pull import Log, ensure_pulled, inspect

IMAGE = "sandboxportal.image"
"""Label with the image's name, by which its old versions are found."""
INPUTS = "sandboxportal.inputs"
"""Label with the hash of all inputs of the build."""

PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy")


def ensure_built(
    engine: EngineClient,
    client: APIClient,
    name: str,
    build: ImageBuild,
    log: Log,
    *,
    force: bool = False,
) -> str:
    """Build a missing or outdated image, and return its ID. Raises ImageError."""
    context, args = BuildContext(build), dict(build.args)
    if build.debian_arg:
        args[build.debian_arg] = ensure_base(client, log)
    bases = base_images(context.dockerfile_text, proxies() | args, build.target)
    ids = [ensure_pulled(client, base, log) for base in bases]
    inputs = inputs_of(name, build, ids)
    if not force and recorded_inputs(client, name) == inputs:
        return str(inspect(client, name)["Id"])
    shown = name.rpartition(":")[0]
    log(f"{shown}: building{' on ' if bases else ''}{', '.join(bases)}")
    started = time.monotonic()
    labels = {IMAGE: name, INPUTS: inputs}
    job = builders.BuildJob(name, context, proxies() | args, labels, use_cache=not force)
    builders.build(engine, client, job)
    remove_old(client, name)
    log(f"{shown}: built in {time.monotonic() - started:.0f} s")
    return str(inspect(client, name)["Id"])


def inputs_of(name: str, build: ImageBuild, base_ids: list[str]) -> str:
    """Return the hash of everything that a build depends on. Raises ImageError."""
    args = [f"{key}={value}" for key, value in sorted(build.args.items())]
    return BuildContext(build).fingerprint(name, build.target, *args, *base_ids)


def is_outdated(client: APIClient, name: str, build: ImageBuild) -> bool:
    """Return whether the image on the engine would be built differently now.

    Nothing is pulled; without its base images, the image counts as current.
    """
    recorded = recorded_inputs(client, name)
    if recorded is None:
        return False
    try:
        text, args = BuildContext(build).dockerfile_text, dict(build.args)
        if build.debian_arg:
            args[build.debian_arg] = existing_base(client)
        bases = base_images(text, proxies() | args, build.target)
        ids = [inspect(client, base).get("Id", "") for base in bases]
        return all(ids) and recorded != inputs_of(name, build, ids)
    except ImageError:
        return False


def recorded_inputs(client: APIClient, image: str) -> str | None:
    """Return the hash of the inputs that the engine's image was built from; None without one."""
    found = inspect(client, image)
    return (found["Config"]["Labels"] or {}).get(INPUTS) if found else None


def proxies() -> dict[str, str]:
    """Return the host's proxies as build arguments, which a Dockerfile needn't declare."""
    names = [*PROXIES, *(name.upper() for name in PROXIES)]
    return {name: os.environ[name] for name in names if os.environ.get(name)}


def remove_old(client: APIClient, image: str) -> None:
    """Remove untagged old versions of an image; those in use stay until the next build."""
    found = client.images(quiet=True, filters={"dangling": True, "label": f"{IMAGE}={image}"})
    for old in found:
        try:
            client.remove_image(old)
        except APIError as error:
            if error.status_code not in (404, 409):
                raise
