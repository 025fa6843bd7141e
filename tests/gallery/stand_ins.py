"""Local images in place of public ones, so that the examples run without a registry.

The Compose files of docs/examples name public images, as their users do. While tests run, images
with the same names are made from Debian's packages, with the same users, volumes, entrypoints and
scripts, but other versions. An image of that name that the engine has already is used instead.

`python -m tests.gallery.stand_ins` builds all of them; further runs find them by their content.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import ssl
import tarfile
import tempfile
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, ImageNotFound

from sandboxes.runtime.docker.images.base_image import ensure_base

FOLDER = Path(__file__).parent / "images"
REPOSITORY = "sandboxportal-tests"
LABEL = "sandboxportal.stand-in"
LOCK = Path(tempfile.gettempdir()) / "sandboxportal-stand-ins.lock"
TIMEOUT_SECONDS = 600
CERTIFICATES = "ca-certificates.crt"

STAND_INS: Mapping[str, str] = {
    "python:3.12-slim": "python",
    "postgres:16": "postgres",
    "redis:7": "redis",
    "node:22": "node",
    "mariadb:11": "mariadb",
    "nginx": "nginx",
}
"""The folder of each public image's stand-in."""


@contextmanager
def stand_ins(references: Collection[str]) -> Iterator[None]:
    """Give the engine images of these names; remove the names afterwards.

    Runs at the same time share the names: the last one removes them.
    """
    client = docker.APIClient(timeout=TIMEOUT_SECONDS)
    with LOCK.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        missing = [name for name in references if not is_real(client, name)]
        with ThreadPoolExecutor() as pool:
            images = list(pool.map(lambda name: ensure(client, name), missing))
        built = dict(zip(missing, images, strict=True))
        for reference, image in built.items():
            repository, _, tag = reference.partition(":")
            client.tag(image, repository, tag or "latest")
        try:
            yield
        finally:
            with suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                for reference in STAND_INS:
                    if not is_real(client, reference):
                        with suppress(APIError):
                            client.remove_image(reference, noprune=True)
            client.close()


def is_real(client: docker.APIClient, reference: str) -> bool:
    """Return whether the engine has an image of this name that isn't a stand-in."""
    found = inspect(client, reference)
    return bool(found) and LABEL not in (found["Config"].get("Labels") or {})


def inspect(client: docker.APIClient, name: str) -> dict[str, Any]:
    try:
        return client.inspect_image(name)
    except ImageNotFound:
        return {}


def ensure(client: docker.APIClient, reference: str) -> str:
    """Return the name of a stand-in; build it unless the engine has it with this content."""
    base = client.inspect_image(ensure_base(client, print))["Id"]
    files = {path.name: path for path in sorted((FOLDER / STAND_INS[reference]).iterdir())}
    # Builds that download packages trust the same servers as this machine.
    trusted = ssl.get_default_verify_paths()
    certificates = Path(trusted.cafile or trusted.openssl_cafile)
    if CERTIFICATES in files["Dockerfile"].read_text() and certificates.exists():
        files[CERTIFICATES] = certificates
    archive = context(files)
    digest = hashlib.sha256(base.encode() + archive).hexdigest()[:12]
    name = f"{REPOSITORY}/{STAND_INS[reference]}:{digest}"
    if not inspect(client, name):
        print(f"{reference}: building a stand-in", flush=True)
        output = client.build(
            fileobj=io.BytesIO(archive),
            custom_context=True,
            tag=name,
            buildargs={"BASE": base},
            labels={LABEL: reference},
            rm=True,
            forcerm=True,
            decode=True,
        )
        lines = list(output)
        if errors := [line["error"] for line in lines if "error" in line]:
            text = "".join(line.get("stream", "") for line in lines)
            raise RuntimeError(f"{reference}: {errors[0]}\n{text[-4000:]}")
    return name


def context(files: Mapping[str, Path]) -> bytes:
    """Return a build context that depends on the content of the files alone."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, path in files.items():
            member = tarfile.TarInfo(name)
            member.mode = 0o755 if name.endswith(".sh") else 0o644
            content = path.read_bytes()
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return archive.getvalue()


if __name__ == "__main__":
    with stand_ins(STAND_INS):
        print("All stand-ins are there.")
