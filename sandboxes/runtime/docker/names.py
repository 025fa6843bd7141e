"""Names of objects on the engine, and the labels by which they are found."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sandboxes.runtime import EngineRefused, SandboxSpec, ServiceSpec

INSTANCE = "sandboxportal.instance"
SANDBOX = "sandboxportal.sandbox"
SERVICE = "sandboxportal.service"
BLUEPRINT = "sandboxportal.blueprint"
CLAIM = "sandboxportal.claim"
ONE_SHOT = "sandboxportal.one-shot"
VOLUME = "sandboxportal.volume"
SAVE_POINT = "sandboxportal.save-point"
COMPOSE = "com.docker.compose"

PREVIOUS = "-previous"
SAVE_POINT_IMAGES = "sandboxportal-save-points"
"""How the repositories of the images of save points begin; each instance has its own."""

# Compose's rule for project names, shortened so that names of objects fit.
SANDBOX_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


@dataclass(frozen=True)
class Names:
    """Names and labels of one portal's objects. Lookups use labels; names are for humans."""

    instance: str

    def network(self, sandbox_id: str) -> str:
        return f"{sandbox_id}_default"

    def container(self, sandbox_id: str, service: str) -> str:
        return f"{sandbox_id}-{service}-1"

    def previous_container(self, sandbox_id: str, service: str) -> str:
        """Return the name of a container that is kept until its replacement is ready."""
        return f"{sandbox_id}-{service}{PREVIOUS}"

    def claim_mark(self, sandbox_id: str) -> str:
        """Return the name of the empty volume whose label is the mark of a claim."""
        return f"{sandbox_id}_claimed"

    def volumes(self, spec: SandboxSpec, taken: Collection[str] = ()) -> dict[str, str]:
        """Return the engine's name for each shared volume, other than those that are `taken`.

        A volume can't be renamed, so the new one has the other of two names while services are
        recreated.
        """
        found = {}
        for volume in spec.volumes:
            first, second = (f"{spec.id}_{kind}_{volume}" for kind in ("volume", "volume2"))
            found[volume] = second if first in taken else first
        return found

    def volume_labels(self, spec: SandboxSpec, volume: str) -> dict[str, str]:
        return self._labels(spec) | {VOLUME: volume}

    def claim_labels(self, sandbox_id: str, claim: str) -> dict[str, str]:
        return {INSTANCE: self.instance, SANDBOX: sandbox_id, CLAIM: claim}

    @property
    def save_point_repository(self) -> str:
        """The repository of this instance's save points. Names of images have no capitals."""
        return f"{SAVE_POINT_IMAGES}/{hashlib.sha256(self.instance.encode()).hexdigest()[:12]}"

    def save_point_tag(self, save_point: str, service: str) -> str:
        return f"{save_point}-{service}"

    def save_point_labels(self, save_point: str, service: str) -> dict[str, str]:
        return {INSTANCE: self.instance, SAVE_POINT: save_point, SERVICE: service}

    def save_point_filters(self, save_point: str = "") -> dict[str, list[str]]:
        """Return filters for the images of one save point, or of all of this instance."""
        one = f"{SAVE_POINT}={save_point}" if save_point else SAVE_POINT
        return {"label": [f"{INSTANCE}={self.instance}", one]}

    def bridge(self, sandbox_id: str) -> str:
        """Return the network's interface on the host, where traffic is counted (15 characters)."""
        own = sandbox_id.removeprefix("sbx_")[-12:]
        if not own.isalnum():
            own = hashlib.sha256(sandbox_id.encode()).hexdigest()[:12]
        return "sbx" + own

    def filters(self, sandbox_id: str | None = None) -> dict[str, list[str]]:
        """Return filters for the objects of one sandbox, or of all sandboxes of this instance."""
        sandbox_label = SANDBOX if sandbox_id is None else f"{SANDBOX}={sandbox_id}"
        return {"label": [f"{INSTANCE}={self.instance}", sandbox_label]}

    def owns(self, row: Mapping[str, Any], sandbox_id: str) -> bool:
        """Return whether an object from the engine's lists belongs to this instance and sandbox."""
        labels = row.get("Labels") or {}
        return labels.get(INSTANCE) == self.instance and labels.get(SANDBOX) == sandbox_id

    def network_labels(self, spec: SandboxSpec) -> dict[str, str]:
        return self._labels(spec) | {f"{COMPOSE}.network": "default"}

    def container_labels(self, spec: SandboxSpec, service: ServiceSpec) -> dict[str, str]:
        """Return our labels and those that Compose needs to list and remove a container."""
        one_shot = {ONE_SHOT: "true"} if service.one_shot else {}
        return (
            self._labels(spec)
            | one_shot
            | {
                SERVICE: service.name,
                f"{COMPOSE}.service": service.name,
                f"{COMPOSE}.container-number": "1",
                f"{COMPOSE}.oneoff": "False",
                f"{COMPOSE}.config-hash": config_hash(spec, service),
                f"{COMPOSE}.project.config_files": f"{spec.blueprint}/compose.yaml",
            }
        )

    def _labels(self, spec: SandboxSpec) -> dict[str, str]:
        return {
            INSTANCE: self.instance,
            SANDBOX: spec.id,
            BLUEPRINT: spec.blueprint,
            f"{COMPOSE}.project": spec.id,
        }


def config_hash(spec: SandboxSpec, service: ServiceSpec) -> str:
    """Return the hash that Compose expects of a configured service; contains no secrets."""
    return hashlib.sha256(f"{spec.blueprint} {service.name} {service.image}".encode()).hexdigest()


def label(row: Mapping[str, Any], name: str) -> str:
    """Return a label of an object from the engine's lists; empty if missing."""
    return str((row.get("Labels") or {}).get(name, ""))


def is_previous(row: Mapping[str, Any]) -> bool:
    """Return whether a container from the engine's lists is kept until its replacement is ready."""
    return any(name.endswith(PREVIOUS) for name in row["Names"] or ())


def require_valid_id(sandbox_id: str) -> str:
    """Return the ID if it may become part of a name. Raises EngineRefused."""
    if not SANDBOX_ID.fullmatch(sandbox_id):
        raise EngineRefused(
            f"“{sandbox_id}” isn't a valid sandbox ID: use lower-case letters, digits, _ and -, "
            "at most 40 characters."
        )
    return sandbox_id


def full_name(image: str) -> str:
    """Return an image's name as in the engine's lists: with its tag, without Docker Hub's host."""
    name, _, digest = image.removeprefix("docker.io/").removeprefix("library/").partition("@")
    directory, slash, last = name.rpartition("/")
    if digest:
        return f"{directory}{slash}{last.partition(':')[0]}@{digest}"
    return name if ":" in last else f"{name}:latest"


def names_of(image: Mapping[str, Any]) -> Iterator[str]:
    """Yield all names of an image from the engine's lists, including its ID."""
    yield image["Id"]
    yield from image["RepoTags"] or ()
    yield from image["RepoDigests"] or ()
