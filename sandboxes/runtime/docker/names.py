"""What objects on the engine are called, and the labels by which they are found again."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sandboxes.runtime import EngineRefused, SandboxSpec, ServiceSpec

INSTANCE = "sandboxportal.instance"
SANDBOX = "sandboxportal.sandbox"
SERVICE = "sandboxportal.service"
BLUEPRINT = "sandboxportal.blueprint"
COMPOSE = "com.docker.compose"

# What Compose allows for a project, less what would not fit into an object's name.
SANDBOX_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


@dataclass(frozen=True)
class Names:
    """The names and labels of one portal's objects. Lookups go by label; names only say what."""

    instance: str

    def network(self, sandbox_id: str) -> str:
        return f"{sandbox_id}_default"

    def container(self, sandbox_id: str, service: str) -> str:
        return f"{sandbox_id}-{service}-1"

    def bridge(self, sandbox_id: str) -> str:
        """The network's interface on the host, where its traffic is counted (15 characters)."""
        own = sandbox_id.removeprefix("sbx_")[-12:]
        if not own.isalnum():
            own = hashlib.sha256(sandbox_id.encode()).hexdigest()[:12]
        return "sbx" + own

    def filters(self, sandbox_id: str | None = None) -> dict[str, list[str]]:
        """Matches the objects of one sandbox, or of all sandboxes of this instance."""
        whose = SANDBOX if sandbox_id is None else f"{SANDBOX}={sandbox_id}"
        return {"label": [f"{INSTANCE}={self.instance}", whose]}

    def owns(self, row: Mapping[str, Any], sandbox_id: str) -> bool:
        """Whether an object from one of the engine's lists is this instance's and the sandbox's."""
        labels = row.get("Labels") or {}
        return labels.get(INSTANCE) == self.instance and labels.get(SANDBOX) == sandbox_id

    def network_labels(self, spec: SandboxSpec) -> dict[str, str]:
        return self._labels(spec) | {f"{COMPOSE}.network": "default"}

    def container_labels(self, spec: SandboxSpec, service: ServiceSpec) -> dict[str, str]:
        """Ours, and those without which Compose does not list or remove a container."""
        return self._labels(spec) | {
            SERVICE: service.name,
            f"{COMPOSE}.service": service.name,
            f"{COMPOSE}.container-number": "1",
            f"{COMPOSE}.oneoff": "False",
            f"{COMPOSE}.config-hash": config_hash(spec, service),
            f"{COMPOSE}.project.config_files": f"{spec.blueprint}/compose.yaml",
        }

    def _labels(self, spec: SandboxSpec) -> dict[str, str]:
        return {
            INSTANCE: self.instance,
            SANDBOX: spec.id,
            BLUEPRINT: spec.blueprint,
            f"{COMPOSE}.project": spec.id,
        }


def config_hash(spec: SandboxSpec, service: ServiceSpec) -> str:
    """Tells Compose that a service is configured; made of nothing secret."""
    return hashlib.sha256(f"{spec.blueprint} {service.name} {service.image}".encode()).hexdigest()


def label(row: Mapping[str, Any], name: str) -> str:
    """A label of an object from one of the engine's lists; empty when it has none."""
    return str((row.get("Labels") or {}).get(name, ""))


def checked(sandbox_id: str) -> str:
    """The id, if it may become part of a name. Raises EngineRefused."""
    if not SANDBOX_ID.fullmatch(sandbox_id):
        raise EngineRefused(
            f"“{sandbox_id}” can't be a sandbox's id: it needs lower-case letters, digits, _ or -, "
            "at most 40 of them."
        )
    return sandbox_id


def full_name(image: str) -> str:
    """An image's name as the engine's lists have it: with its tag, without Docker Hub's own."""
    name, _, digest = image.removeprefix("docker.io/").removeprefix("library/").partition("@")
    folder, slash, last = name.rpartition("/")
    if digest:
        return f"{folder}{slash}{last.partition(':')[0]}@{digest}"
    return name if ":" in last else f"{name}:latest"


def names_of(image: Mapping[str, Any]) -> Iterator[str]:
    """All by which an image from one of the engine's lists can be asked for, its id among them."""
    yield image["Id"]
    yield from image["RepoTags"] or ()
    yield from image["RepoDigests"] or ()
