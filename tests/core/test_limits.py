"""Limits of users and of the portal, and when the next slot opens."""

from __future__ import annotations

import ipaddress
from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from sandboxes import actions
from sandboxes.core import capacity, lifecycle, limits
from sandboxes.core.fleet import Fleet
from sandboxes.lib.exceptions import QuotaExceeded, ValidationFailed
from sandboxes.models import EndReason, Engine, LimitOverride, Sandbox
from tests.helpers.scenarios import launch, reload, request

pytestmark = [pytest.mark.django_db, pytest.mark.store]


@pytest.fixture(autouse=True)
def _fake(runtime):
    """Use the fake runtime."""


def refusal(user) -> QuotaExceeded:
    with pytest.raises(QuotaExceeded) as refused:
        request(user)
    return refused.value


def test_the_default_limits_are_those_of_the_design(alice):
    assert limits.get_limits(alice) == limits.Limits(
        max_active=3,
        ttl_minutes=60,
        ttl_min_minutes=15,
        ttl_max_minutes=120,
        idle_minutes=30,
        extension_max_minutes=120,
        hard_cap_minutes=240,
    )


def test_an_override_changes_only_the_limits_that_it_sets(alice, bob):
    LimitOverride.objects.create(user=alice, max_active=5, idle_minutes=10, reason="workshop")

    mine = limits.get_limits(alice)

    assert (mine.max_active, mine.idle_minutes, mine.ttl_max_minutes) == (5, 10, 120)
    assert limits.get_limits(bob).max_active == 3


def test_an_override_ends_when_it_expires(alice, clock):
    LimitOverride.objects.create(
        user=alice,
        max_active=5,
        reason="workshop",
        expires_at=timezone.now() + timedelta(hours=1),
    )
    clock.forward(minutes=59)
    assert limits.get_limits(alice).max_active == 5
    clock.forward(minutes=1)
    assert limits.get_limits(alice).max_active == 3


def test_no_override_exceeds_the_hard_cap(alice):
    LimitOverride.objects.create(user=alice, ttl_max_minutes=1000, reason="long demo")

    assert limits.get_limits(alice).ttl_max_minutes == 240
    assert request(alice, ttl_minutes=240).ttl_minutes == 240
    with pytest.raises(ValidationFailed, match="from 15 to 240 minutes"):
        request(alice, ttl_minutes=241)


def test_a_lower_maximum_lifetime_lowers_the_default(alice):
    LimitOverride.objects.create(user=alice, ttl_max_minutes=10, reason="short demos only")

    assert request(alice).ttl_minutes == 10


@pytest.mark.parametrize("field", ["ttl_max_minutes", "idle_minutes"])
def test_an_override_of_zero_minutes_is_rejected(alice, field):
    with pytest.raises(ValidationError, match=field):
        LimitOverride(user=alice, reason="typo", **{field: 0}).full_clean()


def test_the_fourth_sandbox_is_rejected_and_leaves_no_row(alice, bob):
    for _ in range(3):
        request(alice)

    refused = refusal(alice)

    assert (refused.scope, refused.limit, refused.active) == ("user", 3, 3)
    assert alice.sandboxes.count() == 3
    assert request(bob)


def test_the_wait_ends_with_the_first_sandbox_to_end(alice, clock):
    first = launch(alice, ttl_minutes=20)
    launch(alice, ttl_minutes=120)
    launch(alice, ttl_minutes=120)
    clock.forward(minutes=5)

    refused = refusal(alice)

    assert refused.frees_first == first.public_id
    assert refused.wait_seconds == 15 * 60
    assert refused.retry_at == reload(first).expires_at


def test_the_wait_considers_the_idle_timeout(alice, clock):
    launch(alice, ttl_minutes=120)
    launch(alice, ttl_minutes=120)
    clock.forward(minutes=10)
    launch(alice, ttl_minutes=120)
    clock.forward(minutes=10)

    assert refusal(alice).wait_seconds == 10 * 60


def test_an_overdue_sandbox_frees_its_slot_in_a_moment(alice, clock):
    for _ in range(3):
        launch(alice)
    clock.forward(hours=2)

    assert refusal(alice).wait_seconds == 1


def test_below_a_lowered_limit_more_than_one_sandbox_must_end(alice, clock):
    rows = [launch(alice, ttl_minutes=minutes) for minutes in (15, 20, 25)]
    LimitOverride.objects.create(user=alice, max_active=2, reason="lowered")

    refused = refusal(alice)

    assert (refused.active, refused.limit) == (3, 2)
    assert refused.frees_first == rows[1].public_id
    assert refused.wait_seconds == 20 * 60


def test_with_a_limit_of_zero_the_wait_is_an_hour(alice):
    LimitOverride.objects.create(user=alice, max_active=0, reason="paused")

    refused = refusal(alice)

    assert refused.frees_first is None
    assert refused.wait_seconds == 3600


def test_a_full_portal_rejects_launches_without_details_of_other_users(alice, bob, settings):
    settings.SANDBOX_MAX_SITE = 1
    launch(bob)

    refused = refusal(alice)

    assert (refused.scope, refused.limit, refused.active) == ("site", 1, 1)
    assert refused.frees_first is None
    assert "at capacity (1 sandboxes)" in str(refused)


def test_a_sandbox_being_removed_counts_for_the_site_but_not_for_its_owner(alice, settings):
    settings.SANDBOX_MAX_SITE = 3
    rows = [launch(alice) for _ in range(3)]
    lifecycle.begin_destroy(rows[0], EndReason.USER, "Enough.")

    refused = refusal(alice)

    assert refused.scope == "site"
    assert refused.wait_seconds == limits.REMOVAL_DURATION.seconds


def test_the_wait_includes_the_next_removal_attempt(alice, settings, clock):
    settings.SANDBOX_MAX_SITE = 1
    sandbox = launch(alice)
    lifecycle.begin_destroy(sandbox, EndReason.USER, "Enough.")
    until = timezone.now() + timedelta(minutes=2)
    Sandbox.objects.filter(pk=sandbox.pk).update(leased_until=until)

    assert refusal(alice).wait_seconds == 120


def test_the_lowest_free_slot_is_reused(alice):
    rows = [request(alice) for _ in range(3)]
    actions.destroy(rows[1], alice)

    assert request(alice).slot == 2


@pytest.mark.parametrize(
    ("memory_mb", "overcommit", "subnets", "expected"),
    [
        (17 * 1024, 1.0, "10.213.0.0/16", 32),
        (17 * 1024, 3.0, "10.213.0.0/16", 96),
        (17 * 1024, 3.0, "10.213.0.0/24", 16),
        (1024, 3.0, "10.213.0.0/16", 1),
    ],
)
def test_the_automatic_site_limit_follows_memory_and_subnets(
    monkeypatch, settings, memory_mb, overcommit, subnets, expected
):
    settings.SANDBOX_MEMORY_OVERCOMMIT = overcommit
    settings.SANDBOX_SUBNETS = ipaddress.IPv4Network(subnets)
    sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": memory_mb * 256}
    monkeypatch.setattr("os.sysconf", sizes.__getitem__)

    assert capacity.site_limit(Fleet([Engine()])) == expected


def test_a_configured_site_limit_applies(settings):
    settings.SANDBOX_MAX_SITE = 7

    assert capacity.site_limit(Fleet([Engine()])) == 7


def test_the_site_limit_follows_the_memory_of_the_engine_not_of_this_machine(monkeypatch, settings):
    settings.SANDBOX_MEMORY_OVERCOMMIT = 1.0
    monkeypatch.setattr("os.sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 2**20}.__getitem__)

    assert capacity.site_limit(Fleet([Engine(memory_mb=17 * 1024)])) == 32


def test_checking_the_limits_reads_no_secrets(alice, django_assert_num_queries):
    launch(alice)

    with django_assert_num_queries(4):
        assert limits.quota_blocker(alice) is None
