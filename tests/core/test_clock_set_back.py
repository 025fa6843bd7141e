"""A clock that is set back holds nothing up, although stored times are then in the future."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from sandboxes import actions
from sandboxes.core import leases
from sandboxes.doctor import host
from sandboxes.lib.exceptions import RateLimited
from sandboxes.models import Funding, Pool, Sandbox, State, Webhook, WebhookDelivery
from sandboxes.models.abstract.claims import LONGEST_LEASE
from sandboxes.models.webhook import LONGEST_RETRY_DELAY
from sandboxes.pool import reconcile
from sandboxes.runtime import EngineRefused
from sandboxes.webhooks import delivery
from sandboxes.worker import funding, teardown
from sandboxes.worker import tasks as worker_tasks
from tests.doctor.findings import FINE, levels
from tests.helpers.scenarios import Killed, launch, reload, request, run_on_commit, sweep

pytestmark = pytest.mark.django_db

BACK = {"hours": -30}


def test_a_launch_whose_worker_was_killed_goes_on(alice, runtime, clock):
    sandbox = request(alice)
    runtime.fail_next("containers", Killed())
    with pytest.raises(Killed):
        worker_tasks.provision(sandbox.public_id)
    clock.forward(**BACK)
    sweep()

    assert reload(sandbox).state == State.RUNNING


def test_a_launch_that_waits_is_requeued(alice, runtime, clock):
    sandbox = request(alice)
    clock.forward(**BACK)
    sweep()

    assert reload(sandbox).state == State.RUNNING


def test_a_removal_that_backs_off_goes_on(alice, runtime, clock):
    sandbox = launch(alice)
    runtime.fail_next("destroy", EngineRefused("The engine is busy."))
    with run_on_commit():
        actions.destroy(sandbox, alice)
    assert reload(sandbox).leased_until
    clock.forward(**BACK)
    sweep()

    assert reload(sandbox).state == State.DESTROYED


def test_a_reset_whose_worker_was_killed_goes_on(alice, runtime, clock):
    sandbox = launch(alice)
    runtime.fail_next("execute", Killed())
    with pytest.raises(Killed), run_on_commit():
        actions.reset(sandbox, alice)
    clock.forward(**BACK)
    sweep()

    assert reload(sandbox).reset_requested_at is None


def test_launches_of_the_future_are_not_counted_for_the_rate_limit(alice, runtime, clock, settings):
    settings.SANDBOX_LAUNCHES_PER_HOUR = 1
    actions.destroy(request(alice), alice)
    with pytest.raises(RateLimited):
        request(alice)
    clock.forward(**BACK)

    assert request(alice).state == State.PENDING


def test_funding_deliveries_and_the_pool_do_not_wait_for_the_old_time(alice, runtime, clock):
    sandbox = launch(alice)
    Sandbox.objects.filter(pk=sandbox.pk).update(
        funding=Funding.PENDING, funding_due_at=timezone.now()
    )
    later = timezone.now() + timedelta(hours=29)
    Pool.objects.update_or_create(blueprint="billing", defaults={"retry_at": later})
    now = timezone.now()
    assert WebhookDelivery.objects.due(now).count() == 0
    webhook = Webhook.objects.create(
        user=alice, slot=1, url="https://example.com/", leased_until=later
    )
    WebhookDelivery.objects.create(webhook=webhook, type="test", due_at=later)
    clock.forward(**BACK)

    assert funding.is_due(timezone.now())
    assert WebhookDelivery.objects.due(timezone.now()).count() == 1
    assert Webhook.objects.unleased(timezone.now()).count() == 1


def test_a_lease_is_held_as_long_as_it_can_be(alice, runtime, clock):
    sandbox = launch(alice)
    assert leases.acquire_lease(sandbox, [State.RUNNING])
    assert leases.is_leased(reload(sandbox), timezone.now())
    assert not leases.acquire_lease(reload(sandbox), [State.RUNNING])
    # As far as the clocks of two machines may differ.
    clock.forward(seconds=-50)
    assert not leases.acquire_lease(reload(sandbox), [State.RUNNING])
    clock.forward(seconds=-20)
    assert leases.acquire_lease(reload(sandbox), [State.RUNNING])


def test_no_wait_is_longer_than_the_longest_that_is_accepted():
    assert max(teardown.RETRY.longest, reconcile.RETRY.longest) <= LONGEST_LEASE
    assert max(delivery.RETRY_DELAYS) * (1 + delivery.JITTER) <= LONGEST_RETRY_DELAY


def test_the_doctor_reports_times_ahead_of_the_clock(alice, runtime, clock):
    launch(alice)
    assert levels([host.no_times_ahead(timezone.now())]) == [FINE]
    clock.forward(**BACK)
    finding = host.no_times_ahead(timezone.now())
    assert "1 running sandboxes" in finding.message
    assert "was set back" in finding.message
