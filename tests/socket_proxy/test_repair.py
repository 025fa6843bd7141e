"""Repairs of sandboxes through the proxy."""

from __future__ import annotations

import pytest

from tests.harness.runtimes import fetch_page
from tests.helpers.engine_faults import (
    FAULTS,
    READ,
    RepairedSandbox,
    container,
    find_fault,
    repair,
)
from tests.socket_proxy.harness import ProxiedHarness

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.usefixtures("impatient")]

PORTAL_FAULTS = ("paused", "disconnected", "without its network", "in another network", "hanging")


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(fault, marks=pytest.mark.exhaustive) if fault == "hanging" else fault
        for fault in PORTAL_FAULTS
    ],
)
def test_a_fault_is_repaired_through_the_proxy(
    proxied: ProxiedHarness, sandbox: RepairedSandbox, fault: str
) -> None:
    spec = sandbox.healthy()
    assert find_fault(proxied, spec) is None
    FAULTS[fault][0](proxied, spec)
    assert find_fault(proxied, spec)

    done = repair(proxied, spec)

    assert find_fault(proxied, spec) is None
    fetch_page(done.facts)
    assert proxied.runtime.execute(spec.id, "store", READ, 5) == (0, "kept\n")


def test_stopped_containers_get_a_new_network_through_the_proxy(
    proxied: ProxiedHarness, sandbox: RepairedSandbox
) -> None:
    spec = sandbox.healthy()
    for service in ("web", "store"):
        proxied.client.stop(container(spec, service), timeout=0)
    proxied.client.remove_network(f"{spec.id}_default")

    fetch_page(repair(proxied, spec).facts)
    assert proxied.runtime.execute(spec.id, "store", READ, 5) == (0, "kept\n")


def test_a_container_can_only_be_connected_to_the_network_of_its_sandbox(
    proxied: ProxiedHarness, sandbox: RepairedSandbox
) -> None:
    mine = sandbox.healthy()
    other, _ = proxied.create()
    web, network = container(mine, "web"), f"{mine.id}_default"
    aliases = {"Aliases": ["web"]}
    for name, body in (
        (f"{other.id}_default", {"Container": web, "EndpointConfig": aliases}),
        ("bridge", {"Container": web, "EndpointConfig": aliases}),
        ("host", {"Container": web, "EndpointConfig": aliases}),
        (network, {"Container": container(other, "web"), "EndpointConfig": aliases}),
        (network, {"Container": web, "EndpointConfig": {"Aliases": ["store"]}}),
        (
            network,
            {"Container": web, "EndpointConfig": {"Aliases": ["web"], "IPAddress": "1.2.3.4"}},
        ),
        (network, {"Container": web, "EndpointConfig": {"Aliases": ["web"], "Links": ["x:y"]}}),
        (network, {"Container": web}),
        (network, None),
    ):
        assert proxied.ask("POST", f"/networks/{name}/connect", body)[0] == 403, (name, body)
