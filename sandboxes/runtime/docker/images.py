"""Builds the images of blueprints, each only when something that it is made of has changed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docker import APIClient
from docker.errors import APIError

from sandboxes.runtime import RuntimeFailure
from sandboxes.runtime.docker.base_image import Say, ensure_base, inspect
from sandboxes.runtime.docker.build_context import BuildContext

IMAGE = "sandboxportal.image"
"""The label that tells whose image it is: its name. Old versions of it are found by that."""
INPUTS = "sandboxportal.inputs"
"""The label with the hash of all that the image was built from."""

PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy")
LOG_TAIL_LINES = 12
"""Lines of a failed build that are told."""


@dataclass(frozen=True)
class ImageBuild:
    """An image and what it is built from."""

    image: str
    context: Path
    dockerfile: Path


class BuildFailed(RuntimeFailure):
    """A step of a Dockerfile failed; `output` has the last lines that it wrote."""

    def __init__(self, message: str, output: str) -> None:
        super().__init__(message)
        self.output = output


def ensure_images(
    client: APIClient, wanted: Iterable[ImageBuild], say: Say, *, force: bool = False
) -> None:
    """Every image is there and up to date; those that are not are built side by side.

    Raises RuntimeFailure (BuildFailed when a Dockerfile is to blame).
    """
    wanted = list(wanted)
    if not wanted:
        return
    base = ensure_base(client, say)
    with ThreadPoolExecutor(len(wanted)) as pool:
        builds = [pool.submit(ensure_image, client, one, base, say, force=force) for one in wanted]
    for build in builds:
        build.result()


def ensure_image(
    client: APIClient, wanted: ImageBuild, base: str, say: Say, *, force: bool = False
) -> bool:
    """The image is there and up to date; whether it had to be built. Raises RuntimeFailure."""
    context = BuildContext(wanted.context, wanted.dockerfile)
    inputs = context.fingerprint(wanted.image, inspect(client, base)["Id"])
    if not force and recorded_inputs(client, wanted.image) == inputs:
        say(f"{wanted.image}: up to date")
        return False
    say(f"{wanted.image}: building on {base}")
    started = time.monotonic()
    build(client, wanted.image, context, base, inputs, from_scratch=force)
    remove_old(client, wanted.image)
    say(f"{wanted.image}: built in {time.monotonic() - started:.0f} s")
    return True


def recorded_inputs(client: APIClient, image: str) -> str | None:
    """The hash of what the engine's image of that name was built from; None if there is none."""
    found = inspect(client, image)
    return (found["Config"]["Labels"] or {}).get(INPUTS) if found else None


def build(
    client: APIClient,
    image: str,
    context: BuildContext,
    base: str,
    inputs: str,
    *,
    from_scratch: bool,
) -> None:
    """Have the engine build it. Raises RuntimeFailure."""
    with context.archive(client.version()["Arch"]) as archive:
        steps = client.build(
            fileobj=archive,
            custom_context=True,
            dockerfile=context.dockerfile_name,
            tag=image,
            labels={IMAGE: image, INPUTS: inputs},
            buildargs={"BASE": base, **proxies()},
            nocache=from_scratch,
            rm=True,
            forcerm=True,
            decode=True,
        )
        follow_build(image, steps)


def follow_build(image: str, steps: Iterable[dict[str, Any]]) -> None:
    """Read what the engine tells of a build to its end. Raises BuildFailed."""
    output: list[str] = []
    for step in steps:
        output = [*output, *str(step.get("stream", "")).splitlines()][-LOG_TAIL_LINES:]
        if "error" in step:
            why = " ".join(str(step["error"]).split())
            raise BuildFailed(f"{image} could not be built: {why[:300]}", "\n".join(output))


def proxies() -> dict[str, str]:
    """The host's proxies, as build arguments that every Dockerfile knows undeclared."""
    names = [*PROXIES, *(name.upper() for name in PROXIES)]
    return {name: os.environ[name] for name in names if os.environ.get(name)}


def remove_old(client: APIClient, image: str) -> None:
    """Remove versions of an image that have lost its name; those in use stay until next time."""
    found = client.images(quiet=True, filters={"dangling": True, "label": f"{IMAGE}={image}"})
    for old in found:
        try:
            client.remove_image(old)
        except APIError as error:
            if error.status_code not in (404, 409):
                raise
