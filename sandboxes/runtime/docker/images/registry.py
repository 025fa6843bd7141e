"""Whether images that the engine lacks could be pulled, without pulling them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import requests
from docker import APIClient
from docker.errors import APIError, DockerException

from sandboxes.runtime import EngineUnreachable
from sandboxes.runtime.docker.client import EngineClient, error_message, run_parallel
from sandboxes.runtime.docker.images.errors import ImageError, pull_error
from sandboxes.runtime.docker.images.pull import inspect


def missing_images(engine: EngineClient, references: Iterable[str]) -> list[str]:
    """Return the images that the engine doesn't have. Raises EngineUnreachable, EngineRefused."""
    with engine.calling("look for images") as client:
        return [one for one in dict.fromkeys(references) if not inspect(client, one)]


def ask_registries(
    engine: EngineClient, references: Iterable[str]
) -> dict[str, ImageError | EngineUnreachable | None]:
    """Return for each image why it can't be pulled, as far as its registry says; None if it can.

    EngineUnreachable means that no answer came within the engine's time limit.
    """
    wanted = list(dict.fromkeys(references))
    client = engine.client()
    answers = run_parallel([partial(_ask, client, reference) for reference in wanted])
    return dict(zip(wanted, answers, strict=True))


def _ask(client: APIClient, reference: str) -> ImageError | EngineUnreachable | None:
    try:
        client.inspect_distribution(reference)
    except APIError as error:
        return pull_error(reference, error_message(error))
    except (requests.RequestException, DockerException, OSError) as error:
        return EngineUnreachable(f"No answer about {reference} ({type(error).__name__}).")
    return None
