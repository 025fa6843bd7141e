"""Warm pools in the admin."""

from __future__ import annotations

import pytest
from django.urls import reverse

from sandboxes.models import Pool, Sandbox
from tests.helpers.admin import SANDBOXES, page_of, run_action
from tests.helpers.scenarios import run_on_commit, sweep

pytestmark = pytest.mark.django_db

POOLS = reverse("admin:sandboxes_pool_changelist")


@pytest.fixture
def pool(settings, runtime) -> Pool:
    settings.SANDBOX_POOL_SIZE = 2
    sweep()
    return Pool.objects.get()


def change(admin_client, pool: Pool, **values: object):
    with run_on_commit():
        return admin_client.post(page_of(pool), {"reason": "Load."} | values, follow=True)


def test_the_list_shows_target_and_ready_sandboxes(admin_client, pool):
    row = " ".join(admin_client.get(POOLS).content.decode().split())

    assert '<td class="field-wanted">2</td><td class="field-ready">2</td>' in row.replace(
        "> <", "><"
    )


def test_a_new_size_applies_at_once(admin_client, pool):
    change(admin_client, pool, size=1)
    assert Sandbox.objects.pooled().count() == 1

    change(admin_client, pool, size=3)
    assert Sandbox.objects.pooled().count() == 3


def test_a_paused_pool_is_not_filled(admin_client, pool):
    change(admin_client, pool, size=4, paused="on")

    assert Sandbox.objects.pooled().count() == 2


@pytest.mark.parametrize(("minutes", "stays"), [("0", True), ("1441", True), ("1440", False)])
def test_the_maximum_age_is_at_most_a_day(admin_client, pool, minutes, stays):
    page = change(admin_client, pool, max_age_minutes=minutes)

    assert bool(page.context.get("errors")) == stays
    assert (Pool.objects.get().max_age_minutes is None) == stays


def test_pools_cannot_be_added_or_deleted(admin_client, pool):
    assert admin_client.get(reverse("admin:sandboxes_pool_add")).status_code == 403
    assert (
        admin_client.get(reverse("admin:sandboxes_pool_delete", args=[pool.pk])).status_code == 403
    )


def test_the_list_shows_problems(admin_client, pool, runtime):
    runtime.missing_images.add("sandboxportal/billing-db")
    sweep()

    assert "No sweep has checked the images yet." in admin_client.get(POOLS).content.decode()


def test_pooled_sandboxes_can_be_viewed_and_destroyed(admin_client, pool):
    warm = Sandbox.objects.pooled().first()
    assert "Waiting in the warm pool." in admin_client.get(SANDBOXES).content.decode()
    assert admin_client.get(page_of(warm)).status_code == 200

    run_action(admin_client, "destroy", warm, reason="It looks odd.")

    warm.refresh_from_db()
    assert (warm.state, warm.end_reason) == ("destroyed", "operator")
