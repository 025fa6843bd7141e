"""The containers in which escape attempts run, another sandbox, and the targets of attempts."""

from __future__ import annotations

import io
import json
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from sandboxes.blueprints import folders
from sandboxes.runtime import SandboxFacts, SandboxSpec
from tests.harness.networks import host_address, own_address
from tests.harness.runtimes import (
    TIME_LIMIT,
    DockerHarness,
    ignore_step,
    new_id,
)
from tests.helpers.wait import wait_for

ATTEMPTS = (Path(__file__).parent / "escape_attempts.py").read_text()
API_IMAGE = "sandboxportal/billing-api"
HOSTILE_DOCKERFILE = f"""
FROM {API_IMAGE}
USER root
RUN cp /usr/bin/python3.11 /usr/local/bin/as-root && chmod 4755 /usr/local/bin/as-root
USER 65534:65534
"""
"""An image with a setuid-root program."""
SETUID_PROGRAM = "/usr/local/bin/as-root"
WRITABLE = ["/tmp", "/dev/shm", "/dev/mqueue"]
"""Directories that every service may write to: tmpfs mounts, which count as its memory."""
WRITABLE_LAYER = ["/var/tmp", "/run/lock"]
"""Further ones if the root file system isn't read-only; these count as the service's disk usage."""
FLOOD_LOG_ON_REQUEST = """
    while not Path("/tmp/flood").exists():
        time.sleep(0.1)
    while True:
        print("x" * 1000)
"""
FLOOD_DATAGRAMS = """
import socket, sys
target = socket.gethostbyname(sys.argv[1])
for source in range(20000, 20020):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("", source))
        for port in range(10000, 11000):
            sender.sendto(b"x", (target, port))
"""
"""Sends 20,000 datagrams to a service, each of a connection of its own for the host's firewall."""
MAX_TRACKED_CONNECTIONS = 100
DISK_MB = 64

Outcome = tuple[bool, str]
Outcomes = dict[str, Outcome]


@dataclass(frozen=True)
class BillingSandbox:
    """A running billing sandbox and its API key."""

    spec: SandboxSpec
    facts: SandboxFacts
    key: str

    def host_port(self, service: str) -> int:
        return next(iter(self.facts.services[service].ports.values())).port


def create_billing_sandbox(harness: DockerHarness, **changes: Any) -> BillingSandbox:
    """Create a sandbox as the portal does."""
    blueprint = folders.valid()["billing"]
    secret_values = blueprint.new_secrets()
    variables = secret_values | {
        "SANDBOX_LAUNCHED_AT": "2026-01-01T00:00:00+00:00",
        "SANDBOX_STELLAR_PUBLIC_KEY": "G" * 56,
    }
    spec = replace(blueprint.spec(new_id(), variables, DISK_MB), **changes)
    return BillingSandbox(
        spec, harness.runtime.create(spec, ignore_step, TIME_LIMIT), secret_values["API_KEY"]
    )


@contextmanager
def hostile_image(harness: DockerHarness) -> Iterator[str]:
    tag = f"sandboxportal-tests/hostile:{harness.instance}"
    built = b"".join(
        harness.client.build(fileobj=io.BytesIO(HOSTILE_DOCKERFILE.encode()), tag=tag, rm=True)
    )
    assert b"Successfully built" in built, built
    try:
        yield tag
    finally:
        harness.client.remove_image(tag, force=True)


def hostile_spec(image: str, plan: Mapping[str, Any]) -> SandboxSpec:
    """Return a sandbox whose image runs the escape attempts as its main process, and then waits."""
    api = next(s for s in folders.valid()["billing"].services if s.name == "api")
    writable = [*WRITABLE, *WRITABLE_LAYER]
    own_plan = {**plan, "setuid_program": SETUID_PROGRAM, "writable": writable}
    program = ATTEMPTS + FLOOD_LOG_ON_REQUEST
    service = replace(
        api, image=image, user="", environment={}, ports=[], entrypoint=["python3", "-c", program]
    )
    service = replace(service, command=[json.dumps(own_plan)], read_only=False)
    return SandboxSpec(new_id(), "hostile", [service], [], DISK_MB)


def network_of(harness: DockerHarness, spec: SandboxSpec, service: str) -> IPv4Network:
    return IPv4Network((own_address(harness, spec, service), 28), strict=False)


def plan_attempts(
    harness: DockerHarness,
    network: IPv4Network,
    other: BillingSandbox,
    ports: Sequence[int],
    portal: int,
    external: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the plan for `escape_attempts`: which addresses and names to try.

    `network` is the sandbox's own network, `ports` are open ports of the host, `portal` is the
    portal's port, and `external` are addresses of other machines.
    """
    other_network = network_of(harness, other.spec, "api")
    gateway, other_addresses = str(network[1]), [host_address(), str(other_network[1])]
    host_addresses = [gateway, *other_addresses]
    published = [(service, other.host_port(service)) for service in ("api", "db")]
    api, db = (
        [
            (own_address(harness, other.spec, service), inner),
            *((host, port) for host in host_addresses),
        ]
        for (service, port), inner in zip(published, (8080, 5432), strict=True)
    )
    return {
        "connections": {
            "connect to the internet": [(host, 80) for host in (*external[:1], "1.1.1.1")],
            "connect to the cloud metadata address": [("169.254.169.254", 80)],
            "connect to the host at its gateway address": [(gateway, p) for p in (9, *ports)],
            "connect to the host at its other addresses": [
                (host, port) for host in other_addresses for port in (9, *ports)
            ],
            "connect to the portal": [(host, portal) for host in host_addresses],
            "connect to the engine over TCP": [
                (host, port) for host in host_addresses for port in (2375, 2376)
            ],
            "connect to another sandbox's API": api,
            "connect to another sandbox's database": db,
        },
        "datagrams": [(host, 9) for host in external],
        "names": {
            "an internet host name": "example.com",
            "another sandbox by its container name": f"{other.spec.id}-api-1",
            "another sandbox by its network name": f"api.{other.spec.id}_default",
            "the host as host.docker.internal": "host.docker.internal",
        },
        "name_servers": ["127.0.0.11", *host_addresses, "8.8.8.8"],
        "writable": WRITABLE,
    }


def run_as_command(
    harness: DockerHarness, spec: SandboxSpec, service: str, plan: Mapping[str, Any]
) -> Outcomes:
    """Run the attempts as a developer's command in a service."""
    command = ["python3", "-c", ATTEMPTS, json.dumps(plan)]
    code, output = harness.runtime.execute(spec.id, service, command, TIME_LIMIT)
    assert code == 0, output
    return parse_output(output)


def flood_connection_table(harness: DockerHarness, sandbox: BillingSandbox) -> Outcome:
    """Send datagrams among the services of a sandbox, and count the host's entries for them."""
    command = ["python3", "-c", FLOOD_DATAGRAMS, "db"]
    code, output = harness.runtime.execute(sandbox.spec.id, "api", command, TIME_LIMIT)
    assert code == 0, output
    count = tracked_connections(network_of(harness, sandbox.spec, "api"))
    return count > MAX_TRACKED_CONNECTIONS, f"{count} entries"


def tracked_connections(network: IPv4Network) -> int:
    """Return how many entries of the host's connection table are from this network."""
    sources = re.findall(r"src=(\S+)", Path("/proc/net/nf_conntrack").read_text())
    return sum(IPv4Address(source) in network for source in sources[::2])


def run_as_main_process(harness: DockerHarness, spec: SandboxSpec) -> Outcomes:
    """Start a sandbox whose main process runs the attempts; read the outcomes from its log."""
    name = spec.services[0].name
    harness.runtime.create(spec, ignore_step, TIME_LIMIT)
    wait_for(
        lambda: '"outcomes"' in harness.runtime.logs(spec.id, name, 5), "the attempts have ended"
    )
    return parse_output(harness.runtime.logs(spec.id, name, 5))


def parse_output(output: str) -> Outcomes:
    line = next(line for line in output.splitlines() if line.startswith('{"outcomes"'))
    outcomes = json.loads(line)["outcomes"]
    return {name: (succeeded, detail) for name, (succeeded, detail) in outcomes.items()}


def successful(outcomes: Outcomes) -> dict[str, str]:
    return {name: detail for name, (succeeded, detail) in outcomes.items() if succeeded}


LISTEN = """
import socket, sys, threading
def accept(server):
    while True:
        server.accept()[0].close()
for host in sys.argv[1:]:
    threading.Thread(target=accept, args=(socket.create_server((host, 80)),), daemon=True).start()
receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
receiver.bind(("", 9))
print("ready", flush=True)
while True:
    print(*receiver.recvfrom(64)[1], flush=True)
"""


class ExternalHost:
    """A network namespace behind this machine; it stands in for the internet and a cloud."""

    ADDRESSES = ("203.0.113.2", "169.254.169.254")

    def __init__(self, log: Path) -> None:
        self.log = log
        self.name = f"ext{secrets.token_hex(3)}"

    def received_datagrams(self) -> int:
        return len(self.log.read_text().splitlines()) - 1


@contextmanager
def external_host(log: Path) -> Iterator[ExternalHost]:
    """Create the network namespace, and remove it afterwards. Needs root."""
    external = ExternalHost(log)
    name, (address, metadata) = external.name, external.ADDRESSES
    inside = f"ip -n {name}"
    steps = f"""
        ip netns add {name}
        ip link add {name} type veth peer name out netns {name}
        ip addr add 203.0.113.1/30 dev {name}
        ip link set {name} up
        {inside} addr add {address}/30 dev out
        {inside} addr add {metadata}/32 dev out
        {inside} link set out up
        {inside} link set lo up
        ip route add {metadata}/32 via {address}
    """
    try:
        for step in steps.strip().splitlines():
            subprocess.run(step.split(), check=True, capture_output=True)
        listen = ["ip", "netns", "exec", name, sys.executable, "-c", LISTEN, *external.ADDRESSES]
        with log.open("w") as out, subprocess.Popen(listen, stdout=out) as process:
            wait_for(lambda: "ready" in log.read_text(), "the external host is ready")
            try:
                yield external
            finally:
                process.terminate()
    finally:
        subprocess.run(["ip", "link", "del", name], check=False, capture_output=True)
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
