"""A small bridge network for each sandbox, with a subnet of the portal's own range.

The engine's address pools hold only about 30 networks, so it never chooses the subnet.
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
"""16 addresses: the engine takes three and the portal one, which leaves twelve for services."""
MAX_ATTEMPTS = 64
"""Attempts before a conflict with parallel launches is ruled out as the cause."""
ALREADY_EXISTS_MESSAGES = ("already exists", "same bridge name")
"""In the engine's errors; the second while it creates a network of the same name."""
BRIDGE_OPTION = "com.docker.network.bridge.name"


@dataclass(frozen=True)
class Networks:
    """The networks of one portal.

    With `block_default_route`, services without egress have no route to other networks.
    """

    engine: EngineClient
    names: Names
    subnets: IPv4Network
    block_default_route: bool

    def ensure(self, spec: SandboxSpec) -> None:
        """Create the sandbox's network unless it exists.

        Raises CapacityExhausted, EngineRefused, EngineUnreachable.
        """
        if any(self._create(spec, subnet) for subnet in self._candidates(spec.id)):
            return
        raise CapacityExhausted(
            f"All subnets for sandboxes ({self.subnets}) are in use; "
            "try again when a sandbox has ended."
        )

    def find(self, sandbox_id: str) -> str:
        """Return the ID of the sandbox's network; empty if there is none.

        Raises EngineUnreachable.
        """
        name = self.names.network(sandbox_id)
        with self.engine.calling("list the networks") as client:
            rows = client.networks(filters=self.names.filters(sandbox_id))
        return next((str(row["Id"]) for row in rows if row["Name"] == name), "")

    def count_taken(self) -> int:
        """Return how many of our subnets are in use by any network. Raises EngineUnreachable."""
        with self.engine.calling("list the networks") as client:
            present = client.networks()
        return len({number for used in in_use(present) for number in self._numbers(used)})

    def _candidates(self, sandbox_id: str) -> Iterator[IPv4Network]:
        """Yield a subnet that depends on the sandbox's ID, then others that are free.

        The first is usually free, and the engine reports if it isn't. Only then are the networks
        listed.
        """
        count = 1 << max(0, PREFIX - self.subnets.prefixlen)
        start = int.from_bytes(hashlib.sha256(sandbox_id.encode()).digest()[:8]) % count
        yield self._subnet(start)
        with self.engine.calling("list the networks") as client:
            taken = {number for used in in_use(client.networks()) for number in self._numbers(used)}
        free = ((start + step) % count for step in range(1, count))
        candidates = (number for number in free if number not in taken)
        for number, _ in zip(candidates, range(MAX_ATTEMPTS), strict=False):
            yield self._subnet(number)

    def _subnet(self, number: int) -> IPv4Network:
        size = 1 << (32 - PREFIX)
        return IPv4Network((int(self.subnets.network_address) + number * size, PREFIX))

    def _numbers(self, used: IPv4Network) -> range:
        """Return the numbers of our subnets that overlap with `used`."""
        if not used.overlaps(self.subnets):
            return range(0)
        base, size = int(self.subnets.network_address), 1 << (32 - PREFIX)
        first = max(int(used.network_address), base)
        last = min(int(used.broadcast_address), int(self.subnets.broadcast_address))
        return range((first - base) // size, (last - base) // size + 1)

    def _create(self, spec: SandboxSpec, subnet: IPv4Network) -> bool:
        """Return whether the network exists now; if not, another network has the subnet."""
        with self.engine.calling("create the sandbox's network") as client:
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
                return self._handle_rejection(spec, error)
        return True

    def _handle_rejection(self, spec: SandboxSpec, error: APIError) -> bool:
        text = error_message(error)
        if "overlaps" in text:
            return False
        if any(message in text for message in ALREADY_EXISTS_MESSAGES) and self._is_ours(spec):
            # Another worker created it, or an earlier attempt whose response was lost.
            return True
        raise translate_error(error, "create the sandbox's network") from error

    def _is_ours(self, spec: SandboxSpec) -> bool:
        """Return whether the network of that name belongs to the sandbox."""
        name, filters = self.names.network(spec.id), self.names.filters(spec.id)

        def find_own() -> list[dict[str, Any]]:
            with self.engine.calling("list the networks") as client:
                return [row for row in client.networks(filters=filters) if row["Name"] == name]

        return bool(wait_until_visible(find_own))

    def _options(self, spec: SandboxSpec) -> dict[str, str]:
        return {
            BRIDGE_OPTION: self.names.bridge(spec.id),
            "com.docker.network.bridge.enable_ip_masquerade": "true" if spec.egress else "false",
        }

    def _addresses(self, spec: SandboxSpec, subnet: IPv4Network) -> IPAMPool:
        # Without masquerading, packets still leave the host, from an address that gets no
        # responses. A default gateway that doesn't exist stops them earlier.
        key = "DefaultGatewayIPv4" if self.block_default_route and not spec.egress else "unused"
        aux = {key: str(unused_address(subnet))}
        return IPAMPool(subnet=str(subnet), gateway=str(subnet[1]), aux_addresses=aux)


def unused_address(subnet: IPv4Network) -> IPv4Address:
    """Return the address of the subnet that no service gets."""
    return subnet[-2]


def in_use(present: Sequence[dict[str, Any]]) -> Iterator[IPv4Network]:
    """Yield the IPv4 subnets of the networks in one of the engine's lists."""
    for row in present:
        for config in (row.get("IPAM") or {}).get("Config") or ():
            subnet = ipaddress.ip_network(config.get("Subnet") or "::/128", strict=False)
            if isinstance(subnet, IPv4Network):
                yield subnet
