"""Host ports are reserved for a sandbox until it has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.db import IntegrityError, transaction

from sandboxes.core import lifecycle, ports
from sandboxes.models import EndReason, ReservedPort, State
from sandboxes.runtime import CapacityExhausted, PortTaken
from sandboxes.worker import provisioning, teardown
from tests.helpers.scenarios import launch, reload, request, sweep

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from pytest_django.fixtures import SettingsWrapper

    from sandboxes.runtime.memory import MemoryRuntime
    from tests.conftest import Clock

pytestmark = pytest.mark.django_db


def test_a_sandbox_is_published_on_the_ports_reserved_for_it(
    alice: User, runtime: MemoryRuntime
) -> None:
    sandbox = launch(alice)
    reserved = {
        f"{row.service}:{row.target}": f"{row.address}:{row.port}"
        for row in sandbox.reserved_ports.all()
    }
    assert sandbox.addresses == reserved
    assert reserved


def test_its_ports_are_free_only_after_its_resources_were_removed(
    alice: User, runtime: MemoryRuntime
) -> None:
    sandbox = launch(alice)

    assert lifecycle.begin_destroy(sandbox, EndReason.USER, "Destroyed.")
    assert ReservedPort.objects.exists()
    assert teardown.tear_down(sandbox)
    assert reload(sandbox).state == State.DESTROYED
    assert not ReservedPort.objects.exists()


def test_no_two_sandboxes_have_the_same_port_of_an_address(
    alice: User, runtime: MemoryRuntime
) -> None:
    row = launch(alice).reserved_ports.first()
    other = request(alice)
    assert row
    with pytest.raises(IntegrityError), transaction.atomic():
        other.reserved_ports.create(service="api", target=80, address=row.address, port=row.port)


def test_ports_come_from_the_range_of_the_operator_until_none_is_left(
    alice: User, runtime: MemoryRuntime, settings: SettingsWrapper
) -> None:
    settings.SANDBOX_PORTS = range(20_000, 20_003)
    first, second = request(alice), request(alice)
    assert set(ports.reserve(first, {"web": [80, 81]})["web"].values()) < set(
        settings.SANDBOX_PORTS
    )
    with pytest.raises(CapacityExhausted, match="ports"):
        ports.reserve(second, {"web": [80, 81]})


def test_a_port_that_another_program_uses_is_replaced(alice: User, runtime: MemoryRuntime) -> None:
    sandbox = request(alice)
    before = ports.reserve(sandbox, {"api": [8080], "db": [5432]})
    runtime.fail_next("containers", PortTaken("api"))
    provisioning.provision(reload(sandbox))

    after = reload(sandbox).addresses
    assert after["api:8080"] != f"127.0.0.1:{before['api'][8080]}"
    assert after["db:5432"] == f"127.0.0.1:{before['db'][5432]}"


def test_a_repair_replaces_a_port_that_another_program_took_meanwhile(
    alice: User, runtime: MemoryRuntime, clock: Clock
) -> None:
    sandbox = launch(alice)
    runtime.restart_engine()
    runtime.fail_next("repair", PortTaken("api"))
    clock.forward(minutes=31)
    sweep()

    after = reload(sandbox)
    assert after.state == State.RUNNING
    assert after.addresses["api:8080"] != sandbox.addresses["api:8080"]
    assert after.addresses["db:5432"] == sandbox.addresses["db:5432"]
