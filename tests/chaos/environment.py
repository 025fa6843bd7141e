"""The environment of an experiment: a portal's settings, and a proxy in front of its engine."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cryptography.fernet import Fernet
from docker import APIClient
from docker.errors import APIError

from sandboxes.runtime.docker.names import INSTANCE, SANDBOX
from tests.chaos.daemon import Daemon, second_engine
from tests.fakes.docker_proxy import DEFAULT_SOCKET, DockerProxy, run_docker_proxy
from tests.harness.postgres import Cluster, running_cluster
from tests.helpers.wait import wait_for

UNRELATED = "chaos-unrelated-to"
"""Label of objects that the portal must not touch."""
OBJECT_KINDS = ("containers", "networks", "volumes")
SETTLE_SECONDS = 0.5
"""Time in which the engine finishes calls whose client was killed."""


@dataclass
class ChaosEnvironment:
    """The environment in which an experiment runs."""

    var: Path
    instance: str
    proxy: DockerProxy
    engine: APIClient
    """A client of the engine that bypasses the proxy."""
    image: str
    """The image of all services."""
    daemon: Daemon | None = None
    """The engine's daemon, if the experiment has its own engine."""
    cluster: Cluster | None = None
    """The database cluster, if the database is PostgreSQL."""

    def objects(self) -> dict[str, dict[str, list[str]]]:
        """Return the ids of this instance's engine objects, by sandbox and kind."""
        objects: dict[str, dict[str, list[str]]] = {}
        label = f"{INSTANCE}={self.instance}"
        for kind, rows in list_objects(self.engine, {"label": label}).items():
            for row in rows:
                sandbox = row["Labels"].get(SANDBOX, "")
                by_kind = objects.setdefault(sandbox, {kind: [] for kind in OBJECT_KINDS})
                by_kind[kind].append(row.get("Id") or row["Name"])
        return objects

    def unrelated_objects(self) -> dict[str, list[str]]:
        """Return the unrelated objects and their states, for comparison."""
        objects = list_objects(self.engine, {"label": f"{UNRELATED}={self.instance}"})
        return {
            kind: sorted(f"{row.get('Id') or row['Name']} {row.get('State')}" for row in rows)
            for kind, rows in objects.items()
        }

    def leaked_ports(self) -> set[int]:
        """Return the ports on which the engine still listens for no container."""
        rows = self.engine.containers()
        published = {port.get("PublicPort") for row in rows for port in row["Ports"]}
        return forwarded_ports() - published


def list_objects(engine: APIClient, filters: dict[str, str]) -> dict[str, list[dict[str, object]]]:
    return {
        "containers": engine.containers(all=True, filters=filters),
        "networks": engine.networks(filters=filters),
        "volumes": engine.volumes(filters=filters)["Volumes"] or [],
    }


@contextmanager
def cleaned_up(engine: APIClient, instance: str) -> Iterator[None]:
    """Remove all engine objects of the experiment afterwards, even if it fails."""
    try:
        yield
    finally:
        # The engine may still be working on its last calls.
        time.sleep(SETTLE_SECONDS)
        for label in (f"{INSTANCE}={instance}", f"{UNRELATED}={instance}"):
            wait_for(partial(remove_all, engine, label), f"nothing with {label} is left", 60, 0.5)


def remove_all(engine: APIClient, label: str) -> bool:
    """Remove the objects with this label; return whether there were none."""
    objects = list_objects(engine, {"label": label})
    for row in objects["containers"]:
        with suppress(APIError):
            engine.remove_container(row["Id"], force=True, v=True)
    for row in objects["networks"]:
        with suppress(APIError):
            engine.remove_network(row["Id"])
    for row in objects["volumes"]:
        with suppress(APIError):
            engine.remove_volume(row["Name"], force=True)
    return not any(objects.values())


@contextmanager
def mounted_disk(path: Path, size_mb: int) -> Iterator[None]:
    """Mount a small file system in memory at a directory."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "tmpfs", str(path)]
    subprocess.run(mount, check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def forwarded_ports() -> set[int]:
    """Return the ports that engines on this machine forward, each with its own process."""
    commands = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            commands.append(file.read_bytes().decode(errors="replace").split("\0"))
    proxies = [command for command in commands if command[0].endswith("docker-proxy")]
    return {int(command[command.index("-host-port") + 1]) for command in proxies}


@contextmanager
def prepared_environment(
    image: str, store: str = "sqlite", *, own_engine: bool = False, disk_mb: int = 0
) -> Iterator[ChaosEnvironment]:
    """Set this process up with the portal's environment variables, before Django's set-up.

    With `disk_mb`, VAR_DIR is a file system of its own.
    """
    with ExitStack() as stack:
        var = Path(tempfile.mkdtemp(prefix="portal-chaos-"))
        stack.callback(shutil.rmtree, var, ignore_errors=True)
        if disk_mb:
            stack.enter_context(mounted_disk(var, disk_mb))
        instance, cluster = f"chaos-{secrets.token_hex(4)}", None
        daemon = stack.enter_context(second_engine(image)) if own_engine else None
        os.environ |= settings(var, instance, image)
        if daemon:
            os.environ["SANDBOX_SUBNETS"] = str(daemon.network.subnets)
        if store == "postgres":
            cluster = stack.enter_context(running_cluster(durable=True))
            os.environ["DATABASE_URL"] = stack.enter_context(cluster.database())
        engine = daemon.socket if daemon else DEFAULT_SOCKET
        client = APIClient(f"unix://{engine}", timeout=60)
        # Entered before the proxy, so that the clean-up runs after the proxy has stopped.
        stack.enter_context(cleaned_up(client, instance))
        proxy = stack.enter_context(run_docker_proxy(var / "engine.sock", engine))
        yield ChaosEnvironment(var, instance, proxy, client, image, daemon, cluster)


def blueprints(var: Path) -> Path:
    return var / "blueprints"


def add_blueprint(var: Path, name: str, image: str) -> None:
    """Add the blueprint of this name, from its file next to this module, before a portal starts."""
    text = Path(__file__).with_name(f"{name}.yaml").read_text()
    folder = blueprints(var) / name
    folder.mkdir(parents=True)
    (folder / "compose.yaml").write_text(text.replace("${IMAGE}", image))


def settings(var: Path, instance: str, image: str) -> dict[str, str]:
    add_blueprint(var, "tiny", image)
    return {
        "DJANGO_SETTINGS_MODULE": "sandboxportal.settings",
        "VAR_DIR": str(var),
        "SECRET_KEY": secrets.token_urlsafe(50),
        "SANDBOX_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
        "SANDBOX_INSTANCE": instance,
        "SANDBOX_RUNTIME": "docker",
        "DOCKER_HOST": f"unix://{var}/engine.sock",
        "SANDBOX_BLUEPRINTS_DIR": str(blueprints(var)),
        "SANDBOX_DEFAULT_BLUEPRINT": "tiny",
        "SANDBOX_POOL_SIZE": "0",
        "SANDBOX_MAX_PER_USER": "500",
        "SANDBOX_MAX_SITE": "500",
        # A killed worker occupies its slot until its lease expires, which experiments delay.
        "SANDBOX_MAX_CONCURRENT_LAUNCHES": "50",
        "SANDBOX_LAUNCHES_PER_HOUR": "0",
        "SANDBOX_SUBNETS": f"10.{215 + secrets.randbelow(30)}.0.0/16",
        "FRIENDBOT_URL": "http://127.0.0.1:9",
        "LOG_LEVEL": "CRITICAL",
    }
