"""Faults of a running sandbox on the engine: found by observation and probe, then repaired."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from sandboxes.core.reaper_policy import Action
from sandboxes.runtime import HttpCheck, Repair, ServiceNotFound
from tests.harness.runtimes import (
    TIME_LIMIT,
    DockerHarness,
    fetch_page,
    hang_command,
    ignore_step,
    running_docker_harness,
    with_service,
)
from tests.helpers.engine_faults import (
    FAULTS,
    READ,
    RepairedSandbox,
    container,
    find_fault,
    repair,
)
from tests.helpers.wait import wait_for
from tests.isolation import containers

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.usefixtures("impatient")]


@pytest.fixture(scope="module")
def harness(tiny_image: str) -> Iterator[DockerHarness]:
    with running_docker_harness(tiny_image) as harness:
        yield harness


@pytest.fixture(scope="module")
def sandbox(harness: DockerHarness) -> RepairedSandbox:
    return RepairedSandbox(harness)


def test_stopped_containers_whose_network_was_removed_keep_their_data(
    harness: DockerHarness, sandbox: RepairedSandbox
) -> None:
    spec = sandbox.healthy()
    for service in ("web", "store"):
        harness.client.stop(container(spec, service), timeout=0)
    harness.client.remove_network(f"{spec.id}_default")

    done = repair(harness, spec)

    assert done.actions == [
        "Connected to the sandbox's network: store, web.",
        "Started: store, web.",
    ]
    fetch_page(done.facts)
    assert harness.runtime.execute(spec.id, "store", READ, 5) == (0, "kept\n")
    assert harness.reaches(spec, "web", 8080)


def test_ports_stay_the_same_after_a_restart_by_others(
    harness: DockerHarness, sandbox: RepairedSandbox
) -> None:
    spec = sandbox.healthy()
    before = harness.runtime.observe()[spec.id]
    harness.client.restart(container(spec, "web"), timeout=0)

    wait_for(lambda: find_fault(harness, spec) is None, "the sandbox responds again")
    facts = harness.runtime.observe()[spec.id]
    assert facts.services["web"].ports == before.services["web"].ports
    fetch_page(facts)


def test_a_sandbox_that_is_not_ready_is_not_restarted(
    harness: DockerHarness, sandbox: RepairedSandbox
) -> None:
    spec = sandbox.healthy()
    before = harness.runtime.observe()[spec.id]
    spec = replace(spec, ready=[HttpCheck("web", 8080, "/missing")])
    found = find_fault(harness, spec)
    assert found
    assert found.message == "The service web isn't ready: GET /missing returns 404."
    done = repair(harness, spec)
    assert (done.actions, done.problem) == ([], found.message)
    assert done.facts.services == before.services


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_and_repaired_with_all_data(
    harness: DockerHarness, sandbox: RepairedSandbox, fault: str
) -> None:
    spec = sandbox.healthy()
    cause, message = FAULTS[fault]
    cause(harness, spec)

    found = find_fault(harness, spec)
    assert found
    assert found.action is Action.REPAIR
    assert message in found.message
    done = repair(harness, spec)

    assert done.actions
    assert find_fault(harness, spec) is None
    fetch_page(done.facts)
    assert harness.runtime.execute(spec.id, "store", READ, 5) == (0, "kept\n")
    assert harness.reaches(spec, "web", 8080), "its name resolves in its own network"
    assert len(harness.remaining()) == 3


@pytest.mark.parametrize("fault", ["all paused", "disconnected", "hanging"])
def test_a_sandbox_with_a_fault_can_be_destroyed(
    harness: DockerHarness, sandbox: RepairedSandbox, fault: str
) -> None:
    spec = sandbox.healthy()
    FAULTS[fault][0](harness, spec)
    harness.runtime.destroy(spec.id)
    assert harness.remaining() == []


def test_a_port_without_a_ready_check_is_probed_too(harness: DockerHarness) -> None:
    """A forwarder accepts connections to a port on which nothing listens."""
    spec = with_service(harness.spec(), "store", ports=[9000])
    harness.runtime.create(spec, ignore_step, TIME_LIMIT)
    found = find_fault(harness, spec)
    assert found
    assert found.message == "The service store doesn't respond to connections."


def test_a_missing_service_is_not_created_again(
    harness: DockerHarness, sandbox: RepairedSandbox
) -> None:
    spec = sandbox.healthy()
    harness.client.remove_container(container(spec, "store"), force=True)
    with pytest.raises(ServiceNotFound, match="store"):
        repair(harness, spec)


# With a real database behind the API.


def count_plans(sandbox: containers.BillingSandbox, done: Repair | None = None) -> int:
    facts = done.facts if done else sandbox.facts
    port = facts.services["api"].ports[8080].port
    headers = {"Authorization": f"Bearer {sandbox.key}"}
    answer = httpx2.get(f"http://127.0.0.1:{port}/v1/plans", headers=headers, timeout=10)
    return int(answer.json()["total"])


def flush_firewall(harness: DockerHarness, sandbox: containers.BillingSandbox) -> None:
    """Delete this sandbox's rules of the firewall, as a flush does for all."""
    options = harness.client.inspect_network(f"{sandbox.spec.id}_default")["Options"]
    bridge = options["com.docker.network.bridge.name"]
    rules = subprocess.run(["iptables", "-w", "-S"], check=True, capture_output=True, text=True)
    own = [rule.split()[1:] for rule in rules.stdout.splitlines() if bridge in rule.split()]
    for rule in own:
        subprocess.run(["iptables", "-w", "-D", *rule], check=True)
    assert own


def hang_database(harness: DockerHarness, sandbox: containers.BillingSandbox) -> None:
    harness.runtime.execute(sandbox.spec.id, "db", ["sh", "-c", hang_command("postgres")], 5)


@pytest.fixture(scope="module")
def billing(harness: DockerHarness) -> containers.BillingSandbox:
    harness.clear()
    return containers.create_billing_sandbox(harness)


@pytest.mark.root
@pytest.mark.parametrize("cause", [flush_firewall, hang_database])
def test_an_api_that_cannot_reach_its_database_is_found_and_repaired(
    harness: DockerHarness, billing: containers.BillingSandbox, cause: Callable[..., Any]
) -> None:
    spec, port = billing.spec, billing.host_port("api")
    headers = {"Authorization": f"Bearer {billing.key}"}
    new = {"name": f"Kept {cause.__name__}", "currency": "EUR", "amount": "5.00"}
    created = httpx2.post(f"http://127.0.0.1:{port}/v1/plans", json=new, headers=headers)
    assert created.status_code == 201
    before = count_plans(billing)
    cause(harness, billing)

    found = find_fault(harness, spec)
    assert found
    assert found.action is Action.REPAIR
    done = repair(harness, spec)

    assert done.actions == ["Restarted all services."]
    assert find_fault(harness, spec) is None
    assert count_plans(billing, done) == before
