"""Ports are given to sandboxes in turn, so a freed one isn't soon another sandbox's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sandboxes.runtime import PortTaken
from sandboxes.runtime.port_rotation import HOST_PORTS, PORTS_PER_SANDBOX, candidate
from tests.harness.networks import page_on
from tests.harness.runtimes import TIME_LIMIT, DockerHarness, ignore_step

ROUND = len(HOST_PORTS) // PORTS_PER_SANDBOX


def test_a_port_is_used_again_only_after_all_others() -> None:
    used = [
        candidate(HOST_PORTS, "production", number, position)
        for number in range(7, 7 + ROUND)
        for position in range(PORTS_PER_SANDBOX)
    ]
    assert sorted(used) == list(HOST_PORTS)


def test_two_portals_on_one_engine_start_at_different_ports() -> None:
    assert candidate(HOST_PORTS, "blue", 1, 0) != candidate(HOST_PORTS, "green", 1, 0)


@pytest.mark.engine
def test_a_sandbox_gets_its_reserved_port_or_none_if_another_program_uses_it(
    docker_harness: DockerHarness,
) -> None:
    due = candidate(HOST_PORTS, docker_harness.instance, 5, 0)
    spec = replace(docker_harness.spec(), host_ports={"web": {8080: due}})
    with page_on("127.0.0.1", due), pytest.raises(PortTaken) as error:
        docker_harness.runtime.create(spec, ignore_step, TIME_LIMIT)
    assert error.value.service == "web"

    # The first attempt doesn't stand in the way of the next, with this port or another.
    other = replace(spec, host_ports={"web": {8080: due + 1}})
    facts = docker_harness.runtime.create(other, ignore_step, TIME_LIMIT)
    assert facts.services["web"].ports[8080].port == due + 1
