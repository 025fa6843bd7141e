"""Subnets of sandboxes, the host's firewall, and ports."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

from django.conf import settings

from sandboxes.core.capacity import SUBNET_ADDRESSES
from sandboxes.doctor import firewall
from sandboxes.doctor.engine import connection
from sandboxes.doctor.findings import Finding, Findings, error, ok, warning
from sandboxes.runtime import get_runtime
from sandboxes.runtime.docker.engine_info import engine_networks

ROUTES = Path("/proc/net/route")
NEARLY_FULL_SHARE = 0.9


@dataclass(frozen=True)
class Route:
    interface: str
    to: IPv4Network


def subnets() -> Findings:
    taken = get_runtime().capabilities().resources.subnets_taken
    if settings.SANDBOX_RUNTIME == "process" or taken is None:
        yield ok("Process sandboxes don't need subnets.")
        return
    yield remaining_subnets(taken, settings.SANDBOX_SUBNETS.num_addresses // SUBNET_ADDRESSES)
    if settings.SANDBOX_RUNTIME == "docker" and not _is_elsewhere():
        yield from foreign_networks(routes(), engine_networks(connection()))


def remaining_subnets(taken: int, total: int) -> Finding:
    words = f"{total - taken} of {total} subnets are free in {settings.SANDBOX_SUBNETS}."
    remedy = "Give SANDBOX_SUBNETS a larger range, or lower SANDBOX_MAX_SITE."
    if taken >= total:
        return error(words, remedy)
    return warning(words, remedy) if taken >= NEARLY_FULL_SHARE * total else ok(words)


def foreign_networks(known: Sequence[Route], engines: Sequence[IPv4Network]) -> Iterator[Finding]:
    """Find routes into SANDBOX_SUBNETS that don't belong to the engine's networks."""
    ours = settings.SANDBOX_SUBNETS
    theirs = [r for r in known if r.to.prefixlen and r.to.overlaps(ours) and r.to not in engines]
    for route in theirs:
        yield warning(
            f"This machine has a route to {route.to} ({route.interface}), which overlaps with "
            f"SANDBOX_SUBNETS, {ours}: one of them is unreachable.",
            "Give SANDBOX_SUBNETS a private range that nothing else uses.",
        )
    if not theirs:
        yield ok("No other route of this machine overlaps with SANDBOX_SUBNETS.")


def routes(file: Path = ROUTES) -> list[Route]:
    rows = [line.split() for line in file.read_text().splitlines()[1:]]
    return [Route(row[0], IPv4Network((_address(row[1]), _address(row[7])))) for row in rows]


def _address(word: str) -> str:
    """Parse an address as the kernel writes it: hexadecimal, in reverse byte order."""
    return str(ipaddress.IPv4Address(bytes.fromhex(word)[::-1]))


def _is_elsewhere() -> bool:
    """Return whether the engine runs on another machine, whose host can't be checked from here."""
    return bool(settings.DOCKER_HOST) and not settings.DOCKER_HOST.startswith("unix://")


def host_reachability() -> Findings:
    """Check from a test sandbox whether the engine's host is reachable."""
    if settings.SANDBOX_RUNTIME != "docker":
        yield ok("No Docker engine is used.")
        return
    found = firewall.check_firewall()
    if found.is_closed is None:
        yield warning(found.message, "Fix the findings on the engine and its images first.")
    else:
        yield ok(found.message) if found.is_closed else warning(found.message, found.remedy)


def ports() -> Findings:
    """Check that ports can be published on SANDBOX_BIND_ADDRESS."""
    address = settings.SANDBOX_BIND_ADDRESS
    if _is_elsewhere():
        yield ok(f"{address} belongs to the engine's host, which is another machine.")
        return
    kind = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(kind) as probe:
            probe.bind((address, 0))
    except OSError as exc:
        words = f"Can't publish ports on SANDBOX_BIND_ADDRESS ({address}): {exc.strerror}."
        yield error(words, "Set it to an address of this machine, 127.0.0.1, or 0.0.0.0 for all.")
        return
    yield ok(f"Ports can be published on {address}.")
