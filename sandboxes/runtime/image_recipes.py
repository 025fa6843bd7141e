"""Recipes of images: what has to be pulled or built, and changed, before a service can run."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class ImageBuild:
    """A build as `docker build` does it, from local files only.

    `dockerfile_inline` replaces the file. `debian_arg` is a build argument that receives the name
    of a Debian image, which is bootstrapped if it can't be pulled. `wheels` is a requirements.txt
    with hashes; its packages are unpacked in the build context as `site-packages`.
    """

    context: Path
    dockerfile: Path
    dockerfile_inline: str = ""
    args: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    debian_arg: str = ""
    wheels: Path | None = None


@dataclass(frozen=True)
class Bind:
    """A file or folder of the blueprint that a service finds at a path of its own."""

    source: Path
    read_only: bool = False


@dataclass(frozen=True)
class ImageRecipe:
    """The image of one service.

    It is pulled by its name, or built. `directories` must exist in it and be writable for the
    service's user, `shared_directories` for the users of other services, too. `binds` are copied
    into it, by their path in the container. Paths in the container are absolute.
    """

    image: str
    build: ImageBuild | None = None
    user: str = ""
    """The service's user; empty for the image's own."""
    root: bool = False
    """Whether the service may run as root."""
    directories: Sequence[str] = ()
    shared_directories: Sequence[str] = ()
    tmpfs: Sequence[str] = ()
    """Mount points in memory, which take the mode of the directory below when they restart."""
    binds: Mapping[str, Bind] = field(default_factory=dict)
    read_only: bool = False
    """Whether the service can't write to the container's own file system."""
    needs_shell: bool = False
    """Whether the image must have a /bin/sh, which writes secrets into memory at each start."""
    pull_always: bool = False
    """Whether preparing looks for a newer image of that name in the registry."""


def image_name(blueprint: str, service: str) -> str:
    """Return the name of a service's prepared image, which no other service has."""
    first, second = _name_component(blueprint), _name_component(service)
    # No component has a dot, so `shop-api` with `web` differs from `shop` with `api-web`.
    separator = "." if "-" in first else "-"
    return f"sandboxportal/{first}{separator}{second}"


def _name_component(name: str) -> str:
    """Return a name in the characters that names of images may have.

    It gets a hash if it has others, so that different names stay different.
    """
    found = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if found != name:
        found += f"-{hashlib.sha256(name.encode()).hexdigest()[:6]}"
    return found.lstrip("-")
