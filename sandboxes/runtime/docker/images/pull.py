"""Pulling of images, with the registry credentials of Docker's own configuration.

The credentials are those of `docker login`: `config.json` in DOCKER_CONFIG or `~/.docker`, with
its credential helpers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from docker import APIClient
from docker.errors import APIError, DockerException, ImageNotFound

from sandboxes.runtime.docker.client import error_message
from sandboxes.runtime.docker.images.errors import ImageError, pull_error

Log = Callable[[str], None]
"""Receives a line on the progress of the work."""


def ensure_pulled(client: APIClient, reference: str, log: Log, *, always: bool = False) -> str:
    """Return the ID of an image; pull it if it is missing, or `always`. Raises ImageError."""
    found = {} if always else inspect(client, reference)
    if not found:
        log(f"{reference}: pulling")
        pull(client, reference)
        found = inspect(client, reference)
    if not found:
        raise pull_error(reference, "the registry has it for other platforms only")
    return str(found["Id"])


def pull(client: APIClient, reference: str) -> None:
    """Pull an image. Raises ImageError."""
    try:
        for step in client.pull(reference, stream=True, decode=True):
            if "error" in step:
                raise pull_error(reference, step["error"])
    except APIError as error:
        raise pull_error(reference, error_message(error)) from error
    except DockerException as error:
        raise ImageError(
            f"The registry's credentials for {reference} couldn't be read: {error}.",
            "Correct Docker's configuration (config.json in DOCKER_CONFIG or ~/.docker), or "
            "install the credential helper that it names.",
        ) from error


def inspect(client: APIClient, name: str) -> dict[str, Any]:
    """Return the engine's description of an image; empty if the engine doesn't have it."""
    try:
        found: dict[str, Any] = client.inspect_image(name)
    except ImageNotFound:
        return {}
    return found
