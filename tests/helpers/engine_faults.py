"""Faults of a running sandbox on the engine, and a sandbox to cause them in."""

from __future__ import annotations

from collections.abc import Callable

import psutil

from sandboxes.core.reaper_policy import Decision, Observation, decide
from sandboxes.runtime import Repair, SandboxSpec
from tests.harness.runtimes import TIME_LIMIT, DockerHarness, ignore_step
from tests.helpers.policy_rows import NOW, row
from tests.helpers.wait import wait_for

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


class RepairedSandbox:
    """A sandbox that tests break and repair, one after the other."""

    def __init__(self, harness: DockerHarness) -> None:
        self.harness = harness
        self._spec: SandboxSpec | None = None

    def healthy(self) -> SandboxSpec:
        """Return the sandbox, or a new one if the last test left it damaged."""
        if not self._spec or not self._is_healthy(self._spec):
            self.harness.clear()
            self._spec, _ = self.harness.create()
            self.harness.runtime.execute(self._spec.id, "store", KEEP, 5)
        return self._spec

    def _is_healthy(self, spec: SandboxSpec) -> bool:
        filters = {"label": f"sandboxportal.instance={self.harness.instance}"}
        names = [row["Names"][0] for row in self.harness.client.containers(filters=filters)]
        expected = [f"/{container(spec, service)}" for service in ("store", "web")]
        return sorted(names) == expected and find_fault(self.harness, spec) is None
