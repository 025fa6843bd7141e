"""An image registry with TLS and passwords, by Debian's package `docker-registry`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import httpx2

from tests.harness.certificate import write_certificate
from tests.harness.ports import reserve_port
from tests.helpers.wait import wait_for

CERTIFICATES = Path("/etc/docker/certs.d")
USER, PASSWORD = "ada", "secret"
ACCOUNTS = "ada:$2y$04$zkAbgMEYHrKjELe5y7tRYO/OVNAKdUGJZXt9hlVk1FtufSmfSYcDK\n"
CONFIG = """
version: 0.1
log: {{accesslog: {{disabled: true}}, level: error}}
storage: {{filesystem: {{rootdirectory: {directory}/images}}}}
auth: {{htpasswd: {{realm: tests, path: {directory}/accounts}}}}
http:
  addr: {host}
  secret: tests
  tls: {{certificate: {directory}/cert.pem, key: {directory}/key.pem}}
"""


def program(directory: Path) -> Path:
    """Return the registry's program, from an installed package or unpacked in the directory."""
    if installed := shutil.which("docker-registry"):
        return Path(installed)
    # Installing the package would start a registry on this machine.
    command = ["apt-get", "download", "-q", "docker-registry"]
    subprocess.run(command, cwd=directory, check=True, stdout=sys.stderr)
    package = next(directory.glob("docker-registry_*.deb"))
    subprocess.run(["dpkg-deb", "-x", package, directory / "package"], check=True)
    return directory / "package" / "usr" / "bin" / "docker-registry"


@contextmanager
def run_registry(directory: Path, client: docker.APIClient) -> Iterator[str]:
    """Run an empty registry that the machine's engine trusts, and yield its host.

    It listens on the engine's bridge: engines also try a registry on 127.0.0.1 without TLS, and
    then report why that failed.
    """
    (subnet,) = client.inspect_network("bridge")["IPAM"]["Config"]
    address = subnet["Gateway"]
    host = f"{address}:{reserve_port()}"
    write_certificate(directory, address)
    (directory / "accounts").write_text(ACCOUNTS)
    config = directory / "config.yml"
    config.write_text(CONFIG.format(directory=directory, host=host))
    trust = CERTIFICATES / host
    trust.mkdir(parents=True)
    shutil.copy(directory / "ca.pem", trust / "ca.crt")
    with subprocess.Popen(
        [program(directory), "serve", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            wait_for(lambda: responds(host), "the registry")
            yield host
        finally:
            process.terminate()
            shutil.rmtree(trust)


def responds(host: str) -> bool:
    try:
        httpx2.get(f"https://{host}/v2/", verify=False)
    except httpx2.TransportError:
        return False
    return True
