"""`python -m tests.isolation`: try to escape from sandboxes, and publish the outcomes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from statistics import quantiles
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()

from django.conf import settings

from sandboxes.doctor import firewall
from sandboxes.runtime import forget_runtimes
from tests.bench.http_client import HttpClient
from tests.harness.networks import page_on
from tests.harness.portal import Portal, running_portal
from tests.harness.runtimes import TIME_LIMIT, DockerHarness, ignore_step
from tests.isolation import containers, freed_ports, resource_exhaustion, socket_proxy
from tests.tools.reliability_report import Report, Table, TargetResult, publish, summary_lines

SUBNETS = IPv4Network("10.222.0.0/20")
MAX_RESPONSE_SECONDS = 1.0
REMEDIES = {
    "network": "Install the firewall rules that `manage.py print_firewall` prints on the host.",
    "disk": "Put the engine's data root on btrfs, or on XFS with project quotas.",
}


@dataclass
class NetworkRun:
    """The outcomes of network attempts for a bind address, with or without firewall rules."""

    bind_address: str
    firewall: bool
    outcomes: containers.Outcomes

    @property
    def title(self) -> str:
        return f"{self.bind_address}, {'with' if self.firewall else 'without'} firewall rules"


@dataclass
class Run:
    """A run of all attempts, with its outcomes so far."""

    harness: DockerHarness
    portal: Portal
    external: containers.ExternalHost
    image: str
    open_port: int = 0
    network_runs: list[NetworkRun] = field(default_factory=list)
    command_outcomes: containers.Outcomes = field(default_factory=dict)
    image_outcomes: containers.Outcomes = field(default_factory=dict)
    proxy_outcomes: containers.Outcomes = field(default_factory=dict)
    port_outcomes: containers.Outcomes = field(default_factory=dict)
    exhaustions: list[resource_exhaustion.ExhaustionResult] = field(default_factory=list)
    detected: dict[bool, bool | None] = field(default_factory=dict)
    """By whether the firewall rules are active: what `print_firewall --check` says."""

    def plan(self, network: IPv4Network, other: containers.BillingSandbox) -> dict[str, Any]:
        ports = [self.open_port, self.portal.port]
        external = self.external.ADDRESSES
        return containers.plan_attempts(
            self.harness, network, other, ports, self.portal.port, external
        )

    def all(self) -> None:
        with page_on("0.0.0.0") as self.open_port:
            for address in ("127.0.0.1", "0.0.0.0"):
                self.harness.runtime = self.harness.new_runtime(SUBNETS, bind_address=address)
                for firewall_active in (False, True):
                    with firewall_rules(firewall_active):
                        log(f"Network attempts: ports on {address}, firewall {firewall_active}")
                        self.try_network(address, firewall_active)
                self.harness.clear()
            self.harness.runtime = self.harness.new_runtime(SUBNETS)
            with firewall_rules(True):
                self.try_everything()
            log("Freed ports")
            self.harness.clear()
            self.port_outcomes = freed_ports.reach_strangers(self.harness)
        log("Requests to the socket proxy")
        self.proxy_outcomes = socket_proxy.attack()

    def try_network(self, address: str, firewall_active: bool) -> None:
        if address == "127.0.0.1":
            self.detected[firewall_active] = firewall.check_firewall().is_closed
        other, spec = (
            containers.create_billing_sandbox(self.harness),
            firewall.probe_spec(self.image),
        )
        self.harness.runtime.create(spec, ignore_step, TIME_LIMIT)
        network = containers.network_of(self.harness, spec, "trial")
        before = self.external.received_datagrams()
        plan = self.plan(network, other) | {"network_only": True}
        outcomes = containers.run_as_command(self.harness, spec, "trial", plan)
        received = self.external.received_datagrams() - before
        outcomes["send a datagram"] = (received > 0, f"{received} received")
        flooded = containers.flood_connection_table(self.harness, other)
        outcomes["fill the host's connection table"] = flooded
        self.network_runs.append(NetworkRun(address, firewall_active, outcomes))

    def try_everything(self) -> None:
        log("All attempts, by a command in a service and by the main process of an image")
        own = containers.create_billing_sandbox(self.harness)
        other = containers.create_billing_sandbox(self.harness)
        plan = self.plan(containers.network_of(self.harness, own.spec, "api"), other)
        self.command_outcomes = containers.run_as_command(self.harness, own.spec, "api", plan)
        hostile = containers.hostile_spec(self.image, plan)
        self.image_outcomes = containers.run_as_main_process(self.harness, hostile)
        key = f"Bearer {other.key}"
        other_client = HttpClient(
            "127.0.0.1", other.host_port("api"), timeout=10, Authorization=key
        )
        portal_client = HttpClient("127.0.0.1", self.portal.port, timeout=10)
        for resource in resource_exhaustion.PROGRAMS:
            log(f"Using up {resource}")
            self.exhaustions.append(
                resource_exhaustion.exhaust(
                    self.harness, hostile.id, resource, other_client, portal_client
                )
            )

    def report(self) -> Report:
        return Report("make test-isolation", list(self.targets()), list(self.tables()))

    def targets(self) -> Iterator[TargetResult]:
        outcomes = [*self.command_outcomes.values(), *self.image_outcomes.values()]
        yield none_successful("All escape attempts, with firewall rules", outcomes)
        for run in self.network_runs:
            if run.firewall:
                title = f"Network escape attempts, ports on {run.title}"
                yield none_successful(title, run.outcomes.values())
        yield none_successful("Requests to the socket proxy", self.proxy_outcomes.values())
        yield none_successful("Freed ports", self.port_outcomes.values())
        correct = self.detected == {False: False, True: True}
        yield TargetResult(
            "`print_firewall --check` detects whether the rules are active",
            "yes",
            "yes" if correct else str(self.detected),
            correct,
        )
        for name, all_times in (
            ("another sandbox", [result.other_sandbox for result in self.exhaustions]),
            ("the portal", [result.portal for result in self.exhaustions]),
        ):
            slowest = max(max(times.seconds) for times in all_times)
            failures = sum(times.failures for times in all_times)
            yield TargetResult(
                f"Slowest response of {name} during resource exhaustion",
                "under 1000 ms, no failures",
                f"{slowest * 1000:.0f} ms, {failures} failures",
                slowest < MAX_RESPONSE_SECONDS and not failures,
            )

    def tables(self) -> Iterator[Table]:
        yield Table(
            "All attempts, with the rules of `manage.py print_firewall` and ports on 127.0.0.1",
            ["Attempt", "Command in a service", "Main process of an image"],
            [
                [name, describe(self.command_outcomes.get(name)), describe(outcome)]
                for name, outcome in self.image_outcomes.items()
            ],
        )
        yield Table(
            "Network attempts, by the address on which ports are published",
            ["Attempt", *(run.title for run in self.network_runs)],
            [
                [name, *(describe(run.outcomes[name]) for run in self.network_runs)]
                for name in self.network_runs[0].outcomes
            ],
        )
        yield Table(
            "Requests to the socket proxy, by a worker that was taken over",
            ["Attempt", "Outcome"],
            [[name, describe(outcome)] for name, outcome in self.proxy_outcomes.items()],
        )
        yield Table(
            "Freed ports, with only 32 to choose from",
            ["Attempt", "Outcome"],
            [[name, describe(outcome)] for name, outcome in self.port_outcomes.items()],
        )
        yield Table(
            "Successful attempts and their remedies",
            ["Attempt", "Remedy"],
            list(self.successful_attempts()),
        )
        yield Table(
            f"Resource exhaustion for {resource_exhaustion.SECONDS} s (0.5 CPUs, 192 MB)",
            [
                "Resource",
                "Outcome",
                "Other sandbox p50, p95 (ms)",
                "Portal p50, p95 (ms)",
            ],
            [
                [one.resource, one.outcome, percentiles(one.other_sandbox), percentiles(one.portal)]
                for one in self.exhaustions
            ],
        )

    def successful_attempts(self) -> Iterator[list[str]]:
        names = {
            name
            for run in self.network_runs
            if not run.firewall
            for name in containers.successful(run.outcomes)
        }
        for name in sorted(names):
            yield [f"{name}, without firewall rules", REMEDIES["network"]]
        attempt = "fill the disk or use up inodes between two sweeps, without a hard disk limit"
        yield [attempt, REMEDIES["disk"]]


def describe(outcome: containers.Outcome | None) -> str:
    if outcome is None:
        return "not tried"
    succeeded, detail = outcome
    return f"**successful**: {detail}" if succeeded else f"blocked: {detail}"


def none_successful(name: str, outcomes: Collection[containers.Outcome]) -> TargetResult:
    count = sum(succeeded for succeeded, _ in outcomes)
    return TargetResult(name, "0 successful", f"{count} of {len(outcomes)} successful", not count)


def percentiles(times: resource_exhaustion.ResponseTimes) -> str:
    cuts = quantiles(times.seconds, n=20)
    return f"{cuts[9] * 1000:.0f}, {cuts[18] * 1000:.0f}"


def log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@contextmanager
def firewall_rules(active: bool) -> Iterator[None]:
    """Install the rules if `active`, and remove them afterwards; only for this run's subnets."""
    if active:
        subprocess.run(["sh", "-c", firewall.rules()], check=True)
    try:
        yield
    finally:
        subprocess.run(["sh", "-c", firewall.rules(undo=True)], check=True)


def main() -> int:
    if os.geteuid():
        log("Run this as root: it installs firewall rules and creates a network namespace.")
        return 1
    harness = DockerHarness(containers.API_IMAGE)
    settings.SANDBOX_SUBNETS, settings.SANDBOX_INSTANCE = SUBNETS, harness.instance
    settings.SANDBOX_RUNTIME = "docker"
    forget_runtimes()
    with tempfile.TemporaryDirectory(prefix="portal-isolation-") as folder:
        var = Path(folder)
        try:
            with (
                running_portal(var, HOST="0.0.0.0") as portal,
                containers.external_host(var / "external.log") as external,
                containers.hostile_image(harness) as image,
            ):
                run = Run(harness, portal, external, image)
                try:
                    run.all()
                finally:
                    harness.clear()
        finally:
            harness.clear()
    report = run.report()
    publish("isolation", report)
    for line in summary_lines(report):
        log(line)
    return 0 if all(result.met for result in report.targets) else 1


if __name__ == "__main__":
    sys.exit(main())
