"""One small bridge network for one sandbox, with a subnet out of our own range.

The engine's own address pools hold about 30 networks, so it is never left to choose.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from docker.errors import APIError
from docker.types import IPAMConfig, IPAMPool

from sandboxes.runtime import CapacityExhausted, SandboxSpec
from sandboxes.runtime.docker.client import (
    EngineClient,
    error_message,
    translate_error,
    wait_until_visible,
)
from sandboxes.runtime.docker.names import Names

PREFIX = 28
"""16 addresses: the engine takes three, we one, so a sandbox may have up to twelve services."""
MAX_ATTEMPTS = 64
"""Refusals after which something else is wrong than a neighbour who was faster."""
ALREADY_EXISTS_MESSAGES = ("already exists", "same bridge name")
"""In the engine's refusals; the latter when it is making one of that name at this very moment."""
BRIDGE_OPTION = "com.docker.network.bridge.name"


@dataclass(frozen=True)
class Networks:
    """The networks of one portal. `dead_end`: give services without egress no way out at all."""

    engine: EngineClient
    names: Names
    subnets: IPv4Network
    dead_end: bool

    def ensure(self, spec: SandboxSpec) -> None:
        """Create the sandbox's network unless it exists.

        Raises CapacityExhausted, EngineRefused, EngineUnreachable.
        """
        if any(self._make(spec, subnet) for subnet in self._candidates(spec.id)):
            return
        raise CapacityExhausted(
            f"All subnets that sandboxes may use ({self.subnets}) are taken; "
            "try again when a sandbox has ended."
        )

    def taken(self) -> int:
        """How many of our subnets are in use, by anybody's network. Raises EngineUnreachable."""
        with self.engine.calling("list the networks") as client:
            present = client.networks()
        return len({number for used in in_use(present) for number in self._numbers(used)})

    def _candidates(self, sandbox_id: str) -> Iterator[IPv4Network]:
        """A place that differs from sandbox to sandbox; from there on, those that no network has.

        The first is most often free, and the engine says so when it is not: only then is it asked
        which networks there are.
        """
        count = 1 << max(0, PREFIX - self.subnets.prefixlen)
        start = int.from_bytes(hashlib.sha256(sandbox_id.encode()).digest()[:8]) % count
        yield self._subnet(start)
        with self.engine.calling("list the networks") as client:
            taken = {number for used in in_use(client.networks()) for number in self._numbers(used)}
        free = ((start + step) % count for step in range(1, count))
        tries = (number for number in free if number not in taken)
        for number, _ in zip(tries, range(MAX_ATTEMPTS), strict=False):
            yield self._subnet(number)

    def _subnet(self, number: int) -> IPv4Network:
        size = 1 << (32 - PREFIX)
        return IPv4Network((int(self.subnets.network_address) + number * size, PREFIX))

    def _numbers(self, used: IPv4Network) -> range:
        """The numbers of those of our subnets that overlap with `used`."""
        if not used.overlaps(self.subnets):
            return range(0)
        base, size = int(self.subnets.network_address), 1 << (32 - PREFIX)
        first = max(int(used.network_address), base)
        last = min(int(used.broadcast_address), int(self.subnets.broadcast_address))
        return range((first - base) // size, (last - base) // size + 1)

    def _make(self, spec: SandboxSpec, subnet: IPv4Network) -> bool:
        """Whether the network is there now; if not, the subnet belongs to another."""
        with self.engine.calling("make the sandbox's network") as client:
            try:
                client.create_network(
                    self.names.network(spec.id),
                    driver="bridge",
                    check_duplicate=True,
                    attachable=False,
                    labels=self.names.network_labels(spec),
                    options=self._options(spec),
                    ipam=IPAMConfig(pool_configs=[self._addresses(spec, subnet)]),
                )
            except APIError as error:
                return self._after_refusal(spec, error)
        return True

    def _after_refusal(self, spec: SandboxSpec, error: APIError) -> bool:
        words = error_message(error)
        if "overlaps" in words:
            return False
        if any(sign in words for sign in ALREADY_EXISTS_MESSAGES) and self._is_ours(spec):
            # Another worker's, or of an earlier try, whose answer may have been lost.
            return True
        raise translate_error(error, "make the sandbox's network") from error

    def _is_ours(self, spec: SandboxSpec) -> bool:
        """Whether the network of that name is the sandbox's."""
        name = self.names.network(spec.id)

        def of_that_name() -> list[dict[str, Any]]:
            with self.engine.calling("list the networks") as client:
                return [row for row in client.networks(names=[name]) if row["Name"] == name]

        return any(self.names.owns(row, spec.id) for row in wait_until_visible(of_that_name))

    def _options(self, spec: SandboxSpec) -> dict[str, str]:
        return {
            BRIDGE_OPTION: self.names.bridge(spec.id),
            "com.docker.network.bridge.enable_ip_masquerade": "true" if spec.egress else "false",
        }

    def _addresses(self, spec: SandboxSpec, subnet: IPv4Network) -> IPAMPool:
        # Without masquerading packets still leave the host, only with an address that nobody
        # answers to. A default gateway that does not exist stops them before that.
        use = "DefaultGatewayIPv4" if self.dead_end and not spec.egress else "nobody"
        aux = {use: str(unused_address(subnet))}
        return IPAMPool(subnet=str(subnet), gateway=str(subnet[1]), aux_addresses=aux)


def unused_address(subnet: IPv4Network) -> IPv4Address:
    """The address of the subnet that is given to no one."""
    return subnet[-2]


def in_use(present: Sequence[dict[str, Any]]) -> Iterator[IPv4Network]:
    """The IPv4 subnets of the networks in one of the engine's lists."""
    for row in present:
        for config in (row.get("IPAM") or {}).get("Config") or ():
            subnet = ipaddress.ip_network(config.get("Subnet") or "::/128", strict=False)
            if isinstance(subnet, IPv4Network):
                yield subnet
