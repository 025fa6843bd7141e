"""Objects on the engine: each is looked up, checked, and from then on known by its ID.

A name can change its meaning between a check and the call that was checked. An ID can't, and labels
never change. So the engine is only ever asked about the ID that its own answer contained.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from http import HTTPStatus
from typing import Any

from socket_proxy.engine import Engine
from socket_proxy.http1 import Answer
from socket_proxy.schema import require
from socket_proxy.settings import Settings

INSTANCE_LABEL = "sandboxportal.instance"
SANDBOX_LABEL = "sandboxportal.sandbox"
SERVICE_LABEL = "sandboxportal.service"
VOLUME_LABEL = "sandboxportal.volume"
SAVE_POINT_LABEL = "sandboxportal.save-point"
BUILT_IMAGE_LABEL = "sandboxportal.image"

HEX_ID = r"[0-9a-f]{64}"
NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}"
IMAGE_NAME = r"[A-Za-z0-9][A-Za-z0-9_.:@-]*(?:/[A-Za-z0-9][A-Za-z0-9_.:@-]*)*"


class LookupFailed(Exception):
    """The engine answered the look-up of an object with an error, which the client gets."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


@dataclass(frozen=True)
class Found:
    """An object that belongs to this instance, or an image that it may use."""

    id: str
    description: dict[str, Any]
    answer: Answer
    """The engine's description as it came."""


@dataclass(frozen=True)
class Kind:
    """A kind of objects: how callers may name one, how the engine describes it."""

    reference: str
    lookup: str
    id_key: str
    id_pattern: str
    labels: Callable[[Mapping[str, Any]], Mapping[str, str] | None] | None = None
    """Returns an object's labels, if those decide whose it is."""


KINDS = {
    "container": Kind(
        NAME, "/containers/{}/json", "Id", HEX_ID, lambda found: found["Config"]["Labels"]
    ),
    "network": Kind(NAME, "/networks/{}", "Id", r"[a-z0-9]{25,64}", lambda found: found["Labels"]),
    # Any network; the operation itself checks whose it is.
    "joined": Kind(NAME, "/networks/{}", "Id", r"[a-z0-9]{25,64}"),
    # The engine knows volumes by name only. Only this proxy's callers use names of this form.
    "volume": Kind(NAME, "/volumes/{}", "Name", NAME, lambda found: found["Labels"]),
    "exec": Kind(HEX_ID, "/exec/{}/json", "ID", HEX_ID),
    "image": Kind(IMAGE_NAME, "/images/{}/json", "Id", rf"sha256:{HEX_ID}"),
    # An image of a save point, which the portal may also replace and remove.
    "saved": Kind(
        IMAGE_NAME,
        "/images/{}/json",
        "Id",
        rf"sha256:{HEX_ID}",
        lambda found: _saved_labels(_image_labels(found)),
    ),
}


def _saved_labels(labels: Mapping[str, str] | None) -> Mapping[str, str]:
    """Return the labels of an image, or none if it isn't one of a save point."""
    return labels if labels and SAVE_POINT_LABEL in labels else {}


def _image_labels(description: Mapping[str, Any]) -> Any:
    return (description.get("Config") or {}).get("Labels")


class Objects:
    """Finds objects that the callers of this proxy may use."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self.engine, self.settings = engine, settings

    async def find(self, kind: str, reference: str) -> Found:
        """Return the object that the engine finds under a name or an ID.

        Raises RequestDenied if it isn't this instance's, LookupFailed, EngineFailure.
        """
        rules = KINDS[kind]
        require(re.fullmatch(rules.reference, reference), f"malformed name of a {kind}")
        answer = await self.engine.fetch(rules.lookup.format(reference))
        if answer.status != HTTPStatus.OK:
            raise LookupFailed(answer)
        description = json.loads(answer.content)
        found = Found(description[rules.id_key], description, answer)
        require(re.fullmatch(rules.id_pattern, found.id), f"the {kind} has no usable ID")
        if rules.labels:
            self._require_own(kind, rules.labels(description))
        elif kind == "exec":
            await self._check_exec(description)
        elif kind == "image":
            require(
                self.may_use_image(description.get("RepoTags"), _image_labels(description)),
                "the image isn't one of this portal; name it in SOCKET_PROXY_IMAGES",
            )
        return found

    async def sandbox_network(self, sandbox: str) -> str:
        """Return the ID of a sandbox's network. Raises RequestDenied if there is none."""
        try:
            network = await self.find("network", f"{sandbox}_default")
        except LookupFailed:
            require(False, f"the sandbox {sandbox} has no network")
            raise
        own = network.description["Labels"].get(SANDBOX_LABEL) == sandbox
        require(own, "the network belongs to another sandbox")
        return network.id

    async def require_shared_volume(self, name: str, sandbox: str) -> None:
        """Raise RequestDenied unless a volume exists, has no options, and is the sandbox's."""
        try:
            volume = (await self.find("volume", name)).description
        except LookupFailed:
            require(False, f"the volume {name} doesn't exist")
            raise
        labels = volume["Labels"]
        own = labels.get(SANDBOX_LABEL) == sandbox and VOLUME_LABEL in labels
        require(own, "a container can only use volumes of its sandbox")
        require(not volume.get("Options"), f"the volume {name} has options")

    def may_use_image(self, tags: Any, labels: Any) -> bool:
        """Return whether the portal has built or saved it, or the operator has named it."""
        return (
            BUILT_IMAGE_LABEL in (labels or {})
            or self.is_own(labels)
            or any(
                fnmatchcase(tag, pattern) for tag in tags or () for pattern in self.settings.images
            )
        )

    def is_own(self, labels: Mapping[str, str] | None) -> bool:
        """Return whether an object with these labels is this instance's."""
        return (labels or {}).get(INSTANCE_LABEL) == self.settings.instance

    def _require_own(self, kind: str, labels: Mapping[str, str] | None) -> None:
        require(self.is_own(labels), f"the {kind} doesn't have the label of this instance")

    async def _check_exec(self, description: Mapping[str, Any]) -> None:
        """Deny commands in foreign containers, and those that only an operator can prepare."""
        container = await self.find("container", description["ContainerID"])
        process = description["ProcessConfig"]
        users = ("", container.description["Config"]["User"])
        require(
            not process.get("privileged") and process.get("user", "") in users,
            "the command has more rights than its container",
        )
