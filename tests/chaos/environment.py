"""A world of its own for each ordeal: a portal's environment, and the proxy before its engine."""

from __future__ import annotations

import os
import secrets
import shutil
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
from tests.postgres import Cluster, running_cluster
from tests.relay import DEFAULT_SOCKET, DockerProxy, run_docker_proxy
from tests.waiting import until

BLUEPRINT = Path(__file__).with_name("tiny.yaml")
KINDS = ("containers", "networks", "volumes")
SETTLES_IN_SECONDS = 0.5
"""What the engine was asked last, it may still be doing."""


@dataclass
class World:
    """Where an ordeal takes place."""

    var: Path
    instance: str
    proxy: DockerProxy
    engine: APIClient
    """The engine itself, past the proxy."""
    daemon: Daemon | None = None
    """The engine, where it is the ordeal's own."""
    cluster: Cluster | None = None
    """Where the database is PostgreSQL."""

    def held(self) -> dict[str, dict[str, list[str]]]:
        """What the engine holds of each sandbox of this instance: ids of objects, by kind."""
        found: dict[str, dict[str, list[str]]] = {}
        for kind, rows in listed(self.engine, {"label": f"{INSTANCE}={self.instance}"}).items():
            for row in rows:
                one = found.setdefault(row["Labels"].get(SANDBOX, ""), {k: [] for k in KINDS})
                one[kind].append(row.get("Id") or row["Name"])
        return found

    def foreign(self) -> dict[str, list[str]]:
        """What others planted beside it and how it is, to be compared."""
        found = listed(self.engine, {"label": f"planted-for={self.instance}"})
        return {
            kind: sorted(f"{row.get('Id') or row['Name']} {row.get('State')}" for row in rows)
            for kind, rows in found.items()
        }

    def ports_without_a_container(self) -> set[int]:
        """Those at which something of the engine's still listens, for no container."""
        rows = self.engine.containers()
        published = {port.get("PublicPort") for row in rows for port in row["Ports"]}
        return forwarded() - published


def listed(engine: APIClient, filters: dict[str, str]) -> dict[str, list[dict[str, object]]]:
    return {
        "containers": engine.containers(all=True, filters=filters),
        "networks": engine.networks(filters=filters),
        "volumes": engine.volumes(filters=filters)["Volumes"] or [],
    }


@contextmanager
def cleared(engine: APIClient, instance: str) -> Iterator[None]:
    """Nothing is left in it afterwards, however the ordeal went."""
    try:
        yield
    finally:
        # What it was asked last, it may still be doing.
        time.sleep(SETTLES_IN_SECONDS)
        for label in (f"{INSTANCE}={instance}", f"planted-for={instance}"):
            until(partial(emptied, engine, label), f"nothing of {label} is left", 60, 0.5)


def emptied(engine: APIClient, label: str) -> bool:
    """Remove what has this label. False: there was something, so more may come yet."""
    found = listed(engine, {"label": label})
    for row in found["containers"]:
        with suppress(APIError):
            engine.remove_container(row["Id"], force=True, v=True)
    for row in found["networks"]:
        with suppress(APIError):
            engine.remove_network(row["Id"])
    for row in found["volumes"]:
        with suppress(APIError):
            engine.remove_volume(row["Name"], force=True)
    return not any(found.values())


def forwarded() -> set[int]:
    """The ports that engines on this machine hand on, each by a process of its own."""
    commands = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            commands.append(file.read_bytes().decode(errors="replace").split("\0"))
    proxies = [command for command in commands if command[0].endswith("docker-proxy")]
    return {int(command[command.index("-host-port") + 1]) for command in proxies}


@contextmanager
def world(image: str, store: str = "sqlite", *, own_engine: bool = False) -> Iterator[World]:
    """Make this process and its children a portal's that is tried; before Django is there."""
    with ExitStack() as stack:
        var = Path(tempfile.mkdtemp(prefix="portal-chaos-"))
        stack.callback(shutil.rmtree, var, ignore_errors=True)
        instance, cluster = f"chaos-{secrets.token_hex(4)}", None
        daemon = stack.enter_context(second_engine(image)) if own_engine else None
        os.environ |= environment(var, instance, image)
        if store == "postgres":
            cluster = stack.enter_context(running_cluster())
            os.environ["DATABASE_URL"] = stack.enter_context(cluster.database())
        engine = daemon.socket if daemon else DEFAULT_SOCKET
        client = APIClient(f"unix://{engine}", timeout=60)
        # Before the proxy, so that nobody asks the engine for anything any more when it ends.
        stack.enter_context(cleared(client, instance))
        proxy = stack.enter_context(run_docker_proxy(var / "engine.sock", engine))
        yield World(var, instance, proxy, client, daemon, cluster)


def environment(var: Path, instance: str, image: str) -> dict[str, str]:
    blueprint = var / "blueprints" / "tiny" / "compose.yaml"
    blueprint.parent.mkdir(parents=True)
    blueprint.write_text(BLUEPRINT.read_text().replace("${IMAGE}", image))
    return {
        "DJANGO_SETTINGS_MODULE": "sandboxportal.settings",
        "VAR_DIR": str(var),
        "SECRET_KEY": secrets.token_urlsafe(50),
        "SANDBOX_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
        "SANDBOX_INSTANCE": instance,
        "SANDBOX_RUNTIME": "docker",
        "DOCKER_HOST": f"unix://{var}/engine.sock",
        "SANDBOX_BLUEPRINTS_DIR": str(blueprint.parent.parent),
        "SANDBOX_DEFAULT_BLUEPRINT": "tiny",
        "SANDBOX_POOL_SIZE": "0",
        "SANDBOX_MAX_PER_USER": "500",
        "SANDBOX_MAX_SITE": "500",
        # A killed worker's turn is over with its lease, which ordeals put off.
        "SANDBOX_MAX_CONCURRENT_LAUNCHES": "50",
        "SANDBOX_LAUNCHES_PER_HOUR": "0",
        "SANDBOX_SUBNETS": f"10.{215 + secrets.randbelow(30)}.0.0/16",
        "FRIENDBOT_URL": "http://127.0.0.1:9",
        "LOG_LEVEL": "CRITICAL",
    }
