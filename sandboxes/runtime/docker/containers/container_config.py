"""Configuration of a container: the engine's options for one service.

The engine never restarts containers. A crash ends the sandbox with its exit code and last log
lines, which a restart would hide. After a restart of the engine, `repair` starts the services that
stopped with it (`ServiceFacts.stopped_with_engine`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandboxes.runtime import SandboxSpec, ServiceSpec
from sandboxes.runtime.docker.containers import files
from sandboxes.runtime.docker.names import Names
from sandboxes.runtime.docker.volumes import mounts
from sandboxes.runtime.specs import SECRETS_DIRECTORY

MB = 1024 * 1024
OPEN_FILES = 4096
LOG = {"Type": "json-file", "Config": {"max-size": "2m", "max-file": "2"}}
OOM_SCORE = 500
"""If the host runs out of memory, the kernel kills sandboxes before the host's own services."""
DEFAULT_SHM_MB = 64
STARTUP_CPUS = 1.0
"""CPUs that a container may use until its sandbox is ready, if more than its limit.

Startup is one short burst of work, and every engine has at least one CPU.
"""

SYSTEM_CALLS = json.dumps(
    json.loads(Path(__file__).with_name("seccomp.json").read_text()), separators=(",", ":")
)
"""The system calls that services may make; the default profiles of old engines allow vsock."""
UNPRIVILEGED = {
    "CapDrop": ["ALL"],
    "SecurityOpt": ["no-new-privileges", f"seccomp={SYSTEM_CALLS}"],
    "Privileged": False,
}
"""Options that a proxy in front of the engine may require (`deploy/docker_socket_proxy.py`)."""
NO_RESOLVER = {"Dns": ["127.0.0.1"], "DnsOptions": ["ndots:0", "timeout:1", "attempts:1"]}
"""DNS options for services without egress.

Names of other services resolve. Queries for all other names go to the container's own loopback
address and stay in the container. By default, the engine would forward them to the host's resolver,
which is a way out.
"""


ROOT_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID")
"""What the entrypoints of official images do as root: own files, and become another user."""


@dataclass(frozen=True)
class ContainerPlan:
    """What a container gets besides what its service says."""

    host_ports: Mapping[int, int] = field(default_factory=dict)
    """A published port keeps its host port when the container is restarted; without one, the engine
    chooses one at each start."""
    volumes: Mapping[str, str] = field(default_factory=dict)
    """Shared volume to its name on the engine."""
    image: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The configuration of the image."""


DEFAULT_PLAN = ContainerPlan()


@dataclass(frozen=True)
class ContainerConfig:
    """Container configuration with the settings of this installation."""

    names: Names
    bind_address: str
    container_runtime: str = ""

    def config(
        self,
        spec: SandboxSpec,
        service: ServiceSpec,
        storage: Mapping[str, str],
        plan: ContainerPlan = DEFAULT_PLAN,
    ) -> dict[str, Any]:
        """Return the body of the engine's request that creates the container.

        The network, which must exist, is given by name.
        """
        environment = {**service.environment, **files.variables(service.secret_files)}
        config: dict[str, Any] = {
            "Image": service.image,
            "Hostname": service.hostname or service.name,
            "Env": [f"{name}={value}" for name, value in environment.items()],
            "User": service.user,
            "WorkingDir": service.working_dir,
            "Labels": self.names.container_labels(spec, service),
            "ExposedPorts": {f"{port}/tcp": {} for port in service.ports},
            # The portal uses `ready`; a health check of the image would run commands all the time.
            "Healthcheck": {"Test": ["NONE"]},
            "HostConfig": self._host_config(spec, service, storage, plan),
            "NetworkingConfig": {
                "EndpointsConfig": {self.names.network(spec.id): {"Aliases": names_of(service)}}
            },
        }
        given: dict[str, Any] = {
            "Cmd": list(service.command),
            "Entrypoint": list(service.entrypoint),
            "StopSignal": service.stop_signal,
        }
        if secret := service.secret_files:
            given |= files.writing_first(secret, files.start_words(service, plan.image))
        return config | {name: value for name, value in given.items() if value}

    def _host_config(
        self,
        spec: SandboxSpec,
        service: ServiceSpec,
        storage: Mapping[str, str],
        plan: ContainerPlan,
    ) -> dict[str, Any]:
        return (
            {
                "NetworkMode": self.names.network(spec.id),
                "PortBindings": {
                    f"{port}/tcp": [
                        {
                            "HostIp": self.bind_address,
                            "HostPort": str(plan.host_ports.get(port, "")),
                        }
                    ]
                    for port in service.ports
                },
                "Init": True,
                "LogConfig": LOG,
                "Runtime": self.container_runtime,
                "RestartPolicy": {"Name": "no"},
                "StorageOpt": dict(storage),
            }
            | confinement(service)
            | limits(spec, service)
            | ({"Mounts": mounts(service.volumes, plan.volumes)} if service.volumes else {})
            | ({} if spec.egress else NO_RESOLVER)
        )


def names_of(service: ServiceSpec) -> list[str]:
    """Return the names that resolve to the service in the sandbox's network."""
    return [service.name, *service.aliases]


def confinement(service: ServiceSpec) -> dict[str, Any]:
    """Return the restrictions of a container."""
    secrets = {SECRETS_DIRECTORY: files.SECRETS_MB} if service.secret_files else {}
    return (
        UNPRIVILEGED
        | ({"CapAdd": list(ROOT_CAPABILITIES)} if service.root else {})
        | {
            "IpcMode": "private",
            "ReadonlyRootfs": not service.writes_to_layer,
            "Tmpfs": {
                path: f"rw,noexec,nosuid,nodev,mode=1777,size={size}m"
                for path, size in (secrets | dict(service.tmpfs)).items()
            },
        }
    )


def limits(spec: SandboxSpec, service: ServiceSpec) -> dict[str, Any]:
    """Return the resource limits of a container, with the CPUs allowed during startup."""
    fixed = {"nofile": OPEN_FILES, "fsize": spec.disk_mb * MB, "core": 0}
    ulimits = {name: (value, value) for name, value in fixed.items()} | dict(service.ulimits)
    return {
        "Memory": service.memory_mb * MB,
        "MemorySwap": service.memory_mb * MB,
        "NanoCpus": nano_cpus(max(service.cpus, STARTUP_CPUS)),
        "PidsLimit": service.pids,
        "ShmSize": (service.shm_mb or DEFAULT_SHM_MB) * MB,
        "OomScoreAdj": OOM_SCORE,
        "Ulimits": [
            {"Name": name, "Soft": soft, "Hard": hard} for name, (soft, hard) in ulimits.items()
        ],
    }


def final_limits(service: ServiceSpec) -> dict[str, Any]:
    """Return the limits to set once the sandbox is ready, without the CPUs lent for startup."""
    return {"NanoCpus": nano_cpus(service.cpus)}


def nano_cpus(cpus: float) -> int:
    return int(cpus * 1e9)
