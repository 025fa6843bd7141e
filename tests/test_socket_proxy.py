"""What the guard before the engine's socket lets through: what the portal needs, and no more."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from sandboxes.runtime.docker import DockerRuntime
from sandboxes.runtime.docker.containers import Clothes
from sandboxes.runtime.docker.names import Names
from tests.runtimes import SUBNETS, TIME_LIMIT, DockerBench, fetch, quiet
from tests.waiting import until

pytestmark = pytest.mark.engine

ROOT = Path(__file__).resolve().parent.parent


class GuardedBench(DockerBench):
    """Its runtime comes through the guard; what tests do to the engine does not."""

    def __init__(self, image: str, path: Path) -> None:
        self.path = path
        super().__init__(image)

    def make(self, subnets: IPv4Network = SUBNETS, **options: Any) -> DockerRuntime:
        return super().make(subnets, **{"engine_url": f"unix://{self.path}"} | options)

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, str]:
        connection = http.client.HTTPConnection("engine", timeout=10)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self.path))
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


@pytest.fixture
def guarded(tiny_image: str) -> Iterator[GuardedBench]:
    with tempfile.TemporaryDirectory(prefix="guard-") as folder:
        path = Path(folder) / "engine.sock"
        bench = GuardedBench(tiny_image, path)
        environment = os.environ | {
            "SANDBOX_INSTANCE": bench.instance,
            "SANDBOX_SUBNETS": str(SUBNETS),
        }
        command = [sys.executable, ROOT / "deploy" / "docker_socket_proxy.py", path]
        with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
            try:
                until(path.exists, "the guard listens")
                yield bench
            finally:
                bench.clear()
                process.terminate()


def test_a_sandbox_lives_behind_the_guard_as_it_does_without(guarded: GuardedBench) -> None:
    runtime = guarded.runtime
    assert runtime.abilities().version
    assert runtime.images([guarded.image])
    spec, facts = guarded.create()
    fetch(facts)
    runtime.create(spec, quiet, TIME_LIMIT)
    assert runtime.execute(spec.id, "web", ["echo", "hello"], 10) == (0, "hello\n")
    assert runtime.logs(spec.id, "web", 5) == ""
    assert runtime.observe(sizes=True)[spec.id].alive
    assert runtime.usage([spec.id])[spec.id].memory_mb > 0
    runtime.destroy(spec.id)
    assert guarded.left() == []


@dataclass(frozen=True)
class Spoilt:
    """A container that is asked for as the portal would, but for one thing."""

    what: dict[str, Any]
    host: dict[str, Any]


SPOILT = {
    "privileged": Spoilt({}, {"Privileged": True}),
    "the host's files": Spoilt({}, {"Binds": ["/:/host"]}),
    "mounts": Spoilt({}, {"Mounts": [{"Type": "bind", "Source": "/", "Target": "/host"}]}),
    "volumes of another": Spoilt({}, {"VolumesFrom": ["other"]}),
    "a capability": Spoilt({}, {"CapAdd": ["SYS_ADMIN"]}),
    "all capabilities that are left": Spoilt({}, {"CapDrop": []}),
    "no seccomp": Spoilt({}, {"SecurityOpt": ["no-new-privileges", "seccomp=unconfined"]}),
    "the host's network": Spoilt({}, {"NetworkMode": "host"}),
    "another's network": Spoilt({}, {"NetworkMode": "container:other"}),
    "a second network": Spoilt({"NetworkingConfig": {"EndpointsConfig": {"bridge": {}}}}, {}),
    "the host's processes": Spoilt({}, {"PidMode": "host"}),
    "the host's memory": Spoilt({}, {"IpcMode": "host"}),
    "a device": Spoilt({}, {"Devices": [{"PathOnHost": "/dev/sda"}]}),
    "a certain port": Spoilt({}, {"PortBindings": {"80/tcp": [{"HostPort": "80"}]}}),
    "a log that goes elsewhere": Spoilt({}, {"LogConfig": {"Type": "syslog"}}),
    "another spelling": Spoilt({}, {"privileged": True}),
    "another spelling, further up": Spoilt({"hostconfig": {"Privileged": True}}, {}),
    "no limits": Spoilt({}, {"Memory": 0}),
    "no label": Spoilt({"Labels": {}}, {}),
    "another instance": Spoilt({"Labels": {"sandboxportal.instance": "production"}}, {}),
}


def test_a_container_that_could_do_more_than_a_sandbox_is_refused(guarded: GuardedBench) -> None:
    spec = guarded.spec()
    clothes = Clothes(Names(guarded.instance), "127.0.0.1")
    fine = clothes.config(spec, spec.services[0], {})
    for why, spoilt in SPOILT.items():
        body = fine | spoilt.what | {"HostConfig": fine["HostConfig"] | spoilt.host}
        status, text = guarded.ask("POST", "/v1.41/containers/create", body)
        assert (status, "Denied by" in text) == (403, True), why
    assert guarded.left() == []
    status, text = guarded.ask("POST", "/v1.41/containers/create", fine)
    assert status == 201, text


def test_networks_of_other_kinds_and_ranges_are_refused(guarded: GuardedBench) -> None:
    labels = {"sandboxportal.instance": guarded.instance, "sandboxportal.sandbox": "sbx_1"}
    fine = {
        "Name": "sbx_1_default",
        "Driver": "bridge",
        "Labels": labels,
        "Options": {"com.docker.network.bridge.name": "sbxtest"},
        "IPAM": {"Config": [{"Subnet": "10.214.15.240/28"}]},
    }
    spoilt: list[dict[str, Any]] = [
        {"Driver": "macvlan", "Options": {"parent": "eth0"}},
        {"Options": {"com.docker.network.bridge.name": "docker0"}},
        {"IPAM": {"Config": [{"Subnet": "192.168.0.0/24"}]}},
        {"IPAM": {"config": [{"Subnet": "10.214.15.240/28"}]}},
        {"IPAM": {}},
        {"Labels": {}},
        {"ConfigFrom": {"Network": "x"}},
    ]
    for change in spoilt:
        assert guarded.ask("POST", "/networks/create", fine | change)[0] == 403, change
    assert guarded.left() == []


def test_what_others_have_on_the_engine_is_out_of_reach(guarded: GuardedBench) -> None:
    name = f"foreign-{secrets.token_hex(4)}"
    host = guarded.client.create_host_config(network_mode="none")
    other = guarded.client.create_container(
        guarded.image, ["sleep", "60"], name=name, host_config=host
    )
    try:
        for method, what, body in (
            ("GET", "/json", None),
            ("GET", "/logs?stdout=1", None),
            ("POST", "/start", None),
            ("POST", "/exec", {"Cmd": ["id"]}),
            ("POST", "/update", {"NanoCpus": 1}),
            ("DELETE", "?force=1", None),
        ):
            for known_as in (name, other["Id"], other["Id"][:12]):
                assert guarded.ask(method, f"/containers/{known_as}{what}", body)[0] == 403
        guarded.client.start(name)
        run = guarded.client.exec_create(name, ["id"])["Id"]
        assert guarded.ask("POST", f"/exec/{run}/start", {"Detach": False})[0] == 403
        assert guarded.ask("GET", f"/exec/{run}/json")[0] == 403
        network = guarded.client.inspect_network("bridge")["Id"]
        assert guarded.ask("DELETE", f"/networks/{network}")[0] == 403
        assert guarded.ask("POST", f"/networks/{network}/disconnect", {"Container": name})[0] == 403
        assert guarded.ask("DELETE", "/containers/nowhere")[0] == 404
    finally:
        guarded.client.remove_container(name, force=True)


def test_what_the_portal_does_not_need_is_refused(guarded: GuardedBench) -> None:
    spec, _ = guarded.create()
    mine = f"{spec.id}-web-1"
    for method, path, body in (
        ("POST", "/build", None),
        ("POST", "/images/create?fromImage=x", None),
        ("GET", "/containers/json?all=1", None),
        ("GET", "/containers/json?filters=" + quote('{"name": [".*"]}'), None),
        ("GET", "/volumes", None),
        ("POST", "/volumes/create", {"Name": "x"}),
        ("GET", "/secrets", None),
        ("POST", "/swarm/init", {}),
        ("POST", "/auth", {}),
        ("GET", f"/containers/{mine}/archive?path=/", None),
        ("GET", f"/containers/{mine}/export", None),
        ("POST", f"/containers/{mine}/update", {"Memory": 0}),
        ("POST", f"/containers/{mine}/exec", {"Cmd": ["id"], "Privileged": True}),
        ("POST", f"/containers/{mine}/exec", {"Cmd": ["id"], "User": "root"}),
        ("POST", f"/networks/{spec.id}_default/connect", {"Container": mine}),
        ("GET", f"/containers/{mine}/../{mine}/json", None),
        ("GET", f"/containers/{mine}/json/../archive?path=/", None),
        ("GET", "/v1.41/v1.41/info", None),
        ("GET", f"/containers/%2e%2e/{mine}/json", None),
    ):
        assert guarded.ask(method, path, body)[0] == 403, path
    assert guarded.runtime.observe()[spec.id].alive
