"""Recreations and marks of claims through the proxy."""

from __future__ import annotations

import pytest

from tests.harness.runtimes import TIME_LIMIT, fetch_page, ignore_step
from tests.helpers.engine_faults import RepairedSandbox, container
from tests.socket_proxy.harness import ProxiedHarness

pytestmark = [pytest.mark.engine, pytest.mark.slow]


def test_services_are_recreated_through_the_proxy(
    proxied: ProxiedHarness, sandbox: RepairedSandbox
) -> None:
    spec = sandbox.healthy()
    before = proxied.runtime.observe()[spec.id]
    after = proxied.runtime.recreate(spec, ignore_step, TIME_LIMIT)
    assert after.services == before.services
    fetch_page(after)


def test_a_claim_is_marked_through_the_proxy(
    proxied: ProxiedHarness, sandbox: RepairedSandbox
) -> None:
    spec = sandbox.healthy()
    assert proxied.runtime.mark_claimed(spec.id, "1 now") == "1 now"
    assert proxied.runtime.observe()[spec.id].claim == "1 now"


def test_no_other_names_ports_and_volumes_are_allowed(
    proxied: ProxiedHarness, sandbox: RepairedSandbox
) -> None:
    spec = sandbox.healthy()
    web = container(spec, "web")
    for name in ("x", f"{spec.id}-store-previous", f"{spec.id}-web-2", "", "sbx_other-web-1"):
        assert proxied.ask("POST", f"/containers/{web}/rename?name={name}")[0] == 403, name
    labels = {
        "sandboxportal.instance": proxied.instance,
        "sandboxportal.sandbox": spec.id,
    }
    volume = {"Name": f"{spec.id}_claimed", "Labels": labels}
    bind = {"type": "none", "o": "bind", "device": "/"}
    for change in (
        {"Name": "data"},
        {"Name": "sbx_other_claimed"},
        {"Driver": "nfs"},
        {"DriverOpts": bind},
        {"Labels": labels | {"sandboxportal.instance": "other"}},
        {"Labels": None},
    ):
        assert proxied.ask("POST", "/volumes/create", volume | change)[0] == 403, change
