"""Faults of a running sandbox on the engine: found by observation and probe, then repaired."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx2
import psutil
import pytest

from sandboxes.core.reaper_policy import Action, Decision, Observation, decide
from sandboxes.runtime import HttpCheck, Repair, SandboxSpec, ServiceNotFound
from tests.core.test_reaper_policy import NOW, row
from tests.harness.runtimes import (
    TIME_LIMIT,
    DockerHarness,
    fetch_page,
    hang_command,
    ignore_step,
    with_service,
)
from tests.helpers.wait import wait_for
from tests.isolation import containers

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.usefixtures("impatient")]

KEEP = ["sh", "-c", "echo kept > /home/kept"]
READ = ["cat", "/home/kept"]


def find_fault(harness: DockerHarness, spec: SandboxSpec) -> Decision | None:
    """Return what a sweep decides about the sandbox."""
    facts = harness.runtime.observe(spec.id).get(spec.id)
    probe = None
    if facts and facts.alive and facts.connected:
        probe = harness.runtime.probe([facts], {spec.id: spec.ready}, 2.0)[spec.id]
    ports = {service.name: service.ports for service in spec.services}
    return decide(row(), Observation(True, facts, ports, probe), NOW)


def repair(harness: DockerHarness, spec: SandboxSpec) -> Repair:
    return harness.runtime.repair(spec, ignore_step, TIME_LIMIT)


def container(spec: SandboxSpec, service: str) -> str:
    return f"{spec.id}-{service}-1"


def pause(harness: DockerHarness, spec: SandboxSpec) -> None:
    harness.client.pause(container(spec, "store"))


def pause_all(harness: DockerHarness, spec: SandboxSpec) -> None:
    for service in ("web", "store"):
        harness.client.pause(container(spec, service))


def disconnect(harness: DockerHarness, spec: SandboxSpec, service: str = "web") -> None:
    harness.client.disconnect_container_from_network(
        container(spec, service), f"{spec.id}_default", force=True
    )


def disconnect_all_and_remove_the_network(harness: DockerHarness, spec: SandboxSpec) -> None:
    disconnect(harness, spec)
    disconnect(harness, spec, "store")
    harness.client.remove_network(f"{spec.id}_default")


def move_to_another_network(harness: DockerHarness, spec: SandboxSpec) -> None:
    disconnect(harness, spec)
    harness.client.connect_container_to_network(container(spec, "web"), "bridge")


def attach_to_a_second_network(harness: DockerHarness, spec: SandboxSpec) -> None:
    harness.client.connect_container_to_network(container(spec, "store"), "bridge")


def end_forwarding(harness: DockerHarness, spec: SandboxSpec) -> None:
    """Kill the programs that forward the published port."""
    port = harness.runtime.observe()[spec.id].services["web"].ports[8080].port
    for process in psutil.process_iter(["name", "cmdline"]):
        if process.info["name"] == "docker-proxy" and str(port) in process.info["cmdline"]:
            process.kill()
    wait_for(lambda: find_fault(harness, spec), "the port is closed")


def hang(harness: DockerHarness, spec: SandboxSpec) -> None:
    harness.hang(spec)


def rename(harness: DockerHarness, spec: SandboxSpec) -> None:
    harness.client.rename(container(spec, "web"), f"renamed-{spec.id}")
    harness.client.pause(f"renamed-{spec.id}")


FAULTS: dict[str, tuple[Callable[[DockerHarness, SandboxSpec], None], str]] = {
    "paused": (pause, "The service store was paused."),
    "all paused": (pause_all, "was paused."),
    "disconnected": (disconnect, "The service web was disconnected from its network."),
    "without its network": (disconnect_all_and_remove_the_network, "was disconnected"),
    "in another network": (move_to_another_network, "The service web was disconnected"),
    "in a second network": (attach_to_a_second_network, "The service store was disconnected"),
    "without port forwarding": (end_forwarding, "The service web doesn't respond to GET /ok."),
    "hanging": (hang, "The service web doesn't respond to GET /ok."),
    "renamed and paused": (rename, "The service web was paused."),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_and_repaired_with_all_data(
    docker_harness: DockerHarness, fault: str
) -> None:
    spec, _ = docker_harness.create()
    docker_harness.runtime.execute(spec.id, "store", KEEP, 5)
    cause, message = FAULTS[fault]
    cause(docker_harness, spec)

    found = find_fault(docker_harness, spec)
    assert found
    assert found.action is Action.REPAIR
    assert message in found.message
    done = repair(docker_harness, spec)

    assert done.actions
    assert find_fault(docker_harness, spec) is None
    fetch_page(done.facts)
    assert docker_harness.runtime.execute(spec.id, "store", READ, 5) == (0, "kept\n")
    assert docker_harness.reaches(spec, "web", 8080), "its name resolves in its own network"
    assert len(docker_harness.remaining()) == 3


@pytest.mark.parametrize("fault", ["all paused", "disconnected", "hanging"])
def test_a_sandbox_with_a_fault_can_be_destroyed(docker_harness: DockerHarness, fault: str) -> None:
    spec, _ = docker_harness.create()
    FAULTS[fault][0](docker_harness, spec)
    docker_harness.runtime.destroy(spec.id)
    assert docker_harness.remaining() == []


def test_stopped_containers_whose_network_was_removed_keep_their_data(
    docker_harness: DockerHarness,
) -> None:
    spec, _ = docker_harness.create()
    docker_harness.runtime.execute(spec.id, "store", KEEP, 5)
    for service in ("web", "store"):
        docker_harness.client.stop(container(spec, service), timeout=0)
    docker_harness.client.remove_network(f"{spec.id}_default")

    done = repair(docker_harness, spec)

    assert done.actions == [
        "Connected to the sandbox's network: store, web.",
        "Started: store, web.",
    ]
    fetch_page(done.facts)
    assert docker_harness.runtime.execute(spec.id, "store", READ, 5) == (0, "kept\n")
    assert docker_harness.reaches(spec, "web", 8080)


def test_ports_stay_the_same_after_a_restart_by_others(docker_harness: DockerHarness) -> None:
    spec, before = docker_harness.create()
    docker_harness.client.restart(container(spec, "web"), timeout=0)

    wait_for(lambda: find_fault(docker_harness, spec) is None, "the sandbox responds again")
    facts = docker_harness.runtime.observe()[spec.id]
    assert facts.services["web"].ports == before.services["web"].ports
    fetch_page(facts)


def test_a_sandbox_that_is_not_ready_is_not_restarted(docker_harness: DockerHarness) -> None:
    spec, before = docker_harness.create()
    spec = replace(spec, ready=[HttpCheck("web", 8080, "/missing")])
    found = find_fault(docker_harness, spec)
    assert found
    assert found.message == "The service web isn't ready: GET /missing returns 404."
    done = repair(docker_harness, spec)
    assert (done.actions, done.problem) == ([], found.message)
    assert done.facts.services == before.services


def test_a_port_without_a_ready_check_is_probed_too(docker_harness: DockerHarness) -> None:
    """A forwarder accepts connections to a port on which nothing listens."""
    spec = with_service(docker_harness.spec(), "store", ports=[9000])
    docker_harness.runtime.create(spec, ignore_step, TIME_LIMIT)
    found = find_fault(docker_harness, spec)
    assert found
    assert found.message == "The service store doesn't respond to connections."


def test_a_missing_service_is_not_created_again(docker_harness: DockerHarness) -> None:
    spec, _ = docker_harness.create()
    docker_harness.client.remove_container(container(spec, "store"), force=True)
    with pytest.raises(ServiceNotFound, match="store"):
        repair(docker_harness, spec)


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


@pytest.mark.root
@pytest.mark.parametrize("cause", [flush_firewall, hang_database])
def test_an_api_that_cannot_reach_its_database_is_found_and_repaired(
    docker_harness: DockerHarness, cause: Callable[..., Any]
) -> None:
    sandbox = containers.create_billing_sandbox(docker_harness)
    spec, port = sandbox.spec, sandbox.host_port("api")
    headers = {"Authorization": f"Bearer {sandbox.key}"}
    new = {"name": "Kept", "currency": "EUR", "amount": "5.00"}
    created = httpx2.post(f"http://127.0.0.1:{port}/v1/plans", json=new, headers=headers)
    assert created.status_code == 201
    before = count_plans(sandbox)
    cause(docker_harness, sandbox)

    found = find_fault(docker_harness, spec)
    assert found
    assert found.action is Action.REPAIR
    done = repair(docker_harness, spec)

    assert done.actions == ["Restarted all services."]
    assert find_fault(docker_harness, spec) is None
    assert count_plans(sandbox, done) == before
