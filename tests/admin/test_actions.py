"""Actions of operators on sandboxes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission

from sandboxes import actions
from sandboxes.models import AuditEntry, EndReason, Event, Sandbox, State
from tests.helpers.admin import (
    SANDBOXES,
    messages_of,
    page_of,
    run_action,
)
from tests.helpers.scenarios import (
    launch,
    reload,
    request,
    run_on_commit,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime")]


def test_destroy_asks_for_a_reason_first(admin_client, alice):
    sandbox = launch(alice)
    page = run_action(admin_client, "destroy", sandbox)

    assert page.status_code == 200
    assert "alice@example.com" in page.content.decode()
    assert 'name="reason"' in page.content.decode()
    assert reload(sandbox).state == State.RUNNING


@pytest.mark.parametrize("reason", ["", "   ", "x" * 201])
def test_destroy_requires_a_valid_reason(admin_client, alice, reason):
    sandbox = launch(alice)
    page = run_action(admin_client, "destroy", sandbox, reason=reason)

    assert page.context["form"].errors
    assert reload(sandbox).state == State.RUNNING


@pytest.mark.parametrize(
    ("return_url", "back"),
    [
        ("/admin/sandboxes/sandbox/7/change/", "/admin/sandboxes/sandbox/7/change/"),
        ("/admin/", "/admin/"),
        ("", f"{SANDBOXES}?state=running"),
        ("https://elsewhere.example/", f"{SANDBOXES}?state=running"),
        ("javascript:alert(1)", f"{SANDBOXES}?state=running"),
    ],
)
def test_cancel_returns_to_the_previous_page(admin_client, alice, return_url, back):
    asked = {"action": "destroy", "_selected_action": [launch(alice).pk]}
    page = admin_client.post(f"{SANDBOXES}?state=running", asked | {"return_url": return_url})
    again = admin_client.post(
        f"{SANDBOXES}?state=running", asked | {"return_url": back, "confirmed": "yes"}
    )

    assert f'<a href="{back}" class="closelink">' in page.content.decode()
    assert f'<a href="{back}" class="closelink">' in again.content.decode()


def test_destroy_records_the_operator_and_the_reason(admin_client, alice, bob, olga, runtime):
    rows = [launch(alice), launch(bob), request(bob)]
    page = run_action(admin_client, "destroy", *rows, reason="Mining coins.")

    assert messages_of(page) == ["3 sandboxes will be destroyed."]
    assert {reload(row).state for row in rows} == {State.DESTROYED}
    assert {reload(row).end_reason for row in rows} == {EndReason.OPERATOR}
    lines = Event.objects.filter(kind="ending")
    assert {(e.actor_role, e.actor, e.message) for e in lines} == {
        ("operator", olga, "Mining coins.")
    }
    assert runtime.observe() == {}
    assert AuditEntry.objects.filter(actor=olga.email, reason="Mining coins.").count() == 3


def test_ended_sandboxes_are_reported_and_skipped(admin_client, alice):
    running, ended = launch(alice), launch(alice)
    with run_on_commit():
        actions.destroy(ended, alice)
    page = run_action(admin_client, "destroy", running, ended, reason="Maintenance.")

    assert messages_of(page) == [
        f"{ended.public_id}: Already destroyed. Nothing was changed.",
        "1 sandbox will be destroyed.",
    ]
    assert reload(ended).end_reason == EndReason.USER


def test_operators_can_extend_after_the_owner_has(admin_client, alice, olga):
    sandbox = launch(alice)
    actions.extend(sandbox, 10, alice)
    page = run_action(admin_client, "extend", sandbox, minutes=30, reason="Demo at three.")

    assert messages_of(page) == ["1 sandbox extended."]
    assert reload(sandbox).expires_at == sandbox.expires_at + timedelta(minutes=30)
    assert reload(sandbox).events.last().message == "Extended by 30 minutes. Demo at three."
    assert reload(sandbox).extensions.last().granted_by == olga


def test_extend_reports_the_error_of_each_sandbox(admin_client, alice):
    pending, capped = request(alice), launch(alice)
    Sandbox.objects.filter(pk=capped.pk).update(hard_cap_at=capped.expires_at)
    page = run_action(admin_client, "extend", pending, capped, minutes=30, reason="Demo.")

    assert sorted(messages_of(page)) == sorted(
        [
            f"{pending.public_id}: Only a running sandbox can be extended; this one is pending.",
            f"{capped.public_id}: This sandbox has reached its maximum lifetime.",
        ]
    )


@pytest.mark.parametrize("minutes", ["", "0", "121", "many"])
def test_extend_requires_valid_minutes(admin_client, alice, minutes):
    sandbox = launch(alice)
    page = run_action(admin_client, "extend", sandbox, minutes=minutes, reason="Demo.")

    assert "minutes" in page.context["form"].errors
    assert reload(sandbox).expires_at == sandbox.expires_at


def test_too_many_rows_are_rejected_completely(admin_client, alice, monkeypatch):
    monkeypatch.setattr("sandboxes.admin.confirmations.MAX_ROWS_PER_ACTION", 1)
    rows = [launch(alice), launch(alice)]
    page = run_action(admin_client, "destroy", *rows, reason="Maintenance.")

    assert messages_of(page) == ["Select at most 1 rows. Nothing was changed."]
    assert {reload(row).state for row in rows} == {State.RUNNING}


def test_a_sandbox_page_offers_the_actions_for_its_state(admin_client, alice):
    def offered(sandbox: Sandbox) -> list[str]:
        return [
            q.name for q in admin_client.get(page_of(sandbox)).context.get("confirmed_actions", [])
        ]

    ended = launch(alice)
    with run_on_commit():
        actions.destroy(ended, alice)

    assert offered(launch(alice)) == ["destroy", "extend", "message"]
    assert offered(request(alice)) == ["cancel", "message"]
    assert offered(ended) == ["message"]


def test_operators_with_view_permission_only_cannot_act(client, alice, bob):
    bob.is_staff = True
    bob.save()
    bob.user_permissions.add(Permission.objects.get(codename="view_sandbox"))
    client.force_login(bob)
    sandbox = launch(alice)
    page = client.get(SANDBOXES)
    run_action(client, "destroy", sandbox, reason="Because I can.")

    assert page.status_code == 200
    assert "Destroy…" not in page.content.decode()
    assert not client.get(page_of(sandbox)).context.get("confirmed_actions")
    assert reload(sandbox).state == State.RUNNING
