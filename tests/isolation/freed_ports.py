"""Clients that go on using an address after its sandbox or service has ended."""

from __future__ import annotations

from sandboxes.runtime.port_rotation import candidate
from tests.bench.http_client import HttpClient
from tests.harness.runtimes import DockerHarness
from tests.isolation.containers import (
    BillingSandbox,
    Outcome,
    Outcomes,
    create_billing_sandbox,
)

FEW_PORTS = range(20_000, 20_032)
"""With so few ports, almost any order but taking turns gives a freed one to another sandbox."""
LATER_SANDBOXES = 5


def reach_strangers(harness: DockerHarness) -> Outcomes:
    """Send a key to the address of an ended sandbox, and of a stopped service, while others start.

    An attempt is successful if anything accepts the connection.
    """
    return {
        "send a key to the port of an ended sandbox": _try(harness, 1, stop_only=False),
        "send a key to the port of a stopped service": _try(harness, 101, stop_only=True),
    }


def _create(harness: DockerHarness, number: int) -> BillingSandbox:
    """Create a sandbox with the ports whose turn it is."""
    api, database = (candidate(FEW_PORTS, harness.instance, number, each) for each in (0, 1))
    return create_billing_sandbox(harness, host_ports={"api": {8080: api}, "db": {5432: database}})


def _try(harness: DockerHarness, number: int, *, stop_only: bool) -> Outcome:
    first = _create(harness, number)
    port = first.host_port("api")
    if stop_only:
        harness.client.stop(f"{first.spec.id}-api-1", timeout=1)
    else:
        harness.runtime.destroy(first.spec.id)
    for later in range(number + 1, number + 1 + LATER_SANDBOXES):
        stranger = _create(harness, later)
        client = HttpClient("127.0.0.1", port, timeout=5, Authorization=f"Bearer {first.key}")
        try:
            status = client.get("/v1/plans").status
        except OSError:
            status = 0
        harness.runtime.destroy(stranger.spec.id)
        if status:
            return True, f"status {status} after {later - number} others"
    return False, f"nothing accepts it while {LATER_SANDBOXES} others start"
