"""Limit overrides, tokens, maintenance mode and users in the admin."""

from __future__ import annotations

from datetime import timedelta

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import Group
from django.utils import timezone

from sandboxes import actions
from sandboxes.accounts import api_tokens
from sandboxes.models import ApiToken, LimitOverride, Maintenance, State, SweepStatus
from tests.helpers.admin import (
    SANDBOXES,
    messages_of,
    page_of,
    run_action,
)
from tests.helpers.scenarios import launch, reload, sweep

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime")]


def test_a_limit_override_applies_until_its_date(admin_client, alice):
    until = timezone.now() + timedelta(days=2)
    data = {
        "user": alice.pk,
        "max_active": 6,
        "expires_at_0": until.strftime("%Y-%m-%d"),
        "expires_at_1": "12:00:00",
        "reason": "workshop",
    }
    admin_client.post("/admin/sandboxes/limitoverride/add/", data)

    override = LimitOverride.objects.get(user=alice)
    assert (override.max_active, override.ttl_max_minutes) == (6, None)
    assert "default" in admin_client.get("/admin/sandboxes/limitoverride/").content.decode()


@pytest.mark.parametrize(("field", "value"), [("reason", ""), ("idle_minutes", 0)])
def test_an_invalid_limit_override_names_the_field(admin_client, alice, field, value):
    data = {"user": alice.pk, "max_active": 6, "reason": "workshop"} | {field: value}
    page = admin_client.post("/admin/sandboxes/limitoverride/add/", data)

    assert field in page.context["adminform"].form.errors
    assert not LimitOverride.objects.exists()


def test_a_limit_override_has_either_a_user_or_a_group(admin_client, alice):
    group = Group.objects.create(name="students")
    for whose in ({}, {"user": alice.pk, "group": group.pk}):
        data = {"max_active": 6, "reason": "workshop"} | whose
        page = admin_client.post("/admin/sandboxes/limitoverride/add/", data)
        assert "Choose either a user or a group." in page.content.decode()
    assert not LimitOverride.objects.exists()

    admin_client.post("/admin/sandboxes/limitoverride/add/", data | {"user": ""})
    assert LimitOverride.objects.get().group == group
    assert "group students" in admin_client.get("/admin/sandboxes/limitoverride/").content.decode()


def test_the_user_of_a_limit_override_can_be_autocompleted(admin_client, alice):
    query = {
        "term": "alice@",
        "app_label": "sandboxes",
        "model_name": "limitoverride",
        "field_name": "user",
    }
    found = admin_client.get("/admin/autocomplete/", query).json()["results"]

    assert [row["id"] for row in found] == [str(alice.pk)]


def test_a_revoked_token_stops_working(admin_client, alice):
    token, text = api_tokens.issue(alice, "laptop")
    page = run_action(admin_client, "revoke", token, reason="It leaked.")
    again_page = run_action(admin_client, "revoke", token, reason="It leaked.")

    assert messages_of(page) == ["1 API token revoked."]
    assert messages_of(again_page) == [f"{token}: Already revoked. Nothing was changed."]
    assert api_tokens.authenticate(text) is None
    assert ApiToken.objects.get().revoked_at


def test_maintenance_mode_is_edited_on_one_page(admin_client, alice):
    answer = admin_client.get("/admin/sandboxes/maintenance/")
    assert answer["Location"] == page_of(Maintenance.current())

    until = timezone.now() + timedelta(hours=1)
    data = {
        "until_0": until.strftime("%Y-%m-%d"),
        "until_1": until.strftime("%H:%M:%S"),
        "message": "New disks.",
    }
    sweep()
    admin_client.post(
        page_of(Maintenance.current()),
        data | {"last_sweep_error": "forged", "reason": "New disks."},
    )

    assert Maintenance.current().message == "New disks."
    assert SweepStatus.current().last_sweep_error == ""
    assert isinstance(actions.launch_blocker(alice), Exception)


def test_a_user_is_deleted_with_tokens_and_the_sandboxes_follow(admin_client, alice, runtime):
    sandbox = launch(alice)
    api_tokens.issue(alice, "laptop")
    run_action(admin_client, "delete", alice, reason="She asked for it.")
    sweep()

    assert not ApiToken.objects.exists()
    assert reload(sandbox).state == State.DESTROYED
    assert runtime.observe() == {}


def test_the_page_of_a_user_links_to_their_sandboxes(admin_client, alice, bob):
    mine, his = launch(alice), launch(bob)
    link = f"{SANDBOXES}?owner__id__exact={alice.pk}"

    assert link.replace("&", "&amp;") in admin_client.get(page_of(alice)).content.decode()
    page = admin_client.get(link).content.decode()
    assert mine.public_id in page
    assert his.public_id not in page


def test_a_second_factor_can_be_removed_but_not_viewed(admin_client, alice):
    factor = Authenticator.objects.create(
        user=alice, type=Authenticator.Type.TOTP, data={"secret": "JBSWY3DPEHPK3PXP"}
    )
    assert "JBSWY3DPEHPK3PXP" not in admin_client.get(page_of(factor)).content.decode()

    run_action(admin_client, "delete", factor, reason="The phone was lost.")
    assert not Authenticator.objects.exists()
