"""What keeps sandboxes from the machine that they run on, and whether it is in force.

A bridge has an address of the engine's machine in it, without which no caller could be answered. So
a service could also call there: whatever listens on every address, the portal or sshd. Only that
machine's firewall can tell an answer from a call, and only its operator may change it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Network

from django.conf import settings

from sandboxes import blueprints
from sandboxes.runtime import RuntimeFailure, SandboxSpec, ServiceSpec, get_runtime

METADATA = IPv4Network("169.254.0.0/16")
"""Where clouds tell a machine its secrets."""
NEW_CONNECTIONS = "-m conntrack ! --ctstate ESTABLISHED,RELATED"
PROBE_SECONDS = 20.0
FIREWALL_REMEDY = "Run `manage.py print_firewall | sudo sh`, and have it run at every start."

WAIT_SCRIPT = "import time; time.sleep(60)"
PROBE_SCRIPT = """
import errno, select, socket, struct, sys
for line in open("/proc/net/route").readlines()[1:]:
    if target := int(line.split()[1], 16):
        host = socket.inet_ntoa(struct.pack("<L", target + (1 << 24)))
doors = {}
for port in map(int, sys.argv[1:]):
    door = socket.socket()
    door.setblocking(False)
    door.connect_ex((host, port))
    doors[door] = port
waiting = list(doors)
while waiting:
    _, told, _ = select.select([], waiting, [], 1)
    if not told:
        break
    for door in told:
        waiting.remove(door)
        error = door.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error in (0, errno.ECONNREFUSED):
            print(doors[door], "refused" if error else "open")
print("done")
"""
"""Calls the first address of its subnet, where the engine's machine is. A refusal is an answer, so
it tells as much as a port that is open: nothing stands between."""
PROBED_PORTS = (9, 22, 80, 111, 443, 2375, 2376, 5432, 6379, 8000, 9100)


@dataclass(frozen=True)
class FirewallStatus:
    """Whether sandboxes are kept from the engine's machine; None: it can't be told."""

    is_closed: bool | None
    message: str
    remedy: str = ""


def rules(flavour: str = "iptables", *, undo: bool = False) -> str:
    """A script for `sh` that brings the rules into force or takes them away; may be repeated.

    `flavour`: `iptables` (what the engine itself uses) or `nftables`.
    """
    egress = any(one.egress for one in blueprints.available().values())
    lines = {"iptables": _iptables, "nftables": _nftables}[flavour]
    return "\n".join(lines(settings.SANDBOX_SUBNETS, egress, undo)) + "\n"


def _iptables(subnets: IPv4Network, egress: bool, undo: bool) -> Iterator[str]:
    yield "set -e"
    yield f"# Sandboxes ({subnets}) answer, and call neither this machine nor others through it."
    yield from _jump("INPUT", f"-s {subnets} {NEW_CONNECTIONS}", undo)
    # On the way to another sandbox the engine's own rules stand.
    beyond = METADATA if egress else f"{subnets}"
    unless = "" if egress else "! "
    if not undo:
        # Where the engine was not started yet.
        yield "iptables -w -N DOCKER-USER 2>/dev/null || true"
    yield from _jump("DOCKER-USER", f"-s {subnets} {unless}-d {beyond} {NEW_CONNECTIONS}", undo)


def _jump(chain: str, match: str, undo: bool) -> Iterator[str]:
    there = f"iptables -w -C {chain} {match} -j DROP 2>/dev/null"
    if undo:
        yield f"while {there}; do iptables -w -D {chain} {match} -j DROP; done"
    else:
        yield f"{there} || iptables -w -I {chain} {match} -j DROP"


def _nftables(subnets: IPv4Network, egress: bool, undo: bool) -> Iterator[str]:
    table = "inet sandboxportal_" + str(subnets).replace(".", "_").replace("/", "_")
    beyond = f"{METADATA}" if egress else f"!= {subnets}"
    calls = "ct state != { established, related } drop"
    yield "nft -f - <<'END'"
    yield f"# Sandboxes ({subnets}) answer, and call neither this machine nor others through it."
    # One that is not there can't be deleted, so it is made first.
    yield f"table {table}"
    yield f"delete table {table}"
    if not undo:
        yield f"table {table} {{"
        for hook, match in (("input", ""), ("forward", f"ip daddr {beyond} ")):
            yield f"  chain {hook} {{"
            yield f"    type filter hook {hook} priority filter - 1; policy accept;"
            yield f"    ip saddr {subnets} {match}{calls}"
            yield "  }"
        yield "}"
    yield "END"


def check_firewall() -> FirewallStatus:
    """Have a container of a sandbox's own kind call the engine's machine, and say what came of it.

    Takes about three seconds. Asks the engine.
    """
    if settings.SANDBOX_RUNTIME == "process":
        return FirewallStatus(
            None, "Sandboxes are processes of this machine, with no isolation at all."
        )
    try:
        answers = _probe()
    except RuntimeFailure as exc:
        return FirewallStatus(
            None, f"Whether sandboxes reach the engine's machine can't be told: {exc}"
        )
    if not answers:
        return FirewallStatus(True, "Sandboxes don't reach the engine's machine.")
    ports = ", ".join(port for port, how in answers if how == "open")
    which = f"among them the open ports {ports}" if ports else "none of those tried is open"
    words = (
        f"Sandboxes reach ports of the engine's machine at its address in their network, {which}."
    )
    return FirewallStatus(False, words, FIREWALL_REMEDY)


def _probe() -> list[tuple[str, str]]:
    """The ports that answered, and how. Raises RuntimeFailure."""
    images = blueprints.load(settings.SANDBOX_DEFAULT_BLUEPRINT).images
    for number, image in enumerate(images, 1):
        try:
            return _probe_from(image)
        except RuntimeFailure:
            # There may be no Python in it.
            if number == len(images):
                raise
    return []


def _probe_from(image: str) -> list[tuple[str, str]]:
    runtime, spec = get_runtime(), probe_spec(image)
    command = ["python3", "-c", PROBE_SCRIPT, *map(str, PROBED_PORTS)]
    try:
        runtime.create(spec, lambda _: None, PROBE_SECONDS)
        code, output = runtime.execute(spec.id, "trial", command, PROBE_SECONDS)
    finally:
        with suppress(RuntimeFailure):
            runtime.destroy(spec.id)
    *answered, last = output.splitlines() or [""]
    if code or last != "done":
        raise RuntimeFailure(f"The trial ended with exit code {code}.")
    return [(port, how) for port, how in map(str.split, answered)]


def probe_spec(image: str) -> SandboxSpec:
    """A sandbox of one small service that waits to be told what to do."""
    wait = ["python3", "-c", WAIT_SCRIPT]
    service = ServiceSpec(
        "trial", image, 64, 0.5, 16, entrypoint=wait, user="65534:65534", read_only=True
    )
    return SandboxSpec(f"trial-{secrets.token_hex(4)}", "trial", [service], [], disk_mb=64)
