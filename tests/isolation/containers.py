"""The containers that the probe runs in, their neighbour, and what it is pointed at."""

from __future__ import annotations

import io
import json
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from sandboxes import blueprints
from sandboxes.runtime import SandboxFacts, SandboxSpec
from tests.runtimes import TIME_LIMIT, DockerBench, new_id, quiet
from tests.test_docker_networks import host_address, own_address
from tests.waiting import until

INSIDE = (Path(__file__).parent / "escape_attempts.py").read_text()
API_IMAGE = "sandboxportal/billing-api"
HOSTILE = f"""
FROM {API_IMAGE}
USER root
RUN cp /usr/bin/python3.11 /usr/local/bin/as-root && chmod 4755 /usr/local/bin/as-root
USER 65534:65534
"""
"""An image that was made to get out: with a program that runs as root, whoever starts it."""
AS_ROOT = "/usr/local/bin/as-root"
ALLOWED = ["/tmp", "/dev/shm", "/dev/mqueue"]
"""Where every service may write: a tmpfs each, which counts as its memory."""
OWN_LAYER = ["/var/tmp", "/run/lock"]
"""And where a service may whose root file system is not read-only; this counts as its disk."""
THEN = """
    while not Path("/tmp/flood").exists():
        time.sleep(0.1)
    while True:
        print("x" * 1000)
"""
DISK_MB = 64

Outcome = tuple[bool, str]
Found = dict[str, Outcome]


@dataclass(frozen=True)
class Sandbox:
    """A billing sandbox that runs, and what opens it."""

    spec: SandboxSpec
    facts: SandboxFacts
    key: str

    def published(self, service: str) -> int:
        return next(iter(self.facts.services[service].ports.values())).port


def billing(bench: DockerBench, **changes: Any) -> Sandbox:
    """One as the portal makes it."""
    blueprint = blueprints.load("billing")
    drawn = blueprint.new_secrets()
    variables = drawn | {
        "SANDBOX_LAUNCHED_AT": "2026-01-01T00:00:00+00:00",
        "SANDBOX_STELLAR_PUBLIC_KEY": "G" * 56,
    }
    spec = replace(blueprint.spec(new_id(), variables, DISK_MB), **changes)
    return Sandbox(spec, bench.runtime.create(spec, quiet, TIME_LIMIT), drawn["API_KEY"])


@contextmanager
def hostile_image(bench: DockerBench) -> Iterator[str]:
    tag = f"sandboxportal-tests/hostile:{bench.instance}"
    built = b"".join(bench.client.build(fileobj=io.BytesIO(HOSTILE.encode()), tag=tag, rm=True))
    assert b"Successfully built" in built, built
    try:
        yield tag
    finally:
        bench.client.remove_image(tag, force=True)


def hostile(image: str, asked: Mapping[str, Any]) -> SandboxSpec:
    """A blueprint whose own process, in the image's own words, is the probe; then it waits."""
    api = next(s for s in blueprints.load("billing").services if s.name == "api")
    own = {**asked, "set_user_id": AS_ROOT, "files": [*ALLOWED, *OWN_LAYER]}
    then = INSIDE + THEN
    service = replace(
        api, image=image, user="", environment={}, ports=[], entrypoint=["python3", "-c", then]
    )
    service = replace(service, command=[json.dumps(own)], read_only=False)
    return SandboxSpec(new_id(), "hostile", [service], [], DISK_MB)


def network_of(bench: DockerBench, spec: SandboxSpec, service: str) -> IPv4Network:
    return IPv4Network((own_address(bench, spec, service), 28), strict=False)


def asked(
    bench: DockerBench,
    mine: IPv4Network,
    other: Sandbox,
    ports: Sequence[int],
    portal: int,
    outside: Sequence[str] = (),
) -> dict[str, Any]:
    """What the probe is to try: `mine` is the network that it is in, `ports` are open ones of this
    machine, and `outside` addresses of other machines."""
    theirs = network_of(bench, other.spec, "api")
    gateway, elsewhere = str(mine[1]), [host_address(), str(theirs[1])]
    machine = [gateway, *elsewhere]
    published = [(service, other.published(service)) for service in ("api", "db")]
    api, db = (
        [
            (own_address(bench, other.spec, service), inner),
            *((host, port) for host in machine),
        ]
        for (service, port), inner in zip(published, (8080, 5432), strict=True)
    )
    return {
        "calls": {
            "the internet": [(host, 80) for host in (*outside[:1], "1.1.1.1")],
            "the metadata address": [("169.254.169.254", 80)],
            "this machine, at its address in the network": [(gateway, p) for p in (9, *ports)],
            "this machine, at its other addresses": [
                (h, p) for h in elsewhere for p in (9, *ports)
            ],
            "the portal": [(host, portal) for host in machine],
            "the engine, by TCP": [(host, port) for host in machine for port in (2375, 2376)],
            "a neighbour's API": api,
            "a neighbour's database": db,
        },
        "datagrams": [(host, 9) for host in outside],
        "names": {
            "a name of the world": "example.com",
            "a neighbour, by its container's name": f"{other.spec.id}-api-1",
            "a neighbour, by its network's name": f"api.{other.spec.id}_default",
            "this machine, by the engine's name for it": "host.docker.internal",
        },
        "servers": ["127.0.0.11", *machine, "8.8.8.8"],
        "files": ALLOWED,
    }


def executed(bench: DockerBench, spec: SandboxSpec, service: str, what: Mapping[str, Any]) -> Found:
    """The probe as a developer's own command in a service."""
    command = ["python3", "-c", INSIDE, json.dumps(what)]
    code, output = bench.runtime.execute(spec.id, service, command, TIME_LIMIT)
    assert code == 0, output
    return told(output)


def started(bench: DockerBench, spec: SandboxSpec) -> Found:
    """The probe as an image's own process, by what it writes to its log."""
    name = spec.services[0].name
    bench.runtime.create(spec, quiet, TIME_LIMIT)
    until(lambda: '"found"' in bench.runtime.logs(spec.id, name, 5), "it was tried")
    return told(bench.runtime.logs(spec.id, name, 5))


def told(output: str) -> Found:
    line = next(line for line in output.splitlines() if line.startswith('{"found"'))
    return {name: (through, how) for name, (through, how) in json.loads(line)["found"].items()}


def through(found: Found) -> dict[str, str]:
    return {name: how for name, (got_through, how) in found.items() if got_through}


LISTEN = """
import socket, sys, threading
def answer(door):
    while True:
        door.accept()[0].close()
for host in sys.argv[1:]:
    threading.Thread(target=answer, args=(socket.create_server((host, 80)),), daemon=True).start()
door = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
door.bind(("", 9))
print("ready", flush=True)
while True:
    print(*door.recvfrom(64)[1], flush=True)
"""


class Outside:
    """A machine that this one is a router for: a stand-in for the internet and for a cloud."""

    ADDRESSES = ("203.0.113.2", "169.254.169.254")

    def __init__(self, log: Path) -> None:
        self.log = log
        self.name = f"probe{secrets.token_hex(3)}"

    def datagrams(self) -> int:
        return len(self.log.read_text().splitlines()) - 1


@contextmanager
def outside(log: Path) -> Iterator[Outside]:
    """It is gone afterwards. Needs root."""
    there = Outside(log)
    name, (address, metadata) = there.name, there.ADDRESSES
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
        listen = ["ip", "netns", "exec", name, sys.executable, "-c", LISTEN, *there.ADDRESSES]
        with log.open("w") as out, subprocess.Popen(listen, stdout=out) as process:
            until(lambda: "ready" in log.read_text(), "it is ready")
            try:
                yield there
            finally:
                process.terminate()
    finally:
        subprocess.run(["ip", "link", "del", name], check=False, capture_output=True)
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
