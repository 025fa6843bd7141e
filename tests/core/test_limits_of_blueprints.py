"""A blueprint's own limits hold from the launch to the end of its sandboxes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from sandboxes import actions
from sandboxes.core import capacity, limits
from sandboxes.lib.exceptions import QuotaExceeded, Unavailable, ValidationFailed
from sandboxes.models import Engine, LimitOverride, Pool, Sandbox
from sandboxes.representations import display
from sandboxes.worker import provisioning
from tests.helpers.blueprints import prepare_with_limits
from tests.helpers.scenarios import (
    event_kinds,
    launch,
    pooled,
    reload,
    request,
    run_on_commit,
    state_and_reason,
    sweep,
)

pytestmark = pytest.mark.django_db

OWN = {
    "memory": "400m",
    "cpus": 0.8,
    "disk": "1g",
    "lifetime": {"default": "20m", "max": "45m"},
    "idle_timeout": "10m",
    "active_per_user": 1,
}
Prepare = Callable[..., None]


@pytest.fixture
def prepare(settings, tmp_path, runtime) -> Prepare:
    """Return a function that prepares blueprints with these limits; the first is the default."""
    settings.SANDBOX_POOL_SIZE = 0
    return partial(prepare_with_limits, settings, tmp_path)


def refusal(user: Any, **choices: Any) -> QuotaExceeded:
    with pytest.raises(QuotaExceeded) as refused:
        request(user, **choices)
    return refused.value


def test_a_sandbox_gets_the_limits_of_its_blueprint(alice, prepare):
    prepare(heavy=OWN)

    sandbox = launch(alice)

    assert (sandbox.memory_mb, sandbox.cpus, sandbox.disk_mb) == (400, 0.8, 1024)
    assert (sandbox.ttl_minutes, sandbox.idle_minutes) == (20, 10)
    assert sandbox.hard_cap_at - sandbox.started_at == timedelta(minutes=45)


@pytest.mark.parametrize("minutes", [14, 46])
def test_a_lifetime_outside_of_the_blueprints_limits_is_rejected(alice, prepare, minutes):
    prepare(heavy=OWN)
    with pytest.raises(ValidationFailed, match="from 15 to 45 minutes") as rejected:
        request(alice, ttl_minutes=minutes)
    assert rejected.value.field == "ttl_minutes"
    assert request(alice, ttl_minutes=45).ttl_minutes == 45


def test_an_extension_ends_at_the_blueprints_maximum(alice, prepare):
    prepare(heavy=OWN)
    sandbox = launch(alice, ttl_minutes=30)

    assert display.extension_quote(sandbox).max_minutes == 15
    assert actions.extend(sandbox, 60, alice).minutes == 15
    assert reload(sandbox).expires_at == reload(sandbox).hard_cap_at


@pytest.mark.parametrize(
    ("override", "own", "expected"),
    [
        ({"ttl_max_minutes": 240}, {"lifetime": {"max": "1h"}}, (60, 60, 30)),
        ({"ttl_max_minutes": 30}, {"lifetime": {"default": "1h"}}, (30, 30, 30)),
        ({"idle_minutes": 90}, {"idle_timeout": "20m"}, (60, 120, 20)),
        ({"idle_minutes": 5}, {"idle_timeout": "20m"}, (60, 120, 5)),
        ({"idle_minutes": 90}, {}, (60, 120, 90)),
        ({}, {"lifetime": {"default": "1m", "max": "3m"}}, (3, 3, 30)),
        ({}, {"lifetime": {"default": "9h", "max": "9h"}, "idle_timeout": "9h"}, (120, 120, 30)),
    ],
)
def test_the_lower_limit_of_user_and_blueprint_applies(alice, prepare, override, own, expected):
    prepare(heavy=own)
    LimitOverride.objects.create(user=alice, reason="workshop", **override)

    sandbox = request(alice)

    default, longest, idle = expected
    assert (sandbox.ttl_minutes, sandbox.idle_minutes) == (default, idle)
    with pytest.raises(ValidationFailed, match=f"to {longest} minutes"):
        request(alice, ttl_minutes=longest + 1)


def test_a_sandbox_ends_after_its_blueprints_idle_timeout_with_a_warning(alice, prepare, clock):
    prepare(heavy=OWN | {"idle_timeout": "4m"})
    sandbox = launch(alice)

    clock.forward(minutes=1, seconds=50)
    sweep()
    assert "warned" not in event_kinds(sandbox)
    clock.forward(seconds=20)
    sweep()
    assert "warned" in event_kinds(sandbox)
    clock.forward(minutes=2)
    sweep()
    assert state_and_reason(sandbox)[1] == "idle"


def test_a_blueprint_limits_the_number_of_its_sandboxes_per_user(alice, bob, prepare, clock):
    prepare(heavy=OWN, light={})
    first = launch(alice)
    clock.forward(minutes=5)

    refused = refusal(alice)

    assert (refused.scope, refused.limit, refused.active) == ("blueprint", 1, 1)
    assert (refused.frees_first, refused.wait_seconds) == (first.public_id, 5 * 60)
    assert str(refused) == (
        "You've reached the limit of 1 “Heavy” sandbox. Destroy one to launch another; "
        "the next slot should open in about 5 min."
    )
    assert actions.launch_blocker(alice).scope == "blueprint"
    assert request(alice, blueprint="light")
    assert request(bob)
    actions.destroy(first, alice)
    assert request(alice)


def test_memory_is_promised_by_the_limits_of_each_sandbox(alice, bob, prepare, settings, clock):
    settings.SANDBOX_MEMORY_MAX_MB, settings.SANDBOX_MEMORY_OVERCOMMIT = 2048, 1.0
    Engine.default().store(memory_mb=capacity.RESERVED_MEMORY_MB + 3000)
    prepare(heavy={"memory": "2g"}, light={"memory": "100m"})
    first = launch(bob, ttl_minutes=15)
    clock.forward(minutes=5)
    launch(alice, blueprint="light")

    refused = refusal(alice)

    assert (refused.scope, refused.active, refused.frees_first) == ("site", 2, None)
    assert refused.retry_at == reload(first).expires_at
    assert str(refused) == (
        "The portal doesn't have enough memory for another “Heavy” sandbox now. "
        "The next slot should open in about 10 min."
    )
    assert limits.quota_blocker(alice) is None
    assert request(alice, blueprint="light")


def test_many_small_sandboxes_fit_where_few_of_the_default_size_do(alice, prepare, settings):
    settings.SANDBOX_MEMORY_OVERCOMMIT, settings.SANDBOX_MAX_PER_USER = 1.0, 9
    Engine.default().store(memory_mb=capacity.RESERVED_MEMORY_MB + 512)
    prepare(light={"memory": "128m"})
    for _ in range(4):
        request(alice)

    refused = refusal(alice)
    assert (refused.scope, refused.limit, refused.title) == ("site", 4, "")


def test_a_launch_needs_the_disk_space_of_its_blueprint(alice, prepare, settings):
    settings.SANDBOX_DISK_MAX_MB = 8192
    Engine.default().store(disk_free_mb=4096)
    prepare(heavy={"disk": "8g"}, light={})
    with pytest.raises(Unavailable, match="disk"):
        request(alice)
    assert request(alice, blueprint="light")


def test_the_pool_holds_sandboxes_with_the_blueprints_limits(alice, prepare, settings):
    # A tenth of the engine's memory, less what is reserved, is 1536 MB.
    settings.SANDBOX_MEMORY_MAX_MB, settings.SANDBOX_MEMORY_OVERCOMMIT = 2048, 0.1
    prepare(heavy=OWN | {"memory": "1g"}, light={"memory": "100m"})
    for name in ("heavy", "light"):
        Pool.objects.update_or_create(blueprint=name, defaults={"size": 3})
    sweep()

    held = sorted((row.blueprint, row.memory_mb, row.disk_mb) for row in pooled())
    assert held == [("heavy", 1024, 1024), *[("light", 100, 2048)] * 3]
    sandbox = request(alice)
    assert sandbox.from_pool
    assert (sandbox.ttl_minutes, sandbox.idle_minutes) == (20, 10)
    assert sandbox.hard_cap_at - sandbox.started_at == timedelta(minutes=45)


def test_a_stricter_setting_stops_launches_and_not_running_sandboxes(alice, prepare, settings):
    settings.SANDBOX_MEMORY_MAX_MB, settings.SANDBOX_POOL_SIZE = 2048, 1
    prepare(heavy=OWN | {"memory": "2g", "active_per_user": 3})
    sandbox = launch(alice)
    sweep()
    assert len(pooled()) == 1
    settings.SANDBOX_MEMORY_MAX_MB, settings.SANDBOX_IDLE_MINUTES = 1024, 5
    settings.SANDBOX_HARD_CAP_MINUTES = settings.SANDBOX_TTL_MAX_MINUTES = 30

    with pytest.raises(Unavailable, match="“Heavy” needs more"):
        request(alice)
    assert actions.launchable_blueprints() == {}
    assert sweep().errors == []
    assert pooled() == []
    kept = reload(sandbox)
    assert (kept.state, kept.idle_minutes, kept.hard_cap_at) == (
        "running",
        10,
        sandbox.hard_cap_at,
    )
    with run_on_commit():
        actions.reset(kept, alice)
    assert event_kinds(kept)[-1] == "reset"


def test_a_sandbox_keeps_the_limits_of_its_version(alice, prepare):
    prepare(heavy=OWN)
    pending = request(alice)
    prepare(heavy={"lifetime": {"max": "2h"}})

    provisioning.provision(reload(pending))
    row = Sandbox.objects.get()
    assert row.hard_cap_at - row.started_at == timedelta(minutes=45)
