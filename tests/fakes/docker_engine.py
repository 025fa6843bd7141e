"""A Docker engine in memory that understands requests as the real one does, and records effects.

It decodes as Go's libraries: keys of JSON objects in any case and the last one wins, data after a
document is ignored, of a repeated query parameter the first one counts, `Transfer-Encoding` wins
over `Content-Length`, and one connection carries several requests. It allows everything.
"""

from __future__ import annotations

import asyncio
import io
import json
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote, unquote_plus

ID = re.compile(r"[0-9a-f]{64}")
FIRST_VERSION_WITHOUT_START_BODY = (1, 24)
MAX_NANO_CPUS = 10**9


def value_of(value: Any, key: str) -> Any:
    """Return a field of an object as Go decodes it into a structure."""
    pairs = value.items() if isinstance(value, dict) else ()
    return next((one for name, one in reversed(list(pairs)) if folds_to(name, key)), None)


def folds_to(name: str, key: str) -> bool:
    return name.casefold() == key.casefold()


@dataclass
class EngineObject:
    """A container, network, image, volume or command."""

    id: str
    name: str
    own: bool
    description: dict[str, Any]
    content: str = ""
    """What its logs, files and statistics contain."""


@dataclass(frozen=True)
class GoRequest:
    """A request as Go's libraries decode it."""

    reference: str
    query: dict[str, str]
    body: Any
    old: bool = False
    """A body at `start` replaces the container's configuration."""
    content: bytes = b""


@dataclass
class FakeEngine:
    """The objects of an engine, and what requests did to them."""

    containers: list[EngineObject]
    networks: list[EngineObject]
    images: list[EngineObject]
    volumes: list[EngineObject]
    commands: list[EngineObject]
    secret: str = "foreign-secret"
    names_change: bool = False
    """After each look-up by name, the name passes on to a foreign object of that kind."""
    api_version: str = "1.41"
    created_containers: list[EngineObject] = field(default_factory=list)
    created_networks: list[EngineObject] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def find(self, among: list[EngineObject], reference: str) -> EngineObject | None:
        """Return the object with this ID, this name, or an ID that begins like this."""
        reference = reference.removeprefix("/")
        for matches in (
            [one for one in among if reference == one.id],
            [one for one in among if reference == one.name],
            [one for one in among if reference and plain_id(one).startswith(reference)],
        ):
            if matches:
                return matches[0] if len(matches) == 1 else None
        return None

    def look_up(self, among: list[EngineObject], reference: str) -> EngineObject | None:
        found = self.find(among, reference)
        if found and self.names_change and found.own and reference != found.id:
            foreign = next((one for one in among if not one.own), None)
            if foreign:
                # Something like a rename, or a removal of one and the creation of another.
                found.name, foreign.name = foreign.name, found.name
                if not plain_id(foreign).startswith(reference):
                    foreign.name = reference
        return found

    # The wire

    async def serve_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            while await self._serve_request(reader, writer):
                pass
        except (OSError, EOFError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    async def _serve_request(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.splitlines()
        method, target, _ = first.split(" ", 2)
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        body = b""
        if headers.get("transfer-encoding", "").lower() == "chunked":
            while size := int(await reader.readuntil(b"\r\n"), 16):
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readuntil(b"\r\n")
        elif length := int(headers.get("content-length", 0)):
            body = await reader.readexactly(length)
        self.requests.append(f"{method} {target}")
        status, value = self.answer(method, target, body)
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        content = b"" if status in (204, 304) or method == "HEAD" else content
        writer.write(
            f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(content)}\r\n\r\n".encode()
            + content
        )
        await writer.drain()
        return "close" not in headers.get("connection", "")

    # The API

    def answer(self, method: str, target: str, body: bytes) -> tuple[int, Any]:
        """Carry out a request; return status and content of the answer."""
        raw_path, _, raw_query = target.partition("?")
        path = unquote(raw_path)
        version = re.match(r"/v([0-9.]+)(?=/)", path)
        if version:
            path = path[version.end() :]
        if not version or version[1] != self.api_version:
            self.violations.append(f"the engine was asked for another API version: {target}")
        query: dict[str, str] = {}
        for part in raw_query.split("&"):
            name, _, text = part.partition("=")
            if name and ";" not in part:
                query.setdefault(unquote_plus(name), unquote_plus(text))
        try:
            given = json.JSONDecoder().raw_decode(body.decode("utf-8-sig").lstrip())[0]
        except ValueError:
            given = None
        old = version and numbers(version[1]) < FIRST_VERSION_WITHOUT_START_BODY
        return self._route(f"{method} {path}", GoRequest("", query, given, bool(old), body))

    def _route(self, target: str, request: GoRequest) -> tuple[int, Any]:
        for pattern, handler in ROUTES:
            if match := re.fullmatch(pattern, target):
                reference = match.groupdict().get("reference", "")
                status, value = handler(self, replace(request, reference=reference))
                return status, value
        self.violations.append(f"the engine was asked for {target}")
        return 200, self.secret

    def _info(self, _request: GoRequest) -> tuple[int, Any]:
        return 200, {"ServerVersion": "20.10", "HttpProxy": f"http://{self.secret}@x"}

    def _list_containers(self, request: GoRequest) -> tuple[int, Any]:
        return 200, list(self._listed(self.containers, request.query))

    def _list_networks(self, request: GoRequest) -> tuple[int, Any]:
        return 200, list(self._listed(self.networks, request.query))

    def _list_volumes(self, request: GoRequest) -> tuple[int, Any]:
        return 200, {"Volumes": list(self._listed(self.volumes, request.query))}

    def _list_images(self, _request: GoRequest) -> tuple[int, Any]:
        return 200, [one.description for one in self.images]

    def _disconnect(self, request: GoRequest) -> tuple[int, Any]:
        self._touch(self.containers, str(value_of(request.body, "Container")), "disconnect")
        return self._touch(self.networks, request.reference, "disconnect")

    def _connect(self, request: GoRequest) -> tuple[int, Any]:
        container = self.look_up(self.containers, str(value_of(request.body, "Container")))
        network = self.look_up(self.networks, request.reference)
        if container is None or network is None:
            return 404, no_such(request.reference)
        sandbox = labels_of(container).get("sandboxportal.sandbox")
        own = container.own and network.own
        if not own or labels_of(network).get("sandboxportal.sandbox") != sandbox:
            self.violations.append(f"connected {container.name} to {network.name}")
        if set(value_of(request.body, "EndpointConfig") or ()) - {"Aliases"}:
            self.violations.append(f"connected with {request.body}")
        return 200, b""

    def _rename(self, request: GoRequest) -> tuple[int, Any]:
        found = self.find(self.containers, request.reference)
        sandbox = labels_of(found).get("sandboxportal.sandbox") if found else None
        if not request.query.get("name", "").startswith(f"{sandbox}-"):
            self.violations.append(f"renamed {request.reference} to {request.query}")
        return self._touch(self.containers, request.reference, "rename")

    def _create_volume(self, request: GoRequest) -> tuple[int, Any]:
        labels = value_of(request.body, "Labels") or {}
        if "sandboxportal.instance" not in labels or value_of(request.body, "DriverOpts"):
            self.violations.append(f"created the volume {request.body}")
        existing = self.find(self.volumes, str(value_of(request.body, "Name")))
        return 201, existing.description if existing else {}

    def _disk_usage(self, request: GoRequest) -> tuple[int, Any]:
        if request.query.get("type") != "volume":
            self.violations.append(f"measured {request.query}")
        volumes = [one.description for one in self.volumes]
        return 200, {"Volumes": volumes, "Images": [self.secret]}

    def _extract(self, request: GoRequest) -> tuple[int, Any]:
        if request.query.get("path") != "/":
            self.violations.append(f"extracted to {request.query}")
        try:
            with tarfile.open(fileobj=io.BytesIO(request.content), mode="r:") as tar:
                for one in tar:
                    names = set(one.name.split("/"))
                    strange = one.mode & ~0o777 or not one.isreg() or {"", "..", "."} & names
                    if (strange or one.uid or one.gid) and one.name != "run/secrets":
                        self.violations.append(f"extracted {one.name} {one.mode:o}")
        except tarfile.TarError:
            self.violations.append("extracted something else than an archive")
        status, value = self._touch(self.containers, request.reference, "extract")
        return (200, b"") if status == 204 else (status, value)

    def _commit(self, request: GoRequest) -> tuple[int, Any]:
        found = self.look_up(self.containers, request.query.get("container", ""))
        if found is None:
            return 404, no_such("container")
        labels, config = labels_of(found), request.body or {}
        repository = request.query.get("repo", "").startswith("sandboxportal-save-points/")
        values = [one.partition("=")[2] for one in value_of(config, "Env") or ()]
        if not found.own or not repository or any(values) or request.query.get("changes"):
            self.violations.append(f"committed {found.name} with {config} to {request.query}")
        if set(config) - {"Env", "Labels"} or labels.get("sandboxportal.service") not in str(
            config
        ):
            self.violations.append(f"committed with {config}")
        return 201, {"Id": "sha256:" + "9" * 64}

    def _load(self, request: GoRequest) -> tuple[int, Any]:
        with tarfile.open(fileobj=io.BytesIO(request.content), mode="r:") as tar:
            files = {one.name: tar.extractfile(one) for one in tar}
        texts = {name: file.read() for name, file in files.items() if file}
        for image in json.loads(texts.pop("manifest.json")):
            config = json.loads(texts.pop(image["Config"]))
            own = [
                one.description.get("RootFS", {}).get("Layers") for one in self.images if one.own
            ]
            if config["rootfs"]["diff_ids"] not in own or set(config) & {"history", "container"}:
                self.violations.append(f"loaded {config}")
            if not all(one.startswith("sandboxportal-save-points/") for one in image["RepoTags"]):
                self.violations.append(f"loaded as {image['RepoTags']}")
        if texts:
            self.violations.append(f"loaded {list(texts)}")
        return 200, {"stream": "Loaded"}

    def _remove_image(self, request: GoRequest) -> tuple[int, Any]:
        found = self.find(self.images, request.reference)
        saved = found and "sandboxportal.save-point" in labels_of(found)
        if found and not (found.own and saved and request.query.get("noprune") == "1"):
            self.violations.append(f"removed {found.name} with {request.query}")
        return (200, []) if found else (404, no_such(request.reference))

    def _start(self, request: GoRequest) -> tuple[int, Any]:
        if request.old and request.body:
            self.violations.append(f"started with {request.body}")
        return self._touch(self.containers, request.reference, "start")

    def _update(self, request: GoRequest) -> tuple[int, Any]:
        body = request.body or {}
        if set(body) != {"NanoCpus"} or not 0 < body["NanoCpus"] <= MAX_NANO_CPUS:
            self.violations.append(f"updated with {body}")
        return self._touch(self.containers, request.reference, "update")

    def _create_command(self, request: GoRequest) -> tuple[int, Any]:
        if value_of(request.body, "Privileged") or value_of(request.body, "User"):
            self.violations.append(f"a command with {request.body}")
        status, value = self._touch(self.containers, request.reference, "exec")
        return (201, {"Id": "e" * 64}) if status == 204 else (status, value)

    def _remove_container(self, request: GoRequest) -> tuple[int, Any]:
        if request.query.get("link", "0").lower() not in ("", "0", "no", "false", "none"):
            self.violations.append("removed a link")
        return self._touch(self.containers, request.reference, "remove")

    def _read(self, request: GoRequest) -> tuple[int, Any]:
        if request.query.get("follow", "0").lower() not in ("", "0", "no", "false", "none"):
            self.violations.append("followed a log")
        found = self.look_up(self.containers, request.reference)
        return (200, found.content.encode()) if found else (404, no_such(request.reference))

    def _describe(self, among: list[EngineObject], reference: str) -> tuple[int, Any]:
        found = self.look_up(among, reference)
        return (200, found.description) if found else (404, no_such(reference))

    def _touch(self, among: list[EngineObject], reference: str, verb: str) -> tuple[int, Any]:
        found = self.look_up(among, reference)
        if found is None:
            return 404, no_such(reference)
        if not found.own:
            self.violations.append(f"{verb}: {found.name}")
        return 204, b""

    def _listed(self, among: list[EngineObject], query: dict[str, str]) -> Iterator[dict[str, Any]]:
        try:
            filters = json.loads(query.get("filters") or "{}")
        except ValueError:
            filters = {}
        wanted = set(filters.get("label") or ()) if isinstance(filters, dict) else set()
        for one in among:
            labels = labels_of(one)
            if wanted <= {*labels, *(f"{key}={value}" for key, value in labels.items())}:
                yield one.description | {"Labels": labels}

    def _create_container(self, request: GoRequest) -> tuple[int, Any]:
        name = request.query.get("name", "random_name")
        if any(one.name == name for one in self.containers):
            return 409, {"message": "already in use"}
        self.created_containers.append(EngineObject("9" * 64, name, True, request.body or {}))
        return 201, {"Id": "9" * 64}

    def _create_network(self, request: GoRequest) -> tuple[int, Any]:
        name = str(value_of(request.body, "Name"))
        self.created_networks.append(EngineObject("9" * 64, name, True, request.body or {}))
        return 201, {"Id": "9" * 64}


def plain_id(one: EngineObject) -> str:
    return one.id.removeprefix("sha256:")


def labels_of(one: EngineObject) -> dict[str, str]:
    labels: dict[str, str] = (
        one.description.get("Labels") or one.description.get("Config", {}).get("Labels") or {}
    )
    return labels


def no_such(reference: str) -> dict[str, str]:
    return {"message": f"No such object: {reference}"}


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part or 0) for part in version.split("."))


Handler = Callable[[FakeEngine, GoRequest], tuple[int, Any]]


def describing(kind: str) -> Handler:
    return lambda engine, request: engine._describe(getattr(engine, kind), request.reference)


def touching(kind: str, verb: str) -> Handler:
    return lambda engine, request: engine._touch(getattr(engine, kind), request.reference, verb)


NAME = "(?P<reference>[^/]*)"
ROUTES: list[tuple[str, Handler]] = [
    ("(?:GET|HEAD) /_ping", lambda engine, request: (200, "OK")),
    ("GET /version", lambda engine, request: (200, {"Version": "20.10", "ApiVersion": "1.41"})),
    ("GET /info", FakeEngine._info),
    ("GET /images/json", FakeEngine._list_images),
    ("GET /images/(?P<reference>.+)/json", describing("images")),
    ("GET /networks", FakeEngine._list_networks),
    ("POST /networks/create", FakeEngine._create_network),
    (f"GET /networks/{NAME}", describing("networks")),
    (f"DELETE /networks/{NAME}", touching("networks", "remove")),
    (f"POST /networks/{NAME}/disconnect", FakeEngine._disconnect),
    (f"POST /networks/{NAME}/connect", FakeEngine._connect),
    ("GET /containers/json", FakeEngine._list_containers),
    ("POST /containers/create", FakeEngine._create_container),
    (f"GET /containers/{NAME}/json", describing("containers")),
    (f"GET /containers/{NAME}/(?:logs|stats)", FakeEngine._read),
    (f"POST /containers/{NAME}/start", FakeEngine._start),
    (f"POST /containers/{NAME}/rename", FakeEngine._rename),
    (f"POST /containers/{NAME}/stop", touching("containers", "stop")),
    (f"POST /containers/{NAME}/pause", touching("containers", "pause")),
    (f"POST /containers/{NAME}/unpause", touching("containers", "unpause")),
    ("POST /commit", FakeEngine._commit),
    ("POST /images/load", FakeEngine._load),
    ("DELETE /images/(?P<reference>.+)", FakeEngine._remove_image),
    (f"POST /containers/{NAME}/update", FakeEngine._update),
    (f"POST /containers/{NAME}/exec", FakeEngine._create_command),
    (f"DELETE /containers/{NAME}", FakeEngine._remove_container),
    (f"POST /exec/{NAME}/start", touching("commands", "start")),
    (f"GET /exec/{NAME}/json", describing("commands")),
    (f"PUT /containers/{NAME}/archive", FakeEngine._extract),
    ("GET /system/df", FakeEngine._disk_usage),
    ("POST /volumes/create", FakeEngine._create_volume),
    ("GET /volumes", FakeEngine._list_volumes),
    (f"GET /volumes/{NAME}", describing("volumes")),
    (f"DELETE /volumes/{NAME}", touching("volumes", "remove")),
]
