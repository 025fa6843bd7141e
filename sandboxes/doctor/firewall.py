"""Firewall rules that keep sandboxes from reaching the engine's host, and a test of them.

The host has an address in each sandbox's bridge network, which it needs to reply to clients. A
sandbox can therefore connect to anything that listens on all addresses, such as the portal or
sshd. Only the host's firewall can distinguish replies from new connections, and only its operator
may change it.
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
from sandboxes.runtime.docker import networks

METADATA = IPv4Network("169.254.0.0/16")
"""Metadata services of clouds, which return secrets of the machine."""
NEW_CONNECTIONS = "-m conntrack ! --ctstate ESTABLISHED,RELATED"
MAX_CONNECTIONS = 512
"""Connections that one sandbox with egress may have to other networks at a time."""
PROBE_SECONDS = 20.0
FIREWALL_REMEDY = "Run `manage.py print_firewall | sudo sh`, and run it again at every boot."

WAIT_SCRIPT = "import time; time.sleep(60)"
PROBE_SCRIPT = """
import errno, select, socket, struct, sys
for line in open("/proc/net/route").readlines()[1:]:
    if target := int(line.split()[1], 16):
        host = socket.inet_ntoa(struct.pack("<L", target + (1 << 24)))
ports = {}
for port in map(int, sys.argv[1:]):
    client = socket.socket()
    client.setblocking(False)
    client.connect_ex((host, port))
    ports[client] = port
waiting = list(ports)
while waiting:
    _, ready, _ = select.select([], waiting, [], 1)
    if not ready:
        break
    for client in ready:
        waiting.remove(client)
        error = client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error in (0, errno.ECONNREFUSED):
            print(ports[client], "refused" if error else "open")
print("done")
"""
"""Connects to the first address of the subnet, which is the engine's host. A refused connection
is a response, too, and shows that no firewall drops packets."""
PROBED_PORTS = (9, 22, 80, 111, 443, 2375, 2376, 5432, 6379, 8000, 9100)


@dataclass(frozen=True)
class FirewallStatus:
    """Whether sandboxes can't reach the engine's host; None if it is unknown."""

    is_closed: bool | None
    message: str
    remedy: str = ""


def rules(flavour: str = "iptables", *, undo: bool = False) -> str:
    """Return a script for `sh` that adds or removes the rules; it is safe to re-run.

    `flavour`: `iptables` (as the engine itself uses) or `nftables`.
    """
    egress = any(one.egress for one in blueprints.available().values())
    lines = {"iptables": _iptables, "nftables": _nftables}[flavour]
    return "\n".join(lines(settings.SANDBOX_SUBNETS, egress, undo)) + "\n"


def _iptables(subnets: IPv4Network, egress: bool, undo: bool) -> Iterator[str]:
    yield "set -e"
    yield f"# Sandboxes ({subnets}) may reply, but can't connect to this host or through it."
    yield from _jump("INPUT", f"-s {subnets} {NEW_CONNECTIONS}", undo)
    # Between sandboxes, the engine's own rules apply.
    beyond = METADATA if egress else f"{subnets}"
    unless = "" if egress else "! "
    if not undo:
        # The chain doesn't exist before the engine's first start.
        yield "iptables -w -N DOCKER-USER 2>/dev/null || true"
    yield from _jump("DOCKER-USER", f"-s {subnets} {unless}-d {beyond} {NEW_CONNECTIONS}", undo)
    if egress or undo:
        yield f"# A sandbox has at most {MAX_CONNECTIONS} connections to other networks."
        limit = f"--connlimit-above {MAX_CONNECTIONS} --connlimit-mask {networks.PREFIX}"
        match = f"-s {subnets} -m conntrack --ctstate NEW -m connlimit {limit}"
        yield from _jump("DOCKER-USER", match, undo)
    yield "# Packets between the services of a sandbox need no entries in the connection table."
    match = f"-s {subnets} -d {subnets} -m addrtype ! --dst-type LOCAL"
    yield from _jump("PREROUTING -t raw", match, undo, "CT --notrack")


def _jump(chain: str, match: str, undo: bool, target: str = "DROP") -> Iterator[str]:
    is_present = f"iptables -w -C {chain} {match} -j {target} 2>/dev/null"
    if undo:
        yield f"while {is_present}; do iptables -w -D {chain} {match} -j {target}; done"
    else:
        yield f"{is_present} || iptables -w -I {chain} {match} -j {target}"


def _nftables(subnets: IPv4Network, egress: bool, undo: bool) -> Iterator[str]:
    table = "inet sandboxportal_" + str(subnets).replace(".", "_").replace("/", "_")
    beyond = f"{METADATA}" if egress else f"!= {subnets}"
    calls = "ct state != { established, related } drop"
    yield "nft -f - <<'END'"
    yield f"# Sandboxes ({subnets}) may reply, but can't connect to this host or through it."
    # Create the table first, since deleting a missing one fails.
    yield f"table {table}"
    yield f"delete table {table}"
    if not undo:
        yield f"table {table} {{"
        for hook, match in (("input", ""), ("forward", f"ip daddr {beyond} ")):
            yield f"  chain {hook} {{"
            yield f"    type filter hook {hook} priority filter - 1; policy accept;"
            yield f"    ip saddr {subnets} {match}{calls}"
            if egress and hook == "forward":
                yield f"    ip saddr {subnets} ct state new {_nft_limit()}"
            yield "  }"
        # Packets between the services of a sandbox take no space in the connection table.
        yield "  chain untracked {"
        yield "    type filter hook prerouting priority raw; policy accept;"
        yield f"    ip saddr {subnets} ip daddr {subnets} fib daddr type != local notrack"
        yield "  }"
        if egress:
            yield "  set connections { type ipv4_addr; size 65535; flags dynamic; }"
        yield "}"
    yield "END"


def _nft_limit() -> str:
    mask = IPv4Network((0, networks.PREFIX)).netmask
    return f"add @connections {{ ip saddr & {mask} ct count over {MAX_CONNECTIONS} }} drop"


def check_firewall() -> FirewallStatus:
    """Test from a container like a sandbox's whether the engine's host is reachable.

    Takes about three seconds. Calls the engine.
    """
    if settings.SANDBOX_RUNTIME == "process":
        return FirewallStatus(None, "Sandboxes are processes of this machine, without isolation.")
    try:
        responses = _probe()
    except RuntimeFailure as exc:
        return FirewallStatus(None, f"Can't test whether sandboxes reach the engine's host: {exc}")
    if not responses:
        return FirewallStatus(True, "Sandboxes can't reach the engine's host.")
    ports = ", ".join(port for port, how in responses if how == "open")
    which = f"open ports: {ports}" if ports else "though no tested port is open"
    words = f"Sandboxes can reach the engine's host at its address in their network ({which})."
    return FirewallStatus(False, words, FIREWALL_REMEDY)


def _probe() -> list[tuple[str, str]]:
    """Return the ports that responded, and how. Raises RuntimeFailure."""
    images = blueprints.load(settings.SANDBOX_DEFAULT_BLUEPRINT).images
    for number, image in enumerate(images, 1):
        try:
            return _probe_from(image)
        except RuntimeFailure:
            # The image may not contain Python.
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
    *responses, last = output.splitlines() or [""]
    if code or last != "done":
        raise RuntimeFailure(f"The probe failed with exit code {code}.")
    return [(port, how) for port, how in map(str.split, responses)]


def probe_spec(image: str) -> SandboxSpec:
    """Return the spec of a sandbox with one small service that sleeps."""
    wait = ["python3", "-c", WAIT_SCRIPT]
    service = ServiceSpec(
        "trial", image, 64, 0.5, 16, entrypoint=wait, user="65534:65534", read_only=True
    )
    return SandboxSpec(f"trial-{secrets.token_hex(4)}", "trial", [service], [], disk_mb=64)
