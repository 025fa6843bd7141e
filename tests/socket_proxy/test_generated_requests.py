"""What the proxy lets through of generated requests, compared with what an engine then has."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from socket_proxy.operations import operations
from socket_proxy.server import SocketProxy
from socket_proxy.settings import Settings

from sandboxes.runtime import SandboxSpec
from sandboxes.runtime.docker.names import Names
from tests import fuzz
from tests.fakes.docker_engine import EngineObject, FakeEngine
from tests.harness.runtimes import SUBNETS, TIME_LIMIT, ignore_step, with_service
from tests.socket_proxy.confinement import Site, container_problems, network_problems
from tests.socket_proxy.generated import (
    CREATIONS,
    DENIED,
    KNOWN_OPERATIONS,
    LAYERS,
    LET_THROUGH,
    PORTAL,
    SAVE_POINT,
    GeneratedRequest,
    World,
    requests,
)
from tests.socket_proxy.harness import ProxiedHarness, foreign_objects, running_proxy

INSTANCE, SANDBOX = "tests-one", "sbx_0123456789abcdef"
OWN_ID, FOREIGN_ID = "a1" * 32, "b2" * 32
OWN_IMAGE, FOREIGN_IMAGE = f"sha256:{'c3' * 32}", f"sha256:{'d4' * 32}"
SAVED, FOREIGN_SAVED = f"sha256:{'c5' * 32}", f"sha256:{'d6' * 32}"
SAVED_NAME = f"{Names(INSTANCE).save_point_repository}:{SAVE_POINT}-web"
OWN_COMMAND, FOREIGN_COMMAND = "e5" * 32, "f6" * 32
OWN_NETWORK, FOREIGN_NETWORK = "17" * 32, "28" * 32
OTHER_NETWORK = "39" * 32
SECRET = "foreign-secret"
EXAMPLES, ENGINE_EXAMPLES = 300, 60
"""Requests of the short form, before an engine in memory and a real one."""
ENGINE_SHARE = 10
"""In the long form, a real engine gets one request for each ten others."""

WORLD = World(
    instance=INSTANCE,
    sandbox=SANDBOX,
    image="sandboxportal-tests/tiny:1",
    containers=(
        *(f"{SANDBOX}-web-1", OWN_ID, OWN_ID[:12], "secret-db-1", FOREIGN_ID, FOREIGN_ID[:12]),
        *(FOREIGN_ID[:3], f"/{FOREIGN_ID}", "..", "json", "", "x" * 200),
    ),
    networks=(
        *(f"{SANDBOX}_default", OWN_NETWORK, "project_default", FOREIGN_NETWORK),
        *("other_default", OTHER_NETWORK, "bridge", "host", "none", FOREIGN_NETWORK[:12]),
    ),
    images=(
        *("sandboxportal-tests/tiny:1", OWN_IMAGE, "company/private:1", FOREIGN_IMAGE),
        *(FOREIGN_IMAGE[7:19], "company/private:1@" + FOREIGN_IMAGE, "../x"),
    ),
    saved=(SAVED_NAME, SAVED, FOREIGN_SAVED, OWN_IMAGE, FOREIGN_IMAGE, "company/private:1"),
    commands=(OWN_COMMAND, FOREIGN_COMMAND, FOREIGN_COMMAND[:12], "start"),
    sandboxes=(
        *(SANDBOX, "project", "other", "sbx_missing", "bridge", "container:x", "container"),
        *(f"container:{FOREIGN_ID}", "", "a/b"),
    ),
    volumes=(f"{SANDBOX}_claimed", f"{SANDBOX}_volume_site", "other_volume_x", "project_data"),
)
SITE = Site(
    INSTANCE,
    {OWN_NETWORK: SANDBOX, OTHER_NETWORK: "other"},
    frozenset({OWN_IMAGE, SAVED}),
    SUBNETS,
    volumes={f"{SANDBOX}_volume_site": SANDBOX, "other_volume_x": "other"},
    root_services=True,
)


def new_engine(*, names_change: bool = False) -> FakeEngine:
    """Return an engine with an object of ours and a foreign one of every kind."""
    labels = {"sandboxportal.instance": INSTANCE, "sandboxportal.sandbox": SANDBOX}
    service = {"sandboxportal.service": "web"}
    foreign_labels = {"note": SECRET, "sandboxportal.sandbox": "project"}
    other = {"sandboxportal.sandbox": "other"}

    def container(identity: str, name: str, own: bool, config: dict[str, Any]) -> EngineObject:
        content = "own" if own else SECRET
        described = {"Id": identity, "Config": config | {"Env": [content]}}
        described["State"] = {"Status": "created"}
        described["NetworkSettings"] = {"Networks": {f"{SANDBOX}_default": {}} if own else {}}
        return EngineObject(identity, name, own, described, content)

    def network(identity: str, name: str, own: bool, labels: dict[str, str]) -> EngineObject:
        pools = {"Config": [{"Subnet": "10.1.0.0/28"}]}
        connected = {OWN_ID: {"Name": f"{SANDBOX}-web-1"}} if own else {}
        described = {"Id": identity, "Labels": labels, "IPAM": pools, "Containers": connected}
        return EngineObject(identity, name, own, described | {"Name": name if own else SECRET})

    def image(identity: str, name: str, own: bool) -> EngineObject:
        config = {"User": "65534", "Env": ["own" if own else SECRET], "Labels": None}
        described = {"Id": identity, "RepoTags": [name], "Config": config, "Size": 1}
        return EngineObject(identity, name, own, described)

    def saved(identity: str, name: str, own: bool) -> EngineObject:
        labels = Names(INSTANCE if own else "other").save_point_labels(SAVE_POINT, "web")
        found = image(identity, name, own)
        layers = LAYERS if own else ["sha256:" + "9" * 64]
        found.description["Config"]["Labels"] = labels
        found.description["RootFS"] = {"Layers": layers}
        return found

    def volume(name: str, own: bool, **more: str) -> EngineObject:
        described = {"Name": name, "Labels": labels | more if own else {"note": SECRET}}
        return EngineObject(name, name, own, described)

    def command(identity: str, own: bool) -> EngineObject:
        process = {"privileged": False, "user": "65534", "entrypoint": "own" if own else SECRET}
        container_id = OWN_ID if own else FOREIGN_ID
        described = {"ID": identity, "ContainerID": container_id, "ProcessConfig": process}
        return EngineObject(identity, identity, own, described)

    return FakeEngine(
        containers=[
            container(
                OWN_ID, f"{SANDBOX}-web-1", True, {"Labels": labels | service, "User": "65534"}
            ),
            container(FOREIGN_ID, "secret-db-1", False, {"Labels": foreign_labels, "User": ""}),
        ],
        networks=[
            network(OWN_NETWORK, f"{SANDBOX}_default", True, labels),
            network(FOREIGN_NETWORK, "project_default", False, foreign_labels),
            network(OTHER_NETWORK, "other_default", True, labels | other),
            *(
                network(f"{number:064x}", name, False, {})
                for number, name in enumerate(("bridge", "host", "none"), 1)
            ),
        ],
        images=[
            image(OWN_IMAGE, "sandboxportal-tests/tiny:1", True),
            image(FOREIGN_IMAGE, "company/private:1", False),
            saved(SAVED, SAVED_NAME, True),
            saved(FOREIGN_SAVED, "other-save-points/x:1", False),
        ],
        volumes=[
            volume("project_data", False),
            volume(f"{SANDBOX}_claimed", True),
            volume(f"{SANDBOX}_volume_site", True, **{"sandboxportal.volume": "site"}),
            volume("other_volume_x", True, **other, **{"sandboxportal.volume": "x"}),
        ],
        commands=[command(OWN_COMMAND, True), command(FOREIGN_COMMAND, False)],
        secret=SECRET,
        names_change=names_change,
    )


def problems(engine: FakeEngine, answer: bytes) -> list[str]:
    """Return what a request did or told that it shouldn't have."""
    found = list(engine.violations)
    if SECRET.encode() in answer:
        found.append("something foreign was read")
    for created in engine.created_networks:
        found += attempt(network_problems, created)
    for created in engine.created_containers:
        found += attempt(container_problems, created)
        if created.name != f"{SANDBOX}-spare-1":
            found.append(f"name: {created.name}")
    return found


def attempt(check: Callable[[Any, Site], Iterator[str]], created: EngineObject) -> list[str]:
    try:
        return list(check(created.description, SITE))
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        return [f"malformed: {error}"]


class Bench:
    """The proxy and the engine in one event loop, and a client of the proxy."""

    def __init__(self, folder: Path) -> None:
        self.loop = asyncio.new_event_loop()
        # The test's thread may already run a loop.
        self._thread = Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.engine = new_engine()
        self.socket = folder / "proxy.sock"
        engine = str(folder / "engine.sock")
        settings = Settings(INSTANCE, SUBNETS, root_services=True, engine=engine)
        self._tasks = [
            self._start(SocketProxy(settings).serve(self.socket)),
            self._start(self._serve_engine(folder / "engine.sock")),
        ]
        self.run(asyncio.sleep(0.1))

    async def _serve_engine(self, path: Path) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self.engine.serve_connection(reader, writer)

        server = await asyncio.start_unix_server(serve, path)
        await server.serve_forever()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._start(work).result()

    def _start(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        self.run(asyncio.sleep(0.05))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def send(self, content: bytes, engine: FakeEngine) -> bytes:
        """Return everything that the proxy answers to these bytes."""
        self.engine = engine
        return bytes(self.run(self._send(content)))

    async def _send(self, content: bytes) -> bytes:
        reader, writer = await asyncio.open_unix_connection(self.socket)
        received = b""
        with suppress(OSError):
            writer.write(content)
            writer.write_eof()
            async with asyncio.timeout(20):
                while piece := await reader.read(1 << 16):
                    received += piece
        writer.close()
        return received


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="proxy-") as folder:
        bench = Bench(Path(folder))
        yield bench
        bench.close()


def examples(usual: int, long: int) -> hypothesis_settings:
    """Return the settings for a number of requests, in the test suite and in the long form."""
    return hypothesis_settings(
        max_examples=long or usual,
        derandomize=not fuzz.PROXY_REQUESTS,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


DENIAL = b"Denied by the Docker socket proxy"


def count(request: GeneratedRequest, answer: bytes) -> str:
    """Count the request by its kind and its outcome; return the status of the answer."""
    status = answer[9:12].decode() or "none"
    let_through = status != "none" and DENIAL not in answer
    outcome = LET_THROUGH if let_through else DENIED
    fuzz.counts.update(
        ["proxy requests", f"proxy status {status}", f"proxy {request.kind}: {outcome}"]
    )
    return status


@pytest.mark.slow
@examples(EXAMPLES, fuzz.PROXY_REQUESTS)
@given(request=requests(WORLD), names_change=st.booleans())
def test_nothing_that_is_let_through_reaches_beyond_a_sandbox(
    bench: Bench, request: GeneratedRequest, names_change: bool
) -> None:
    engine = new_engine(names_change=names_change)
    answer = bench.send(request.content, engine)
    status = count(request, answer)
    assert not problems(engine, answer), request
    assert status in {"200", "201", "204", "304", "400", "403", "404", "409", "none"}


@examples(EXAMPLES // 3, 0)
@given(request=requests(WORLD).filter(lambda request: request.kind == PORTAL))
def test_the_portals_own_requests_are_let_through(bench: Bench, request: GeneratedRequest) -> None:
    engine = new_engine()
    answer = bench.send(request.content, engine)
    assert answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 201", b"HTTP/1.1 204")), answer
    assert problems(engine, answer) == []


def test_every_operation_that_the_proxy_allows_is_generated() -> None:
    generated = [*CREATIONS, *(operation[:2] for operation in KNOWN_OPERATIONS)]
    missing = [
        f"{operation.method} {operation.path}"
        for operation in operations(Settings(INSTANCE, SUBNETS))
        if not any(operation.match(*one) for one in generated)
    ]
    assert not missing


@dataclass
class RealBench:
    """The proxy in front of a real engine, with a sandbox and foreign objects on it."""

    harness: ProxiedHarness
    spec: SandboxSpec
    foreign: str
    foreign_network: str

    def world(self) -> World:
        client, sandbox = self.harness.client, self.spec.id
        foreign = client.inspect_container(self.foreign)["Id"]
        network = client.inspect_network(self.foreign_network)["Id"]
        own = client.inspect_container(f"{sandbox}-web-1")["Id"]
        own_network = client.inspect_network(f"{sandbox}_default")["Id"]
        image = client.inspect_image(self.harness.image)["Id"]
        return World(
            instance=self.harness.instance,
            sandbox=sandbox,
            image=self.harness.image,
            containers=(f"{sandbox}-web-1", own, own[:12], self.foreign, foreign, foreign[:12]),
            networks=(
                *(f"{sandbox}_default", own_network, self.foreign_network, network, network[:12]),
                *("bridge", "host", "none"),
            ),
            images=(self.harness.image, image, "sandboxportal/missing", "missing"),
            commands=(
                client.exec_create(own, ["id"])["Id"],
                client.exec_create(foreign, ["id"])["Id"],
            ),
            volumes=(f"{sandbox}_claimed",),
            started=True,
            sandboxes=(
                *(sandbox, self.foreign_network.removesuffix("_default"), "bridge"),
                *(f"container:{foreign}", "sbx_missing"),
            ),
        )

    def send(self, content: bytes) -> bytes:
        received = b""
        with socket.socket(socket.AF_UNIX) as client, suppress(ConnectionError):
            client.settimeout(30)
            client.connect(str(self.harness.path))
            client.sendall(content)
            client.shutdown(socket.SHUT_WR)
            while piece := client.recv(1 << 16):
                received += piece
        return received

    def foreign_state(self) -> list[Any]:
        """Return what no request may change."""
        container = self.harness.client.inspect_container(self.foreign)
        network = self.harness.client.inspect_network(self.foreign_network)
        keys = ("Id", "Name", "State", "HostConfig", "Config", "NetworkSettings", "ExecIDs")
        return [*(container[key] for key in keys), network["Id"], network["Containers"]]

    def site(self) -> Site:
        client = self.harness.client
        filters = {"label": f"sandboxportal.instance={self.harness.instance}"}
        networks = client.networks(filters=filters)
        return Site(
            self.harness.instance,
            {row["Id"]: row["Labels"]["sandboxportal.sandbox"] for row in networks},
            frozenset({client.inspect_image(self.harness.image)["Id"]}),
            SUBNETS,
            runtimes=("runc",),
            volumes={f"{self.spec.id}_volume_site": self.spec.id},
            root_services=True,
        )

    def problems(self, before: set[str]) -> list[str]:
        """Return what is wrong with new containers and networks, and remove them."""
        client, found = self.harness.client, []
        site = self.site()
        # No other program uses the image of this test.
        for row in client.containers(all=True, filters={"ancestor": self.harness.image}):
            if row["Names"] in ([f"/{self.foreign}"], *self.own_names()):
                continue
            container = client.inspect_container(row["Id"])
            found += container_problems(as_request(container), site)
            client.remove_container(row["Id"], force=True)
        for identity in set(site.networks) - before:
            network = client.inspect_network(identity)
            found += network_problems(network, site)
            if network["Name"] != f"{self.spec.id}_default":
                client.remove_network(identity)
        return found

    def own_names(self) -> list[list[str]]:
        names = [f"/{self.spec.id}-{name}" for name in ("web-1", "web-previous", "store-1")]
        return [[name] for name in names]

    def restore(self) -> None:
        """Recreate the own sandbox; requests may have removed, stopped or disconnected it."""
        self.harness.runtime.destroy(self.spec.id)
        self.harness.runtime.create(self.spec, ignore_step, TIME_LIMIT)


def as_request(container: dict[str, Any]) -> dict[str, Any]:
    """Return the engine's description of a container in the form of a request."""
    endpoints = {
        name: {"NetworkID": endpoint["NetworkID"]}
        for name, endpoint in container["NetworkSettings"]["Networks"].items()
        if name != "none"
    }
    networking = {"NetworkingConfig": {"EndpointsConfig": endpoints}}
    return container["Config"] | {"HostConfig": container["HostConfig"]} | networking


@pytest.mark.engine
@pytest.mark.slow
def test_a_real_engine_has_nothing_beyond_a_sandbox_afterwards(
    tiny_image: str, tmp_path: Path
) -> None:
    harness = ProxiedHarness(tiny_image, tmp_path / "proxy.sock")
    environment = {"SANDBOX_INSTANCE": harness.instance, "SANDBOX_SUBNETS": str(SUBNETS)}
    environment |= {"SANDBOX_ROOT_SERVICES": "true"}
    with (
        foreign_objects(harness.client, tiny_image) as (foreign, network),
        running_proxy(harness.path, **environment) as log,
    ):
        try:
            spec = with_service(harness.spec(), "store", volumes={"/data": "site"})
            harness.runtime.create(spec, ignore_step, TIME_LIMIT)
            bench = RealBench(harness, spec, foreign, network)
            send_generated_requests(bench, bench.world())
        finally:
            harness.clear()
        assert "Traceback" not in log.read_text()


def send_generated_requests(bench: RealBench, world: World) -> None:
    before = bench.foreign_state()

    @examples(ENGINE_EXAMPLES, fuzz.PROXY_REQUESTS // ENGINE_SHARE)
    @given(request=requests(world))
    def send(request: GeneratedRequest) -> None:
        content, known = request.content, {*world.containers, *world.networks}
        answer = bench.send(content)
        status = count(request, answer)
        fuzz.counts.update(["proxy engine requests"])
        assert SECRET.encode() not in answer, content
        if request.kind == PORTAL:
            assert DENIAL not in answer, (content, answer)
        if status in ("200", "201", "204"):
            assert not bench.problems(known), content
            assert bench.foreign_state() == before, content
        if content.startswith(b"DELETE") and status == "204" and b"/volumes/" not in content:
            bench.restore()

    send()
    assert bench.foreign_state() == before
