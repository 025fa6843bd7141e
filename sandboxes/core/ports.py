"""Host ports of sandboxes: chosen by the portal, and reserved until the sandbox has ended.

A saved address therefore never leads to another developer's sandbox.
Ports are chosen in turn (`sandboxes.runtime.port_rotation`), so one that was freed isn't soon used
again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from django.conf import settings
from django.db import IntegrityError, transaction

from sandboxes.models import ReservedPort, Sandbox
from sandboxes.runtime import CapacityExhausted, HostPorts
from sandboxes.runtime.port_rotation import HOST_PORTS, PORTS_PER_SANDBOX, candidate

MAX_ATTEMPTS = 10
"""How often ports are chosen again because another worker has reserved one of them."""


def reserve(sandbox: Sandbox, published: Mapping[str, Sequence[int]]) -> HostPorts:
    """Return the host ports of the published ports of each service; reserve those it lacks.

    Raises CapacityExhausted.
    """
    wanted = [(service, port) for service, ports in published.items() for port in ports]
    for _ in range(MAX_ATTEMPTS):
        reserved = reserved_ports(sandbox)
        missing = [key for key in wanted if key not in reserved]
        if not missing:
            return _by_service(reserved)
        free = _free_ports(sandbox)
        rows = [
            ReservedPort(
                sandbox=sandbox,
                service=service,
                target=target,
                address=sandbox.engine.published_on,
                port=port,
            )
            # Not strict: there are more free ports than missing ones, or too few.
            for (service, target), port in zip(missing, free, strict=False)
        ]
        if len(rows) < len(missing):
            break
        try:
            with transaction.atomic():
                ReservedPort.objects.bulk_create(rows)
        except IntegrityError:
            continue  # Another worker was faster.
    raise CapacityExhausted("All ports for sandboxes are in use; try again when one has ended.")


def replace(sandbox: Sandbox, service: str, published: Mapping[str, Sequence[int]]) -> HostPorts:
    """Give a service other ports, since a program outside of the portal uses one of its own.

    Raises CapacityExhausted.
    """
    with transaction.atomic():
        former = ReservedPort.objects.filter(sandbox=sandbox, service=service)
        unusable = set(former.values_list("port", flat=True))
        free = (port for port in _free_ports(sandbox) if port not in unusable)
        for row in former:
            if (port := next(free, None)) is None:
                raise CapacityExhausted("All ports for sandboxes are in use.")
            row.port = port
            row.save(update_fields=["port"])
    return reserve(sandbox, published)


def release(sandbox: Sandbox) -> None:
    """Free the ports of a sandbox that has ended."""
    ReservedPort.objects.filter(sandbox=sandbox).delete()


def reserved_ports(sandbox: Sandbox) -> dict[tuple[str, int], int]:
    """Return the host port of each published port, by service and port."""
    rows = ReservedPort.objects.filter(sandbox=sandbox).values_list("service", "target", "port")
    return {(service, target): port for service, target, port in rows}


def _by_service(reserved: Mapping[tuple[str, int], int]) -> HostPorts:
    found: dict[str, dict[int, int]] = defaultdict(dict)
    for (service, target), port in reserved.items():
        found[service][target] = port
    return dict(found)


def _free_ports(sandbox: Sandbox) -> Iterator[int]:
    """Yield all ports that no sandbox has, those whose turn it is first."""
    ports = settings.SANDBOX_PORTS or HOST_PORTS
    rows = ReservedPort.objects.filter(address=sandbox.engine.published_on)
    taken = set(rows.values_list("port", flat=True))
    own_turn, rest = range(PORTS_PER_SANDBOX), range(PORTS_PER_SANDBOX, len(ports))
    # After its own turn, half a round away: those ports were in use as long ago as possible.
    half = len(ports) // 2
    for position in chain(own_turn, (each + half for each in rest), rest):
        port = candidate(ports, settings.SANDBOX_INSTANCE, sandbox.pk, position)
        if port not in taken:
            taken.add(port)
            yield port
