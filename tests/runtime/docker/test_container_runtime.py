"""Container runtimes other than runc, on an engine of their own."""

from __future__ import annotations

import secrets
import subprocess
from pathlib import Path

import docker
import pytest

from sandboxes.runtime import EngineConnection
from sandboxes.runtime.docker import DockerRuntime
from tests.chaos.daemon import create_bridge, engine_network, second_engine
from tests.harness.runtimes import (
    SUBNETS,
    TIME_LIMIT,
    fetch_page,
    ignore_step,
    new_spec,
    with_service,
)

pytestmark = [pytest.mark.engine, pytest.mark.root, pytest.mark.slow]

WITHOUT_UPDATE = """#!/bin/sh
for argument in "$@"; do
    [ "$argument" = update ] && { echo "unknown command: update" >&2; exit 64; }
done
exec runc "$@"
"""
GVISOR = """#!/bin/sh
exec runsc --platform=ptrace --network=host --ignore-cgroups "$@"
"""
RESPOND = r"""
printf 'HTTP/1.0 200 OK\r\n\r\nok\n'
while read -rt 9 line && [ ${#line} -gt 1 ]; do :; done
"""
SERVE = ["nc", "-ll", "-p8080", "-e/bin/sh", "-c", RESPOND]
"""A server for gVisor's host network, in which reading from a connection doesn't wait for data.

`httpd` closes a connection without a response if the request arrives a moment later than it reads,
as on a busy machine; `read` with a time limit waits for data before it reads.
"""


def test_engines_of_one_machine_do_not_share_subnets() -> None:
    with engine_network() as first, engine_network() as second:
        assert not first.subnets.overlaps(second.subnets)
        assert not first.subnets.overlaps(SUBNETS)


def test_a_crashed_engine_leaves_no_bridge_and_its_range_is_avoided() -> None:
    bridge = f"sbx{secrets.token_hex(6)}"
    with engine_network() as network:
        assert network.is_free
        assert create_bridge(bridge)
        change = f"ip address add {network.subnets[1]}/28 dev {bridge}"
        subprocess.run(change.split(), check=True)
        subprocess.run(["ip", "link", "set", bridge, "up"], check=True)
        assert not network.is_free
    assert not (Path("/sys/class/net") / bridge).exists()


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(WITHOUT_UPDATE, id="no update"),
        pytest.param(GVISOR, id="gVisor"),
    ],
)
def test_a_runtime_that_cannot_change_limits_of_running_containers_works(
    tiny_image: str, tmp_path: Path, program: str
) -> None:
    file = tmp_path / "other-runtime"
    file.write_text(program)
    file.chmod(0o755)
    with second_engine(tiny_image, f"--add-runtime=other={file}") as engine:
        url = f"unix://{engine.socket}"
        runtime = DockerRuntime(
            "tests",
            engine.network.subnets,
            container_runtime="other",
            connection=EngineConnection(url),
        )
        client = docker.APIClient(url)
        first, second = (with_service(new_spec(tiny_image), "web", command=SERVE) for _ in range(2))
        for spec in (first, second):
            facts = runtime.create(spec, ignore_step, TIME_LIMIT)
            assert facts.alive
            fetch_page(facts)
            for service in spec.services:
                found = client.inspect_container(f"{spec.id}-{service.name}-1")
                assert found["HostConfig"]["Runtime"] == "other"
                assert found["HostConfig"]["NanoCpus"] == int(service.cpus * 1e9)
        code, output = runtime.execute(second.id, "web", ["echo", "hello"], TIME_LIMIT)
        assert (code, output) == (0, "hello\n")
        assert runtime.repair(second, ignore_step, TIME_LIMIT).facts.alive
        for spec in (first, second):
            runtime.destroy(spec.id)
        assert runtime.observe() == {}
