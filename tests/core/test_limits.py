"""What a user may have, and when there will be room."""

from __future__ import annotations

import ipaddress
from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from sandboxes import actions
from sandboxes.core import capacity, lifecycle, limits
from sandboxes.lib.exceptions import QuotaExceeded, ValidationFailed
from sandboxes.models import EndReason, EngineStatus, LimitOverride, Sandbox
from tests.helpers.scenarios import launch, reload, request

pytestmark = [pytest.mark.django_db, pytest.mark.store]


@pytest.fixture(autouse=True)
def _fake(runtime):
    """Nothing here reaches an engine."""


def refusal(user) -> QuotaExceeded:
    with pytest.raises(QuotaExceeded) as refused:
        request(user)
    return refused.value


def test_the_numbers_of_the_design_hold_where_nobody_says_otherwise(alice):
    assert limits.get_limits(alice) == limits.Limits(
        max_active=3,
        ttl_minutes=60,
        ttl_min_minutes=15,
        ttl_max_minutes=120,
        idle_minutes=30,
        extension_max_minutes=120,
        hard_cap_minutes=240,
    )


def test_an_override_changes_what_it_names_and_nothing_else(alice, bob):
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


def test_no_override_reaches_past_the_hard_cap(alice):
    LimitOverride.objects.create(user=alice, ttl_max_minutes=1000, reason="long demo")

    assert limits.get_limits(alice).ttl_max_minutes == 240
    assert request(alice, ttl_minutes=240).ttl_minutes == 240
    with pytest.raises(ValidationFailed, match="from 15 to 240 minutes"):
        request(alice, ttl_minutes=241)


def test_a_lower_longest_lifetime_lowers_the_default_too(alice):
    LimitOverride.objects.create(user=alice, ttl_max_minutes=10, reason="short demos only")

    assert request(alice).ttl_minutes == 10


@pytest.mark.parametrize("field", ["ttl_max_minutes", "idle_minutes"])
def test_an_override_of_no_time_at_all_is_refused(alice, field):
    with pytest.raises(ValidationError, match=field):
        LimitOverride(user=alice, reason="typo", **{field: 0}).full_clean()


def test_the_fourth_sandbox_is_refused_and_leaves_no_trace(alice, bob):
    for _ in range(3):
        request(alice)

    refused = refusal(alice)

    assert (refused.scope, refused.limit, refused.active) == ("user", 3, 3)
    assert alice.sandboxes.count() == 3
    assert request(bob)


def test_the_wait_is_until_the_first_of_them_ends(alice, clock):
    first = launch(alice, ttl_minutes=20)
    launch(alice, ttl_minutes=120)
    launch(alice, ttl_minutes=120)
    clock.forward(minutes=5)

    refused = refusal(alice)

    assert refused.frees_first == first.public_id
    assert refused.wait_seconds == 15 * 60
    assert refused.retry_at == reload(first).expires_at


def test_the_wait_follows_the_idle_clock_where_that_ends_it(alice, clock):
    launch(alice, ttl_minutes=120)
    launch(alice, ttl_minutes=120)
    clock.forward(minutes=10)
    launch(alice, ttl_minutes=120)
    clock.forward(minutes=10)

    assert refusal(alice).wait_seconds == 10 * 60


def test_what_is_overdue_already_is_said_to_be_free_in_a_moment(alice, clock):
    for _ in range(3):
        launch(alice)
    clock.forward(hours=2)

    assert refusal(alice).wait_seconds == 1


def test_with_a_lowered_limit_the_first_end_is_not_enough(alice, clock):
    rows = [launch(alice, ttl_minutes=minutes) for minutes in (15, 20, 25)]
    LimitOverride.objects.create(user=alice, max_active=2, reason="lowered")

    refused = refusal(alice)

    assert (refused.active, refused.limit) == (3, 2)
    assert refused.frees_first == rows[1].public_id
    assert refused.wait_seconds == 20 * 60


def test_who_may_have_none_is_told_to_come_back_later(alice):
    LimitOverride.objects.create(user=alice, max_active=0, reason="paused")

    refused = refusal(alice)

    assert refused.frees_first is None
    assert refused.wait_seconds == 3600


def test_a_full_portal_refuses_without_telling_of_other_people(alice, bob, settings):
    settings.SANDBOX_MAX_SITE = 1
    launch(bob)

    refused = refusal(alice)

    assert (refused.scope, refused.limit, refused.active) == ("site", 1, 1)
    assert refused.frees_first is None
    assert "at capacity (1 sandboxes)" in str(refused)


def test_what_is_being_removed_frees_its_owners_place_and_not_the_sites(alice, settings):
    settings.SANDBOX_MAX_SITE = 3
    rows = [launch(alice) for _ in range(3)]
    lifecycle.begin_destroy(rows[0], EndReason.USER, "Enough.")

    refused = refusal(alice)

    assert refused.scope == "site"
    assert refused.wait_seconds == limits.REMOVAL_DURATION.seconds


def test_a_removal_that_waits_for_its_next_try_is_waited_for(alice, settings, clock):
    settings.SANDBOX_MAX_SITE = 1
    sandbox = launch(alice)
    lifecycle.begin_destroy(sandbox, EndReason.USER, "Enough.")
    until = timezone.now() + timedelta(minutes=2)
    Sandbox.objects.filter(pk=sandbox.pk).update(leased_until=until)

    assert refusal(alice).wait_seconds == 120


def test_the_lowest_free_slot_is_taken_again(alice):
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
def test_the_sites_limit_is_what_memory_and_subnets_carry(
    monkeypatch, settings, memory_mb, overcommit, subnets, expected
):
    settings.SANDBOX_MEMORY_OVERCOMMIT = overcommit
    settings.SANDBOX_SUBNETS = ipaddress.IPv4Network(subnets)
    sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": memory_mb * 256}
    monkeypatch.setattr("os.sysconf", sizes.__getitem__)

    assert capacity.site_limit(EngineStatus()) == expected


def test_a_site_limit_that_is_set_holds(settings):
    settings.SANDBOX_MAX_SITE = 7

    assert capacity.site_limit(EngineStatus()) == 7


def test_the_site_limit_follows_the_memory_of_the_engine_not_of_this_machine(monkeypatch, settings):
    settings.SANDBOX_MEMORY_OVERCOMMIT = 1.0
    monkeypatch.setattr("os.sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 2**20}.__getitem__)

    assert capacity.site_limit(EngineStatus(memory_mb=17 * 1024)) == 32


def test_asking_whether_there_is_room_reads_no_secrets(alice, django_assert_num_queries):
    launch(alice)

    with django_assert_num_queries(4):
        assert limits.quota_blocker(alice) is None
