"""The image that ours are built on: Debian's own, or one made here where it can't be had."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from docker import APIClient
from docker.errors import APIError, ImageNotFound

from sandboxes.runtime import RuntimeFailure

OFFICIAL_IMAGE = "debian:bookworm-slim"
OWN_IMAGE = "sandboxportal/base:bookworm"
SUITE = "bookworm"
BUILD_PACKAGES = ("mmdebstrap", "debian-archive-keyring")
# What Debian's slim images leave out, too.
EXCLUDED_DOCS = ("doc", "groff", "info", "lintian", "linda", "locale", "man")

Say = Callable[[str], None]


def ensure_base(client: APIClient, say: Say) -> str:
    """The name of a Debian bookworm that the engine holds; pulled or made if need be.

    What is there already is taken first, since asking a registry takes time and
    may not be possible. Raises RuntimeFailure with what to do.
    """
    for name in (OFFICIAL_IMAGE, OWN_IMAGE):
        if inspect(client, name):
            return name
    say(f"{OFFICIAL_IMAGE}: pulling")
    if try_pull(client):
        return OFFICIAL_IMAGE
    say(f"{OWN_IMAGE}: making it with mmdebstrap, as {OFFICIAL_IMAGE} can't be pulled")
    build(client, say)
    return OWN_IMAGE


def inspect(client: APIClient, name: str) -> dict[str, Any]:
    """What the engine knows of an image; nothing where it doesn't have it."""
    try:
        found: dict[str, Any] = client.inspect_image(name)  # type: ignore[no-untyped-call]
    except ImageNotFound:
        return {}
    return found


def try_pull(client: APIClient) -> bool:
    """Whether a registry gave us Debian's image."""
    repository, _, tag = OFFICIAL_IMAGE.partition(":")
    try:
        client.pull(repository, tag=tag)
    except APIError:
        return False
    return bool(inspect(client, OFFICIAL_IMAGE))


def build(client: APIClient, say: Say) -> None:
    """Bootstrap Debian into a tar archive and import it. Raises RuntimeFailure."""
    need_mmdebstrap(say)
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "base.tar"
        left_out = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in EXCLUDED_DOCS]
        run(
            ["mmdebstrap", "--quiet", "--variant=apt", *left_out, SUITE, str(archive)],
            f"{OFFICIAL_IMAGE} could not be pulled, nor {OWN_IMAGE} made",
        )
        repository, _, tag = OWN_IMAGE.partition(":")
        client.import_image_from_file(
            str(archive),
            repository=repository,
            tag=tag,
            changes=["LABEL sandboxportal.image=" + OWN_IMAGE],
        )


def need_mmdebstrap(say: Say) -> None:
    """Install mmdebstrap where we may. Raises RuntimeFailure where we may not."""
    if shutil.which(BUILD_PACKAGES[0]):
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise RuntimeFailure(
            f"The engine can't pull {OFFICIAL_IMAGE}: let it reach a registry, or "
            f"`docker load` that image, or install mmdebstrap, and run this again."
        )
    say("mmdebstrap: installing")
    why = f"{OFFICIAL_IMAGE} could not be pulled, nor mmdebstrap installed"
    run(["apt-get", "-qq", "update"], why)
    run(["apt-get", "-qq", "install", "--yes", "--no-install-recommends", *BUILD_PACKAGES], why)


def run(command: Sequence[str], why: str) -> None:
    """Run it, quietly unless it fails. Raises RuntimeFailure."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(  # noqa: S603 - the commands are our own
        command, capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it gave no reason"])[-1]
        raise RuntimeFailure(f"{why}: {command[0]} says “{last}”")
