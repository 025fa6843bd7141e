"""Code in a sandbox tries to get out; `make probe` tries more, and publishes what came of it."""

from __future__ import annotations

import json
import subprocess
from ipaddress import IPv4Network

import pytest

from sandboxes.doctor import firewall
from tests.isolation import containers
from tests.runtimes import DockerBench
from tests.test_docker_networks import page_on
from tests.test_firewall import subnets

__all__ = ["subnets"]

pytestmark = [pytest.mark.tools, pytest.mark.engine, pytest.mark.root]


@pytest.fixture
def closed(subnets: IPv4Network) -> None:
    subprocess.run(["sh", "-c", firewall.rules()], check=True)


def test_neither_a_command_nor_an_image_of_ones_own_gets_out_of_a_sandbox(
    docker_bench: DockerBench, closed: None
) -> None:
    mine, other = containers.billing(docker_bench), containers.billing(docker_bench)
    network = containers.network_of(docker_bench, mine.spec, "api")
    with page_on("0.0.0.0") as port:
        what = containers.asked(docker_bench, network, other, [port], portal=port)
        found = containers.executed(docker_bench, mine.spec, "api", what)
        with containers.hostile_image(docker_bench) as image:
            also = containers.started(docker_bench, containers.hostile(image, what))
            docker_bench.clear()
    assert containers.through(found) == {}
    assert containers.through(also) == {}
    assert len(also) == len(found) + 1 > 40


def test_the_probe_tells_what_is_open(docker_bench: DockerBench, subnets: IPv4Network) -> None:
    other = containers.billing(docker_bench)
    network = containers.network_of(docker_bench, other.spec, "api")
    # In the neighbour's own network, half undressed, and with no rules of the firewall in force.
    command = ["docker", "run", "--rm", "--network", f"{other.spec.id}_default", "--user", "0"]
    command += ["--cap-drop", "ALL", "--cap-add", "NET_RAW", "--cap-add", "MKNOD"]
    command += ["--security-opt", "seccomp=unconfined", "--pids-limit", "2000"]
    command += [containers.API_IMAGE, "python3", "-c", containers.INSIDE]
    with page_on("0.0.0.0") as port:
        what = containers.asked(docker_bench, network, other, [port], portal=port)
        ran = subprocess.run(
            [*command, json.dumps(what)], capture_output=True, check=True, text=True
        )
    got = containers.through(containers.told(ran.stdout))
    assert {"this machine, at its address in the network", "the portal"} <= got.keys()
    assert {"a neighbour's API", "a neighbour's database"} <= got.keys()
    assert {"become root (setuid)", "hold a capability", "run without seccomp"} <= got.keys()
    assert {"a raw socket", "make a device (mknod)", "a fork bomb"} <= got.keys()
    assert {"write outside the allowed places", "all open files"} <= got.keys()
