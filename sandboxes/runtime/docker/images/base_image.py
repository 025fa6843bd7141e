"""The base image of our images: Debian's own, or one bootstrapped here if it can't be pulled."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from docker import APIClient

from sandboxes.runtime import RuntimeFailure
from sandboxes.runtime.docker.images.errors import ImageError
from sandboxes.runtime.docker.images.pull import Log, inspect, pull

OFFICIAL_IMAGE = "debian:bookworm-slim"
OWN_IMAGE = "sandboxportal/base:bookworm"
SUITE = "bookworm"
BUILD_PACKAGES = ("mmdebstrap", "debian-archive-keyring")
# Debian's slim images exclude the same.
EXCLUDED_DOCS = ("doc", "groff", "info", "lintian", "linda", "locale", "man")
_lock = threading.Lock()
"""Images are built in parallel, and need the same base."""


def ensure_base(client: APIClient, log: Log) -> str:
    """Return the name of a Debian bookworm image on the engine; pull or build it if necessary.

    An existing image is used first, since a registry may be slow or out of reach. Raises
    RuntimeFailure with a remedy.
    """
    with _lock:
        if name := existing_base(client):
            return name
        log(f"{OFFICIAL_IMAGE}: pulling")
        if try_pull(client):
            return OFFICIAL_IMAGE
        log(f"{OWN_IMAGE}: building with mmdebstrap, since {OFFICIAL_IMAGE} can't be pulled")
        build(client, log)
        return OWN_IMAGE


def existing_base(client: APIClient) -> str:
    """Return the name of a Debian bookworm image that the engine has; empty if it has none."""
    names = (name for name in (OFFICIAL_IMAGE, OWN_IMAGE) if inspect(client, name))
    return next(names, "")


def try_pull(client: APIClient) -> bool:
    """Return whether Debian's image could be pulled from a registry."""
    try:
        pull(client, OFFICIAL_IMAGE)
    except ImageError:
        return False
    return bool(inspect(client, OFFICIAL_IMAGE))


def build(client: APIClient, log: Log) -> None:
    """Bootstrap Debian into a tar archive and import it. Raises RuntimeFailure."""
    require_mmdebstrap(log)
    with tempfile.TemporaryDirectory() as directory:
        archive = Path(directory) / "base.tar"
        exclusions = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in EXCLUDED_DOCS]
        run(
            ["mmdebstrap", "--quiet", "--variant=apt", *exclusions, SUITE, str(archive)],
            f"{OFFICIAL_IMAGE} couldn't be pulled, and {OWN_IMAGE} couldn't be built",
        )
        repository, _, tag = OWN_IMAGE.partition(":")
        client.import_image_from_file(
            str(archive),
            repository=repository,
            tag=tag,
            changes=["LABEL sandboxportal.image=" + OWN_IMAGE],
        )


def require_mmdebstrap(log: Log) -> None:
    """Install mmdebstrap if it is missing. Raises RuntimeFailure without the rights to do so."""
    if shutil.which(BUILD_PACKAGES[0]):
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise RuntimeFailure(
            f"The engine can't pull {OFFICIAL_IMAGE}. Give it access to a registry, "
            f"`docker load` that image, or install mmdebstrap; then try again."
        )
    log("mmdebstrap: installing")
    failure = f"{OFFICIAL_IMAGE} couldn't be pulled, and mmdebstrap couldn't be installed"
    run(["apt-get", "-qq", "update"], failure)
    run(["apt-get", "-qq", "install", "--yes", "--no-install-recommends", *BUILD_PACKAGES], failure)


def run(command: Sequence[str], failure: str) -> None:
    """Run a command; its output is shown only in errors. Raises RuntimeFailure."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(  # noqa: S603 - no command contains user input
        command, capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["unknown error"])[-1]
        raise RuntimeFailure(f"{failure}. {command[0]}: {last}")
