"""The Docker socket proxy allows what the portal needs, and nothing else."""

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
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from sandboxes.runtime.docker import DockerRuntime
from sandboxes.runtime.docker.container_config import ContainerConfig
from sandboxes.runtime.docker.names import Names
from tests.harness.runtimes import (
    SUBNETS,
    TIME_LIMIT,
    DockerHarness,
    fetch_page,
    ignore_step,
)
from tests.helpers.wait import wait_for

pytestmark = pytest.mark.engine

ROOT = Path(__file__).resolve().parents[2]


class ProxiedHarness(DockerHarness):
    """A harness whose runtime uses the proxy, while the test itself uses the engine directly."""

    def __init__(self, image: str, path: Path) -> None:
        self.path = path
        super().__init__(image)

    def new_runtime(self, subnets: IPv4Network = SUBNETS, **options: Any) -> DockerRuntime:
        return super().new_runtime(subnets, **{"engine_url": f"unix://{self.path}"} | options)

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, str]:
        connection = http.client.HTTPConnection("engine", timeout=10)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self.path))
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def listens(path: Path) -> bool:
    """Return whether a server accepts connections; the path exists a moment earlier."""
    with socket.socket(socket.AF_UNIX) as client, suppress(OSError):
        client.connect(str(path))
        return True
    return False


@pytest.fixture
def proxied(tiny_image: str) -> Iterator[ProxiedHarness]:
    with tempfile.TemporaryDirectory(prefix="proxy-") as folder:
        path = Path(folder) / "engine.sock"
        harness = ProxiedHarness(tiny_image, path)
        environment = os.environ | {
            "SANDBOX_INSTANCE": harness.instance,
            "SANDBOX_SUBNETS": str(SUBNETS),
        }
        command = [sys.executable, ROOT / "deploy" / "docker_socket_proxy.py", path]
        with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
            try:
                wait_for(lambda: listens(path), "the proxy listens")
                yield harness
            finally:
                harness.clear()
                process.terminate()


def test_a_sandbox_works_through_the_proxy(proxied: ProxiedHarness) -> None:
    runtime = proxied.runtime
    assert runtime.capabilities().version
    assert runtime.images([proxied.image])
    spec, facts = proxied.create()
    fetch_page(facts)
    runtime.create(spec, ignore_step, TIME_LIMIT)
    assert runtime.execute(spec.id, "web", ["echo", "hello"], 10) == (0, "hello\n")
    assert runtime.logs(spec.id, "web", 5) == ""
    assert runtime.observe(sizes=True)[spec.id].alive
    assert runtime.usage([spec.id])[spec.id].memory_mb > 0
    runtime.destroy(spec.id)
    assert proxied.remaining() == []


@dataclass(frozen=True)
class Change:
    """Changes to the portal's request for a container: to its body and to its HostConfig."""

    body: dict[str, Any]
    host: dict[str, Any]


FORBIDDEN = {
    "privileged": Change({}, {"Privileged": True}),
    "host files": Change({}, {"Binds": ["/:/host"]}),
    "mounts": Change({}, {"Mounts": [{"Type": "bind", "Source": "/", "Target": "/host"}]}),
    "another container's volumes": Change({}, {"VolumesFrom": ["other"]}),
    "added capability": Change({}, {"CapAdd": ["SYS_ADMIN"]}),
    "undropped capabilities": Change({}, {"CapDrop": []}),
    "no seccomp": Change({}, {"SecurityOpt": ["no-new-privileges", "seccomp=unconfined"]}),
    "host network": Change({}, {"NetworkMode": "host"}),
    "another container's network": Change({}, {"NetworkMode": "container:other"}),
    "second network": Change({"NetworkingConfig": {"EndpointsConfig": {"bridge": {}}}}, {}),
    "host processes": Change({}, {"PidMode": "host"}),
    "host shared memory": Change({}, {"IpcMode": "host"}),
    "device": Change({}, {"Devices": [{"PathOnHost": "/dev/sda"}]}),
    "fixed host port": Change({}, {"PortBindings": {"80/tcp": [{"HostPort": "80"}]}}),
    "other log driver": Change({}, {"LogConfig": {"Type": "syslog"}}),
    "lower-case key": Change({}, {"privileged": True}),
    "lower-case HostConfig": Change({"hostconfig": {"Privileged": True}}, {}),
    "no limits": Change({}, {"Memory": 0}),
    "no label": Change({"Labels": {}}, {}),
    "another instance": Change({"Labels": {"sandboxportal.instance": "production"}}, {}),
}


def test_a_container_with_more_rights_than_a_sandbox_is_denied(proxied: ProxiedHarness) -> None:
    spec = proxied.spec()
    container_config = ContainerConfig(Names(proxied.instance), "127.0.0.1")
    allowed = container_config.config(spec, spec.services[0], {})
    for name, change in FORBIDDEN.items():
        body = allowed | change.body | {"HostConfig": allowed["HostConfig"] | change.host}
        status, text = proxied.ask("POST", "/v1.41/containers/create", body)
        assert (status, "Denied by" in text) == (403, True), name
    assert proxied.remaining() == []
    status, text = proxied.ask("POST", "/v1.41/containers/create", allowed)
    assert status == 201, text


def test_networks_of_other_drivers_and_ranges_are_denied(proxied: ProxiedHarness) -> None:
    labels = {"sandboxportal.instance": proxied.instance, "sandboxportal.sandbox": "sbx_1"}
    allowed = {
        "Name": "sbx_1_default",
        "Driver": "bridge",
        "Labels": labels,
        "Options": {"com.docker.network.bridge.name": "sbxtest"},
        "IPAM": {"Config": [{"Subnet": "10.214.15.240/28"}]},
    }
    forbidden: list[dict[str, Any]] = [
        {"Driver": "macvlan", "Options": {"parent": "eth0"}},
        {"Options": {"com.docker.network.bridge.name": "docker0"}},
        {"IPAM": {"Config": [{"Subnet": "192.168.0.0/24"}]}},
        {"IPAM": {"config": [{"Subnet": "10.214.15.240/28"}]}},
        {"IPAM": {}},
        {"Labels": {}},
        {"ConfigFrom": {"Network": "x"}},
    ]
    for change in forbidden:
        assert proxied.ask("POST", "/networks/create", allowed | change)[0] == 403, change
    assert proxied.remaining() == []


def test_unrelated_objects_on_the_engine_are_out_of_reach(proxied: ProxiedHarness) -> None:
    name = f"foreign-{secrets.token_hex(4)}"
    host = proxied.client.create_host_config(network_mode="none")
    other = proxied.client.create_container(
        proxied.image, ["sleep", "60"], name=name, host_config=host
    )
    try:
        for method, suffix, body in (
            ("GET", "/json", None),
            ("GET", "/logs?stdout=1", None),
            ("POST", "/start", None),
            ("POST", "/exec", {"Cmd": ["id"]}),
            ("POST", "/update", {"NanoCpus": 1}),
            ("DELETE", "?force=1", None),
        ):
            for reference in (name, other["Id"], other["Id"][:12]):
                assert proxied.ask(method, f"/containers/{reference}{suffix}", body)[0] == 403
        proxied.client.start(name)
        command = proxied.client.exec_create(name, ["id"])["Id"]
        assert proxied.ask("POST", f"/exec/{command}/start", {"Detach": False})[0] == 403
        assert proxied.ask("GET", f"/exec/{command}/json")[0] == 403
        network = proxied.client.inspect_network("bridge")["Id"]
        assert proxied.ask("DELETE", f"/networks/{network}")[0] == 403
        assert proxied.ask("POST", f"/networks/{network}/disconnect", {"Container": name})[0] == 403
        assert proxied.ask("DELETE", "/containers/nowhere")[0] == 404
    finally:
        proxied.client.remove_container(name, force=True)


def test_requests_that_the_portal_does_not_need_are_denied(proxied: ProxiedHarness) -> None:
    spec, _ = proxied.create()
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
        assert proxied.ask(method, path, body)[0] == 403, path
    assert proxied.runtime.observe()[spec.id].alive
