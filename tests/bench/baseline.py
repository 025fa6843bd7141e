"""The baseline: the same two containers by the fewest engine calls, without a portal."""

from __future__ import annotations

import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http.client import HTTPException
from typing import Any

from docker import APIClient
from docker.errors import APIError

from sandboxes.blueprints import folders
from sandboxes.runtime import SandboxSpec, ServiceSpec
from tests.bench.http_client import HttpClient

LABEL = "sandboxportal.bench"
MB = 1024 * 1024
POLL_INTERVAL_SECONDS = 0.01
READY_TIMEOUT_SECONDS = 60
FULL_CORE = 1.0


def once(engine: APIClient, cpus: float | None = None) -> dict[str, float]:
    """Return the seconds from the first engine call until ready, and those of the removal.

    Each container starts with the CPU limit of the Compose file, or with `cpus`.
    """
    spec = fresh_spec()
    try:
        began = time.perf_counter()
        _create(engine, spec, cpus)
        created = time.perf_counter() - began
        _until_ready(engine, spec)
        ready = time.perf_counter() - began
    finally:
        began = time.perf_counter()
        remove(engine, spec.id)
        removed = time.perf_counter() - began
    return {"seconds": ready, "created": created, "removal": removed}


def fresh_spec() -> SandboxSpec:
    """Return the spec of a new sandbox, as the portal would hand it to a runtime."""
    blueprint = folders.valid()["billing"]
    name = f"bench-{secrets.token_hex(4)}"
    variables = blueprint.new_secrets() | {
        "SANDBOX_ID": name,
        "SANDBOX_LAUNCHED_AT": datetime.now(UTC).isoformat(),
        "SANDBOX_STELLAR_PUBLIC_KEY": "",
        "STELLAR_SECRET": "",
    }
    return blueprint.spec(name, variables, disk_mb=2048)


def _create(engine: APIClient, spec: SandboxSpec, cpus: float | None) -> None:
    engine.create_network(
        spec.id,
        driver="bridge",
        labels={LABEL: spec.id},
        # As the portal does; it also saves the engine one firewall rule.
        options={"com.docker.network.bridge.enable_ip_masquerade": "false"},
    )
    with ThreadPoolExecutor(len(spec.services)) as pool:
        started = [pool.submit(_start, engine, spec, one, cpus) for one in spec.services]
        for start in started:
            start.result()


def _start(engine: APIClient, spec: SandboxSpec, service: ServiceSpec, cpus: float | None) -> None:
    aliases = engine.create_endpoint_config(aliases=[service.name])
    container = engine.create_container(
        service.image,
        list(service.command) or None,
        name=f"{spec.id}-{service.name}",
        hostname=service.name,
        user=service.user or None,
        environment=dict(service.environment),
        ports=list(service.ports),
        labels={LABEL: spec.id},
        host_config=_host_config(engine, service, cpus or service.cpus),
        networking_config=engine.create_networking_config({spec.id: aliases}),
    )
    engine.start(container["Id"])


def _host_config(engine: APIClient, service: ServiceSpec, cpus: float) -> dict[str, Any]:
    """Return the service's limits and options, from the Compose file."""
    config: dict[str, Any] = engine.create_host_config(
        mem_limit=service.memory_mb * MB,
        memswap_limit=service.memory_mb * MB,
        nano_cpus=int(cpus * 1e9),
        pids_limit=service.pids,
        shm_size=service.shm_mb * MB or None,
        read_only=service.read_only,
        tmpfs={path: f"size={size}m" for path, size in service.tmpfs.items()},
        init=True,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        port_bindings=dict.fromkeys(service.ports, ("127.0.0.1",)),
        # For names that don't resolve yet, this resolver fails at once instead of timing out.
        dns=["127.0.0.1"],
    )
    return config


def _until_ready(engine: APIClient, spec: SandboxSpec) -> None:
    [check] = spec.ready
    ports = engine.port(f"{spec.id}-{check.service}", check.port)
    deadline = time.monotonic() + READY_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        client = HttpClient("127.0.0.1", int(ports[0]["HostPort"]), timeout=5)
        try:
            if client.get(check.path).status == 200:
                return
        except (OSError, HTTPException):
            pass
        finally:
            client.close()
        time.sleep(POLL_INTERVAL_SECONDS)
    raise TimeoutError("The containers of the baseline did not become ready.")


def remove(engine: APIClient, name: str) -> None:
    """Remove the containers and the network, by their label."""
    filters = {"label": f"{LABEL}={name}"}
    containers = [row["Id"] for row in engine.containers(all=True, filters=filters)]

    def remove_container(container: str) -> None:
        engine.remove_container(container, force=True, v=True)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(remove_container, containers))
    for network in engine.networks(filters=filters):
        try:
            engine.remove_network(network["Id"])
        except APIError as error:
            if error.status_code != 404:
                raise
