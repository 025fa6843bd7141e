"""A short version of `make test-isolation`: code in a sandbox tries to escape."""

from __future__ import annotations

import json
import subprocess
from ipaddress import IPv4Network

import pytest

from sandboxes.doctor import firewall
from tests.harness.networks import page_on
from tests.harness.runtimes import DockerHarness
from tests.helpers.firewall_rules import subnets
from tests.isolation import containers

__all__ = ["subnets"]

pytestmark = [pytest.mark.tools, pytest.mark.engine, pytest.mark.root]


@pytest.fixture
def firewall_rules(subnets: IPv4Network) -> None:
    subprocess.run(["sh", "-c", firewall.rules()], check=True)


def test_neither_a_command_nor_a_custom_image_escapes_from_a_sandbox(
    docker_harness: DockerHarness, firewall_rules: None
) -> None:
    own = containers.create_billing_sandbox(docker_harness)
    other = containers.create_billing_sandbox(docker_harness)
    network = containers.network_of(docker_harness, own.spec, "api")
    with page_on("0.0.0.0") as port:
        plan = containers.plan_attempts(docker_harness, network, other, [port], portal=port)
        by_command = containers.run_as_command(docker_harness, own.spec, "api", plan)
        with containers.hostile_image(docker_harness) as image:
            spec = containers.hostile_spec(image, plan)
            by_image = containers.run_as_main_process(docker_harness, spec)
            docker_harness.clear()
    assert containers.successful(by_command) == {}
    assert containers.successful(by_image) == {}
    assert len(by_image) == len(by_command) + 1 > 40


def test_attempts_report_what_they_can_reach(
    docker_harness: DockerHarness, subnets: IPv4Network
) -> None:
    other = containers.create_billing_sandbox(docker_harness)
    network = containers.network_of(docker_harness, other.spec, "api")
    # In the other sandbox's network, with less confinement and without firewall rules.
    command = ["docker", "run", "--rm", "--network", f"{other.spec.id}_default", "--user", "0"]
    command += ["--cap-drop", "ALL", "--cap-add", "NET_RAW", "--cap-add", "MKNOD"]
    command += ["--security-opt", "seccomp=unconfined", "--pids-limit", "2000"]
    command += [containers.API_IMAGE, "python3", "-c", containers.ATTEMPTS]
    with page_on("0.0.0.0") as port:
        plan = containers.plan_attempts(docker_harness, network, other, [port], portal=port)
        ran = subprocess.run(
            [*command, json.dumps(plan)], capture_output=True, check=True, text=True
        )
    reached = containers.successful(containers.parse_output(ran.stdout))
    assert reached.keys() >= {
        "connect to the host at its gateway address",
        "connect to the portal",
        "connect to another sandbox's API",
        "connect to another sandbox's database",
        "become root (setuid)",
        "hold a capability",
        "run without seccomp",
        "open a raw socket",
        "create a device (mknod)",
        "run a fork bomb",
        "write outside the writable directories",
        "open too many files",
    }
