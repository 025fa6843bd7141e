"""An image of 2 MB that needs no registry, with a static busybox.

The busybox is this machine's, or of Debian's package `busybox-static`.
"""

from __future__ import annotations

import io
import secrets
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker

TIMEOUT_SECONDS = 30
APPLETS = ["cat", "dd", "echo", "httpd", "id", "mv", "nc", "sh", "sleep", "wget"]


def static_busybox(directory: Path) -> bytes:
    """Return a busybox that needs no libraries: this machine's, or of Debian's package."""
    own = Path("/bin/busybox")
    if own.exists() and subprocess.run(["ldd", own], capture_output=True, check=False).returncode:
        return own.read_bytes()
    command = ["apt-get", "download", "-q", "busybox-static"]
    subprocess.run(command, cwd=directory, check=True, stdout=sys.stderr)
    package = next(directory.glob("busybox-static_*.deb"))
    subprocess.run(["dpkg-deb", "-x", package, directory / "busybox"], check=True)
    return next((directory / "busybox").glob("**/bin/busybox")).read_bytes()


def tiny_root(busybox: bytes) -> bytes:
    """Return a root file system as a tar archive: busybox, a page to serve, a home for `nobody`."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name in ("bin", "etc", "home", "tmp", "www"):
            add(tar, name, type=tarfile.DIRTYPE, mode=0o1777)
        add(tar, "bin/busybox", busybox, mode=0o755)
        for applet in APPLETS:
            add(tar, f"bin/{applet}", type=tarfile.SYMTYPE, linkname="busybox")
        add(tar, "etc/passwd", b"root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/home:/bin/sh\n")
        add(tar, "www/ok", b"ok\n")
    return archive.getvalue()


def add(tar: tarfile.TarFile, name: str, content: bytes = b"", **header: Any) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o644
    for key, value in header.items():
        setattr(member, key, value)
    tar.addfile(member, io.BytesIO(content))


@contextmanager
def import_busybox_image(directory: Path) -> Iterator[str]:
    """Import the image, which runs as `nobody`, and yield its name."""
    client = docker.APIClient(timeout=TIMEOUT_SECONDS)
    name, tag = "sandboxportal-tests/tiny", secrets.token_hex(4)
    client.import_image_from_data(
        tiny_root(static_busybox(directory)), repository=name, tag=tag, changes=["USER 65534:65534"]
    )
    try:
        yield f"{name}:{tag}"
    finally:
        client.remove_image(f"{name}:{tag}", force=True)
