"""Removal of images that were built or prepared for blueprints."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from http import HTTPStatus

from docker import APIClient
from docker.errors import APIError

from sandboxes.runtime import image_name
from sandboxes.runtime.docker.client import EngineClient
from sandboxes.runtime.docker.images.build import IMAGE
from sandboxes.runtime.docker.images.pull import inspect

BUILT_TAG = "build"
"""Tag of a build's result, before it is prepared."""
OWN_NAMES = image_name("", "").partition("/")[0] + "/"
"""How the names of prepared images begin."""


def remove_unused(engine: EngineClient, names: Iterable[str], keep: Collection[str]) -> None:
    """Remove earlier prepared images of these names, except for IDs in `keep`.

    The current ones stay, and so do those of existing containers. Raises EngineRefused,
    EngineUnreachable.
    """
    with engine.calling("remove images") as client:
        for name in names:
            current = inspect(client, name).get("Id")
            for image in client.images(name=name):
                if image["Id"] != current and image["Id"] not in keep:
                    for tag in image["RepoTags"] or ():
                        if tag.startswith(f"{name}:") and not tag.endswith(f":{BUILT_TAG}"):
                            remove(client, tag)


def remove_all(engine: EngineClient) -> tuple[int, int]:
    """Remove all built and prepared images; return how many are gone, and how many are in use.

    A pulled image only loses the names that preparing gave it. Raises EngineRefused,
    EngineUnreachable.
    """
    with engine.calling("remove images") as client:
        built = {image["Id"]: image for image in client.images(filters={"label": IMAGE})}
        named = {image["Id"]: image for image in client.images(name=f"{OWN_NAMES}*")}
        removed = 0
        # Newest first, since images can't be removed before those that are based on them.
        found = sorted((named | built).values(), key=lambda one: one["Created"], reverse=True)
        for image in found:
            tags = image["RepoTags"] or [image["Id"]]
            own = tags if image["Id"] in built else [tag for tag in tags if is_own(tag)]
            results = [remove(client, name) for name in own]
            removed += all(results)
    return removed, len(found) - removed


def is_own(tag: str) -> bool:
    return tag.startswith(OWN_NAMES)


def remove_unnamed(client: APIClient, image_id: str) -> None:
    """Remove an image unless it has a name."""
    found = inspect(client, image_id)
    if found and not found["RepoTags"]:
        remove(client, image_id)


def remove(client: APIClient, image: str) -> bool:
    """Remove an image, or one of its names; return False if it is in use."""
    try:
        client.remove_image(image)
    except APIError as error:
        if error.status_code not in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):
            raise
        return error.status_code == HTTPStatus.NOT_FOUND
    return True
