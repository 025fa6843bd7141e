"""The table of all allowed operations. What isn't in it is denied."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from socket_proxy import answers, archives, bodies, images
from socket_proxy.answers import Reduce
from socket_proxy.http1 import Answer
from socket_proxy.objects import (
    IMAGE_NAME,
    NAME,
    SANDBOX_LABEL,
    SAVE_POINT_LABEL,
    SERVICE_LABEL,
    Found,
    LookupFailed,
    Objects,
)
from socket_proxy.schema import Validator, exactly, require, text
from socket_proxy.settings import Settings

PLACEHOLDER = re.compile(r"\{(\w+)\}")


@dataclass
class Call:
    """An operation with its parsed values, while it is being checked."""

    objects: Objects
    query: dict[str, str]
    body: Any
    found: Found | None = None
    """The object that the path names."""


@dataclass(frozen=True)
class Operation:
    """An allowed operation.

    A placeholder in `path` names the kind of object; it stands for any name or ID, and the engine
    gets the object's ID. `query` has the known parameters and `body` the schema of the body; other
    parameters, and any body without a schema, are denied. `check` completes the call with values
    of other objects that it concerns.
    """

    method: str
    path: str
    query: Mapping[str, Validator] = field(default_factory=dict)
    body: Validator | None = None
    rebuild: Callable[[bytes], bytes] | None = None
    """Returns the body to forward, if it isn't JSON."""
    check: Callable[[Call], Awaitable[None]] | None = None
    uploads: bool = False
    """The body is forwarded as it is, while it arrives."""
    describes: bool = False
    """The answer is the description with which the object was checked."""
    reduce: Reduce | None = None
    """Returns what the caller sees of the answer; without it, everything."""
    reduces: Callable[[Mapping[str, str]], bool] = lambda _query: True
    """Returns whether the answer to a request with this query is reduced."""

    @property
    def kind(self) -> str | None:
        match = PLACEHOLDER.search(self.path)
        return match[1] if match else None

    def match(self, method: str, path: str) -> re.Match[str] | None:
        if method != self.method:
            return None
        reference = IMAGE_NAME if self.kind in ("image", "saved") else NAME
        pattern = PLACEHOLDER.sub(f"(?P<reference>{reference})", self.path)
        return re.fullmatch(pattern, path, re.ASCII)


def boolean(value: str) -> str:
    """Accept the spellings of the SDK: True and False, 1 and 0."""
    known = {"1": "1", "true": "1", "0": "0", "false": "0"}
    require(value.lower() in known, "must be 1 or 0")
    return known[value.lower()]


def off(value: str) -> None:
    """Accept an option that is switched off, and leave it out."""
    require(boolean(value) == "0", "must be 0")


def ignored(value: str) -> None:
    """Accept a parameter that the SDK always sends, and leave it out."""
    text(r"-?[0-9a-z]{1,5}")(value)


def lists_running_only(query: Mapping[str, str]) -> bool:
    """Return whether stopped containers are left out: the list for measuring usage."""
    return query.get("all", "0") == "0"


def as_json(validator: Validator) -> Validator:
    return lambda value: json.dumps(validator(value), separators=(",", ":"))


def operations(settings: Settings) -> list[Operation]:
    """Return the table for one instance."""
    own = as_json(bodies.own_filter(settings))
    lists = {"all": boolean, "size": boolean, "limit": ignored, "trunc_cmd": ignored}
    logs = dict.fromkeys(("stdout", "stderr", "timestamps"), boolean) | {
        "follow": off,
        "tail": text(r"all|[0-9]{1,9}"),
        "since": text(r"[0-9]{1,12}"),
    }
    removal = {"v": boolean, "force": boolean, "link": off}
    return [
        # The engine
        Operation("GET", "/_ping"),
        Operation("HEAD", "/_ping"),
        Operation("GET", "/version", reduce=answers.version),
        Operation("GET", "/info", reduce=answers.info),
        # Images
        Operation(
            "GET",
            "/images/json",
            query={"all": boolean, "only_ids": ignored, "filters": own},
            reduce=answers.images,
        ),
        Operation("GET", "/images/{image}/json", describes=True),
        # Images of save points: commits of own containers
        Operation(
            "POST",
            "/commit",
            query={
                "container": text(NAME),
                "repo": exactly(bodies.save_point_repository(settings)),
                "tag": text(NAME),
                "pause": off,
            },
            body=bodies.commit(settings),
            check=complete_commit,
        ),
        Operation(
            "POST",
            "/images/load",
            rebuild=partial(images.rebuild, settings=settings),
            check=require_saved_layers,
        ),
        Operation(
            "DELETE",
            "/images/{saved}",
            query={"force": off, "noprune": boolean},
            check=remove_nothing_else,
        ),
        # Networks
        Operation(
            "GET",
            "/networks",
            query={"filters": as_json(bodies.network_filter(settings))},
            reduce=answers.networks,
        ),
        Operation("POST", "/networks/create", body=bodies.network(settings)),
        Operation("GET", "/networks/{network}", describes=True),
        Operation("DELETE", "/networks/{network}"),
        Operation(
            "POST",
            "/networks/{joined}/disconnect",
            body=bodies.DISCONNECT,
            check=require_connected,
        ),
        Operation(
            "POST", "/networks/{network}/connect", body=bodies.CONNECT, check=require_own_network
        ),
        # Containers
        Operation(
            "GET",
            "/containers/json",
            query=lists | {"filters": own},
            check=require_filter,
            reduce=answers.running_containers,
            reduces=lists_running_only,
        ),
        Operation(
            "POST",
            "/containers/create",
            query={"name": text(NAME)},
            body=bodies.container(settings),
            check=complete_container,
        ),
        Operation("GET", "/containers/{container}/json", describes=True),
        Operation("GET", "/containers/{container}/logs", query=logs),
        Operation(
            "GET",
            "/containers/{container}/stats",
            query={"stream": off, "one-shot": boolean},
            check=no_stream,
        ),
        Operation("POST", "/containers/{container}/start"),
        Operation("POST", "/containers/{container}/stop", query={"t": text(r"[0-9]{1,3}")}),
        Operation("POST", "/containers/{container}/pause"),
        Operation("POST", "/containers/{container}/unpause"),
        Operation(
            "POST",
            "/containers/{container}/rename",
            query={"name": text(NAME)},
            check=require_own_name,
        ),
        Operation("POST", "/containers/{container}/update", body=bodies.update(settings)),
        Operation("DELETE", "/containers/{container}", query=removal),
        Operation(
            "PUT",
            "/containers/{container}/archive",
            query={"path": exactly("/")},
            rebuild=archives.rebuild,
            check=require_never_started,
        ),
        # Commands in containers
        Operation("POST", "/containers/{container}/exec", body=bodies.COMMAND),
        Operation("POST", "/exec/{exec}/start", body=bodies.COMMAND_START),
        Operation("GET", "/exec/{exec}/json", describes=True),
        # Volumes, which mark claimed sandboxes or belong to several services
        Operation(
            "POST", "/volumes/create", body=bodies.volume(settings), check=require_own_volume
        ),
        Operation("GET", "/volumes", query={"filters": own}, check=require_filter),
        Operation("DELETE", "/volumes/{volume}", query={"force": boolean}),
        Operation(
            "GET",
            "/system/df",
            query={"type": exactly("volume")},
            check=require_type,
            reduce=answers.volume_sizes,
        ),
    ]


def image_operations() -> list[Operation]:
    """Return what operators may do with images, in a command with a certificate of their own.

    The portal's processes load only what belongs to save points: an image decides what runs.
    """
    return [
        Operation("GET", "/_ping"),
        Operation("GET", "/version", reduce=answers.version),
        Operation(
            "GET",
            "/images/json",
            query={"all": boolean, "only_ids": ignored},
            reduce=answers.images,
        ),
        Operation("POST", "/images/load", query={"quiet": boolean}, uploads=True),
    ]


async def require_filter(call: Call) -> None:
    require("filters" in call.query, "lists must be filtered by the label of the instance")


async def require_type(call: Call) -> None:
    require("type" in call.query, "only the sizes of volumes can be measured")


async def no_stream(call: Call) -> None:
    """Ask for one measurement: the engine's default is an endless stream."""
    call.query["stream"] = "0"


async def require_never_started(call: Call) -> None:
    """Deny to write into a container in which processes run, or have left something."""
    assert call.found
    status = call.found.description["State"].get("Status")
    require(status == "created", "files can only be written before a container starts")


async def complete_commit(call: Call) -> None:
    """Replace the container by its ID, and require the tag of its service.

    The portal has paused the container, together with the others of its sandbox.
    """
    require({"container", "repo", "tag"} <= call.query.keys(), "container, repo, tag are required")
    container = await call.objects.find("container", call.query["container"])
    labels = call.body["Labels"]
    service = container.description["Config"]["Labels"].get(SERVICE_LABEL)
    require(labels[SERVICE_LABEL] == service, "the service must be that of the container")
    tag = f"{labels[SAVE_POINT_LABEL]}-{service}"
    require(call.query["tag"] == tag, f"the tag must be {tag}")
    call.query |= {"container": container.id, "pause": "0"}


async def require_saved_layers(call: Call) -> None:
    """Deny an image whose layers differ from those of the instance's image that it replaces."""
    name, configuration = images.parse(call.body)
    saved = await call.objects.find("saved", name)
    layers = saved.description["RootFS"]["Layers"]
    require(
        configuration["rootfs"]["diff_ids"] == layers, "the layers must be those that were saved"
    )
    labels = saved.description["Config"]["Labels"]
    own = {key: labels.get(key) for key in configuration["config"]["Labels"]}
    require(configuration["config"]["Labels"] == own, "the labels must be those that were saved")


async def remove_nothing_else(call: Call) -> None:
    """Keep images on which this one is based."""
    call.query["noprune"] = "1"


async def require_own_volume(call: Call) -> None:
    """Deny a name that a foreign volume has: the engine would answer with its description."""
    with suppress(LookupFailed):
        await call.objects.find("volume", call.body["Name"])


async def require_own_name(call: Call) -> None:
    """Allow the two names that a container of its sandbox and service can have."""
    assert call.found
    labels = call.found.description["Config"]["Labels"]
    own = f"{labels.get(SANDBOX_LABEL)}-{labels.get(SERVICE_LABEL)}"
    require(
        call.query.get("name") in (f"{own}-1", f"{own}-previous"),
        f"the container's name must be {own}-1 or {own}-previous",
    )


async def complete_container(call: Call) -> None:
    """Replace the image and the network by their IDs, and the name by the one that is due.

    The ID of the network in `NetworkID` binds the container to it: the engine would otherwise look
    for the name again when the container starts.
    """
    body, settings = call.body, call.objects.settings
    sandbox = body["Labels"][SANDBOX_LABEL]
    name = f"{sandbox}-{body['Labels'][SERVICE_LABEL]}-1"
    require(call.query.get("name", name) == name, f"the container's name must be {name}")
    call.query["name"] = name
    image = await call.objects.find("image", body["Image"])
    bodies.check_image(body, image, settings)
    body["Image"] = image.id
    for mount in body["HostConfig"].get("Mounts", ()):
        await call.objects.require_shared_volume(mount["Source"], sandbox)
    if body["HostConfig"]["NetworkMode"] == "none":
        require(not bodies.endpoints(body), "a container without network can't join one")
        return
    network = await call.objects.sandbox_network(sandbox)
    [endpoint] = list(bodies.endpoints(body).values()) or [{}]
    body["HostConfig"]["NetworkMode"] = network
    body["NetworkingConfig"] = {"EndpointsConfig": {network: endpoint | {"NetworkID": network}}}


async def require_own_network(call: Call) -> None:
    """Deny to connect a container to anything but its sandbox's network, under its own name.

    Other names only change what the services of the sandbox reach under them.
    """
    assert call.found
    container = await call.objects.find("container", call.body["Container"])
    labels = container.description["Config"]["Labels"]
    network = await call.objects.sandbox_network(labels.get(SANDBOX_LABEL, ""))
    require(call.found.id == network, "a container can only join the network of its sandbox")
    aliases = call.body["EndpointConfig"]["Aliases"]
    require(aliases[0] == labels.get(SERVICE_LABEL), "the first alias must be the service's name")
    call.body["Container"] = container.id


async def require_connected(call: Call) -> None:
    """Deny to disconnect what isn't connected, and foreign containers from foreign networks.

    An operator may have connected an own container to a foreign network. After a crash of the
    engine, an endpoint can be left without its container; it has only a name.
    """
    assert call.found
    given = call.body["Container"]
    connected = call.found.description.get("Containers") or {}
    if not call.objects.is_own(call.found.description["Labels"]):
        container = await call.objects.find("container", given)
        endpoints = container.description["NetworkSettings"]["Networks"].values()
        require(
            call.found.id in {one["NetworkID"] for one in endpoints},
            "the network doesn't have the label of this instance",
        )
        call.body["Container"] = container.id
        return
    left_over = {one["Name"] for key, one in connected.items() if key.startswith("ep-")}
    if given in connected or given in left_over:
        return
    # A stopped container isn't on the network's list.
    container = await call.objects.find("container", given)
    call.body["Container"] = container.id
    names = container.description["NetworkSettings"]["Networks"]
    if not {call.found.id, call.found.description["Name"]} & set(names):
        raise LookupFailed(Answer.error(404, f"{given} isn't connected to the network"))
