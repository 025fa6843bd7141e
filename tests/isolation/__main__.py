"""`python -m tests.isolation`: try every way out of a sandbox, and publish what came of it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from statistics import quantiles
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

from django.conf import settings

from sandboxes.doctor import firewall
from sandboxes.runtime import get_runtime
from tests.bench.http_client import HttpClient
from tests.isolation import containers, resource_exhaustion
from tests.portal import Portal, running_portal
from tests.runtimes import TIME_LIMIT, DockerBench, quiet
from tests.test_docker_networks import page_on
from tests.tools.reliability_report import Report, Table, TargetResult, publish, summary_lines

SUBNETS = IPv4Network("10.222.0.0/20")
SLOWEST_SECONDS = 1.0
REMEDIES = {
    "machine": "The rules that `manage.py print_firewall` prints, in the firewall of that machine.",
    "disk": "A data root on btrfs, or on XFS with project quotas, where the engine refuses it.",
}


@dataclass
class Ways:
    """What was found with ports published on one address, and the rules in force or not."""

    bind_address: str
    closed: bool
    found: containers.Found
    datagrams: int

    @property
    def title(self) -> str:
        return f"{self.bind_address}, {'with' if self.closed else 'without'} the rules"

    @property
    def through(self) -> dict[str, str]:
        return containers.through(self.found)


@dataclass
class Run:
    """One run: what it found so far."""

    bench: DockerBench
    portal: Portal
    outside: containers.Outside
    image: str
    ways: list[Ways] = field(default_factory=list)
    command: containers.Found = field(default_factory=dict)
    own: containers.Found = field(default_factory=dict)
    hogged: list[resource_exhaustion.Hogged] = field(default_factory=list)
    verdicts: dict[bool, bool | None] = field(default_factory=dict)

    def asked(self, network: IPv4Network, other: containers.Sandbox) -> dict[str, Any]:
        open_ports = [self.open_port, self.portal.port]
        there = self.outside.ADDRESSES
        return containers.asked(self.bench, network, other, open_ports, self.portal.port, there)

    open_port: int = 0

    def all(self) -> None:
        with page_on("0.0.0.0") as self.open_port:
            for address in ("127.0.0.1", "0.0.0.0"):
                self.bench.runtime = self.bench.make(SUBNETS, bind_address=address)
                for closed in (False, True):
                    with rules(closed):
                        say(f"Trying ways out, ports on {address}, rules {closed}")
                        self.try_ways(address, closed)
                self.bench.clear()
            self.bench.runtime = self.bench.make(SUBNETS)
            with rules(True):
                self.try_everything()

    def try_ways(self, address: str, closed: bool) -> None:
        if address == "127.0.0.1":
            self.verdicts[closed] = firewall.verdict().closed
        other, spec = containers.billing(self.bench), firewall.trial(self.image)
        self.bench.runtime.create(spec, quiet, TIME_LIMIT)
        network = containers.network_of(self.bench, spec, "trial")
        before = self.outside.datagrams()
        what = self.asked(network, other) | {"network_only": True}
        found = containers.executed(self.bench, spec, "trial", what)
        came = self.outside.datagrams() - before
        found["a datagram that needs no answer"] = (came > 0, f"{came} came through")
        self.ways.append(Ways(address, closed, found, came))

    def try_everything(self) -> None:
        say("Trying everything from a command and from an image's own process")
        mine, other = containers.billing(self.bench), containers.billing(self.bench)
        network = containers.network_of(self.bench, mine.spec, "api")
        what = self.asked(network, other)
        self.command = containers.executed(self.bench, mine.spec, "api", what)
        hostile = containers.hostile(self.image, what)
        self.own = containers.started(self.bench, hostile)
        port = other.published("api")
        neighbour = HttpClient("127.0.0.1", port, timeout=10, Authorization=f"Bearer {other.key}")
        portal = HttpClient("127.0.0.1", self.portal.port, timeout=10)
        for name in resource_exhaustion.HOGS:
            say(f"Taking: {name}")
            self.hogged.append(
                resource_exhaustion.hog(self.bench, hostile.id, name, neighbour, portal)
            )

    def report(self) -> Report:
        return Report("make probe", list(self.bars()), list(self.tables()))

    def bars(self) -> Iterator[TargetResult]:
        inside = {("command", n): o for n, o in self.command.items()}
        inside |= {("image", n): o for n, o in self.own.items()}
        yield got_through("ways out of a sandbox, all kinds, with the rules in force", inside)
        for ways in self.ways:
            if ways.closed:
                found = {(ways.title, name): one for name, one in ways.found.items()}
                yield got_through(f"ways over the network, ports on {ways.title}", found)
        right = self.verdicts == {False: False, True: True}
        text = "`print_firewall --check` tells the rules from their absence"
        yield TargetResult(text, "yes", "yes" if right else str(self.verdicts), right)
        for name, timings in (
            ("neighbour", [one.neighbour for one in self.hogged]),
            ("portal", [one.portal for one in self.hogged]),
        ):
            slowest = max(max(one.seconds) for one in timings)
            failures = sum(one.failures for one in timings)
            text = f"the slowest answer of the {name} while a sandbox takes all that it gets"
            told = f"{slowest * 1000:.0f} ms, {failures} not answered"
            yield TargetResult(
                text, "1000 ms, all answered", told, slowest < SLOWEST_SECONDS and not failures
            )

    def tables(self) -> Iterator[Table]:
        names = self.own.keys()
        rows = [
            [name, self.tell(self.command.get(name)), self.tell(self.own[name])] for name in names
        ]
        title = "With the rules of `manage.py print_firewall` in force, and ports on 127.0.0.1"
        yield Table(
            title, ["tried", "by a command in a service", "by an image's own process"], rows
        )
        names = self.ways[0].found.keys()
        rows = [[name, *(self.tell(w.found[name]) for w in self.ways)] for name in names]
        title = "Over the network, by the address that ports are published on"
        yield Table(title, ["tried", *(w.title for w in self.ways)], rows)
        yield Table("What gets through, and what closes it", ["what", "remedy"], list(self.open()))
        head = ["taken", "what came of it", "neighbour p50, p95 ms", "portal p50, p95 ms"]
        rows = [[h.what, h.outcome, figures(h.neighbour), figures(h.portal)] for h in self.hogged]
        yield Table(
            f"Taking all there is for {resource_exhaustion.SECONDS} s (0.5 CPUs, 192 MB)",
            head,
            rows,
        )

    def open(self) -> Iterator[list[str]]:
        found = {name for ways in self.ways if not ways.closed for name in ways.through}
        for name in sorted(found):
            yield [f"{name}, without the rules", REMEDIES["machine"]]
        what = "many files, and files without content, from one sweep to the next"
        yield [f"{what}, where the engine has no hard limit on disk", REMEDIES["disk"]]

    @staticmethod
    def tell(outcome: containers.Outcome | None) -> str:
        if outcome is None:
            return "not tried"
        through, how = outcome
        return f"**through**: {how}" if through else f"blocked: {how}"


def got_through(what: str, found: dict[tuple[str, str], containers.Outcome]) -> TargetResult:
    through = sum(one for one, _ in found.values())
    return TargetResult(what, "0 through", f"{through} of {len(found)} through", not through)


def figures(timed: resource_exhaustion.Timed) -> str:
    cuts = quantiles(timed.seconds, n=20)
    return f"{cuts[9] * 1000:.0f}, {cuts[18] * 1000:.0f}"


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@contextmanager
def rules(closed: bool) -> Iterator[None]:
    """Of the probe's own subnets alone, so they concern nobody else."""
    if closed:
        subprocess.run(["sh", "-c", firewall.rules()], check=True)
    try:
        yield
    finally:
        subprocess.run(["sh", "-c", firewall.rules(undo=True)], check=True)


def main() -> int:
    if os.geteuid():
        say("This needs root: it brings rules of the firewall into force, and makes a network.")
        return 1
    bench = DockerBench(containers.API_IMAGE)
    settings.SANDBOX_SUBNETS, settings.SANDBOX_INSTANCE = SUBNETS, bench.instance
    settings.SANDBOX_RUNTIME = "docker"
    get_runtime.cache_clear()
    with tempfile.TemporaryDirectory(prefix="portal-probe-") as folder:
        var = Path(folder)
        try:
            with (
                running_portal(var, HOST="0.0.0.0") as portal,
                containers.outside(var / "outside.log") as outside,
                containers.hostile_image(bench) as image,
            ):
                run = Run(bench, portal, outside, image)
                try:
                    run.all()
                finally:
                    bench.clear()
        finally:
            bench.clear()
    report = run.report()
    publish("isolation", report)
    for line in summary_lines(report):
        say(line)
    return 0 if all(result.met for result in report.targets) else 1


if __name__ == "__main__":
    sys.exit(main())
