"""Builds of blueprints' images; an image is rebuilt only when its inputs have changed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from docker import APIClient
from docker.errors import APIError

from sandboxes.runtime import ImageBuild, RuntimeFailure
from sandboxes.runtime.docker.images.base_image import Log, ensure_base, inspect
from sandboxes.runtime.docker.images.build_context import BuildContext

IMAGE = "sandboxportal.image"
"""Label with the image's name, by which its old versions are found."""
INPUTS = "sandboxportal.inputs"
"""Label with the hash of all inputs of the build."""

PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy")
LOG_TAIL_LINES = 12
"""Lines shown of a failed build."""


@dataclass(frozen=True)
class NamedBuild:
    """An image and how it is built."""

    image: str
    build: ImageBuild


class BuildFailed(RuntimeFailure):
    """A step of a Dockerfile failed; `output` has the last lines that it wrote."""

    def __init__(self, message: str, output: str) -> None:
        super().__init__(message)
        self.output = output


def ensure_images(
    client: APIClient, wanted: Iterable[NamedBuild], log: Log, *, force: bool = False
) -> None:
    """Build all images that are missing or outdated, in parallel.

    Raises RuntimeFailure (BuildFailed for an error in a Dockerfile).
    """
    wanted = list(wanted)
    if not wanted:
        return
    base = ensure_base(client, log)
    with ThreadPoolExecutor(len(wanted)) as pool:
        builds = [pool.submit(ensure_image, client, one, base, log, force=force) for one in wanted]
    for build in builds:
        build.result()


def ensure_image(
    client: APIClient, wanted: NamedBuild, base: str, log: Log, *, force: bool = False
) -> bool:
    """Build a missing or outdated image; return whether it was one. Raises RuntimeFailure."""
    context = BuildContext.of(wanted.build)
    inputs = context.fingerprint(wanted.image, inspect(client, base)["Id"])
    if not force and recorded_inputs(client, wanted.image) == inputs:
        log(f"{wanted.image}: up to date")
        return False
    log(f"{wanted.image}: building on {base}")
    started = time.monotonic()
    bases = {wanted.build.debian_arg: base} if wanted.build.debian_arg else {}
    build(client, wanted.image, context, bases, inputs, from_scratch=force)
    remove_old(client, wanted.image)
    log(f"{wanted.image}: built in {time.monotonic() - started:.0f} s")
    return True


def recorded_inputs(client: APIClient, image: str) -> str | None:
    """Return the hash of the inputs that the engine's image was built from; None without one."""
    found = inspect(client, image)
    return (found["Config"]["Labels"] or {}).get(INPUTS) if found else None


def build(
    client: APIClient,
    image: str,
    context: BuildContext,
    bases: Mapping[str, str],
    inputs: str,
    *,
    from_scratch: bool,
) -> None:
    """Build the image on the engine. Raises RuntimeFailure."""
    with context.archive(client.version()["Arch"]) as archive:
        steps = client.build(
            fileobj=archive,
            custom_context=True,
            dockerfile=context.dockerfile_name,
            tag=image,
            labels={IMAGE: image, INPUTS: inputs},
            buildargs={**bases, **proxies()},
            nocache=from_scratch,
            rm=True,
            forcerm=True,
            decode=True,
        )
        follow_build(image, steps)


def follow_build(image: str, steps: Iterable[dict[str, Any]]) -> None:
    """Read the engine's progress messages of a build to the end. Raises BuildFailed."""
    output: list[str] = []
    for step in steps:
        output = [*output, *str(step.get("stream", "")).splitlines()][-LOG_TAIL_LINES:]
        if "error" in step:
            why = " ".join(str(step["error"]).split())
            raise BuildFailed(f"{image} couldn't be built: {why[:300]}", "\n".join(output))


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
