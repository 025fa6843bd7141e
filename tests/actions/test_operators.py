"""Actions of operators: suspend, cancel, retry, message, maintenance, limits and blueprints."""

from __future__ import annotations

from datetime import timedelta

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import Group, Permission
from django.core import mail

from sandboxes.accounts import api_tokens
from sandboxes.actions import LaunchRequest
from sandboxes.actions.launch import launch_sandbox
from sandboxes.core.limits import get_limits
from sandboxes.lib import clock
from sandboxes.lib.exceptions import Unavailable
from sandboxes.models import EndReason, LimitOverride, Maintenance, Pool, State, SweepStatus
from sandboxes.runtime import EngineRefused
from tests.helpers.admin import messages_of, page_of, run_action
from tests.helpers.api_client import ApiClient, assert_problem
from tests.helpers.scenarios import (
    last_message,
    launch,
    reload,
    request,
    run_on_commit,
    sweep,
)
from tests.helpers.web import text

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime")]


def test_suspending_a_user_revokes_tokens_and_ends_sandboxes(admin_client, client, alice, runtime):
    rows = [launch(alice), request(alice)]
    program = ApiClient(alice)
    run_action(admin_client, "suspend", alice, reason="Mining coins.")

    assert {reload(row).state for row in rows} == {State.DESTROYED}
    assert {reload(row).end_reason for row in rows} == {EndReason.OPERATOR}
    assert "The account was suspended. Mining coins." in reload(rows[0]).end_message
    assert runtime.observe() == {}
    assert program.get("/sandboxes").status_code == 401


def test_a_suspended_user_cannot_sign_in_and_open_sessions_end(admin_client, client, alice):
    browser = type(client)()
    browser.force_login(alice)
    assert browser.get("/").status_code == 200
    run_action(admin_client, "suspend", alice, reason="Mining coins.")

    assert browser.get("/").status_code == 302
    entered = {"login": alice.email, "password": "correct horse battery staple"}
    page = browser.post("/accounts/login/", entered, follow=True)
    assert page.redirect_chain[-1][0] == "/accounts/inactive/"


def test_a_sandbox_launched_during_the_suspension_ends_with_the_next_sweep(admin_client, alice):
    run_action(admin_client, "suspend", alice, reason="Mining coins.")
    late = launch(alice)
    sweep()
    assert reload(late).state == State.DESTROYED


def test_unsuspending_a_user_keeps_tokens_revoked(admin_client, alice):
    _, old = api_tokens.issue(alice, "laptop")
    run_action(admin_client, "suspend", alice, reason="Mining coins.")
    page = run_action(admin_client, "lift", alice, reason="It was a misunderstanding.")

    alice.refresh_from_db()
    assert alice.is_active
    assert messages_of(page) == ["1 user reinstated."]
    assert api_tokens.authenticate(old) is None
    assert launch(alice).state == State.RUNNING


def test_operators_cannot_suspend_or_delete_themselves(admin_client, olga):
    for action in ("suspend", "delete"):
        page = run_action(admin_client, action, olga, reason="Oops.")
        assert "your own account" in messages_of(page)[0]
    olga.refresh_from_db()
    assert olga.is_active


@pytest.mark.parametrize("action", ["suspend", "set_password", "delete"])
def test_an_operator_cannot_change_a_superuser(client, bob, olga, action):
    bob.is_staff = True
    bob.save()
    bob.user_permissions.set(Permission.objects.filter(codename__endswith="_user"))
    client.force_login(bob)
    page = run_action(client, action, olga, reason="Mine now.", password="a-long-enough-Pa55word")

    assert "Only superusers can change a superuser's account." in messages_of(page)[0]
    assert client.post(page_of(olga), {"reason": "x"}).status_code == 403


def test_an_operator_cannot_remove_a_superusers_mfa(client, bob, olga):
    factor = Authenticator.objects.create(user=olga, type="totp", data={})
    bob.is_staff = True
    bob.save()
    bob.user_permissions.set(Permission.objects.filter(codename__endswith="_authenticator"))
    client.force_login(bob)
    run_action(client, "delete", factor, reason="Lost.")

    assert Authenticator.objects.exists()


def test_an_operator_cannot_make_a_user_a_superuser(client, bob, alice):
    bob.is_staff = True
    bob.save()
    bob.user_permissions.set(Permission.objects.filter(codename__endswith="_user"))
    client.force_login(bob)
    data = {"username": "alice", "is_superuser": "on", "is_staff": "on", "reason": "Because."}
    client.post(page_of(alice), data)

    alice.refresh_from_db()
    assert (alice.is_superuser, alice.is_staff) == (False, False)


def test_a_launch_can_be_canceled_but_not_a_running_sandbox(admin_client, alice):
    waiting, running = request(alice), launch(alice)
    page = run_action(admin_client, "cancel", waiting, running, reason="The engine is full.")

    assert reload(waiting).state == State.DESTROYED
    assert last_message(running) != "The engine is full."
    assert messages_of(page) == [
        f"{running.public_id}: Already running. Only a launch in progress can be canceled.",
        "1 sandbox canceled.",
    ]


def test_a_delayed_removal_can_be_retried_at_once(admin_client, alice, runtime):
    sandbox = launch(alice)
    runtime.fail_next("destroy", EngineRefused("It is busy."))
    run_action(admin_client, "destroy", sandbox, reason="Maintenance.")
    assert reload(sandbox).removal_error == "It is busy."

    page = run_action(admin_client, "retry_removal", sandbox, reason="The volume is free again.")
    assert messages_of(page) == ["1 sandbox queued for removal."]
    assert reload(sandbox).state == State.DESTROYED
    lines = list(reload(sandbox).events.values_list("actor_role", "message"))
    assert ("operator", "Removal retry requested. The volume is free again.") in lines


def test_a_message_to_the_owner_is_emailed_and_journaled(admin_client, client, alice):
    sandbox = launch(alice, name="Checkout")
    run_action(
        admin_client, "message", sandbox, text="Please end <it> by six.", reason="New disks."
    )

    assert mail.outbox[0].to == ["alice@example.com"]
    assert "Please end <it> by six." in mail.outbox[0].body
    assert f"/sandboxes/{sandbox.public_id}/" in mail.outbox[0].body
    client.force_login(alice)
    page = text(client.get(f"/sandboxes/{sandbox.public_id}/"))
    assert "Please end &lt;it&gt; by six." in page
    assert "Operator ·" in page
    assert "New disks." not in page + mail.outbox[0].body


def test_owners_see_operator_actions_in_the_journal(admin_client, client, alice):
    sandbox = launch(alice)
    run_action(admin_client, "extend", sandbox, minutes=20, reason="Demo at three.")
    run_action(admin_client, "destroy", sandbox, reason="Mining coins.")
    client.force_login(alice)

    page = text(client.get(f"/sandboxes/{sandbox.public_id}/"))
    for words in ("Extended by 20 minutes. Demo at three.", "Mining coins."):
        assert words in page
    assert page.count("Operator ·") == 2


def start_maintenance(admin_client, until, message: str = "New disks."):
    day, hour = until.strftime("%Y-%m-%d %H:%M:%S").split()
    data = {"until_0": day, "until_1": hour, "message": message}
    with run_on_commit():
        return admin_client.post(
            page_of(Maintenance.current()), data | {"reason": "New disks."}, follow=True
        )


def test_maintenance_blocks_launches_and_ends_automatically(admin_client, alice, client, clock):
    running = launch(alice)
    start_maintenance(admin_client, _now() + timedelta(hours=1))
    program = ApiClient(alice)

    problem = assert_problem(program.post("/sandboxes", {}), 503, "New disks.")
    assert "an hour" in problem["detail"] or "minutes" in problem["detail"]
    client.force_login(alice)
    assert "New disks." in text(client.get("/"))
    sweep()
    assert reload(running).state == State.RUNNING

    clock.forward(hours=1)
    assert program.post("/sandboxes", {}).status_code == 201
    assert "New disks." not in text(client.get("/"))


def _now():
    return clock.now()


def test_maintenance_that_ends_in_the_past_is_rejected(admin_client):
    page = start_maintenance(admin_client, _now() - timedelta(minutes=1))

    assert "until" in page.context["adminform"].form.errors
    assert Maintenance.current().until is None


def test_group_limits_apply_until_they_expire(alice, bob, clock):
    group = Group.objects.create(name="students")
    alice.groups.add(group)
    until = _now() + timedelta(hours=1)
    LimitOverride.objects.create(group=group, max_active=9, expires_at=until, reason="course")

    assert (get_limits(alice).max_active, get_limits(bob).max_active) == (9, 3)
    clock.forward(hours=1)
    assert get_limits(alice).max_active == 3


def test_user_limits_override_group_limits_and_the_largest_group_limit_wins(alice):
    for name, most, idle in (("students", 9, None), ("tutors", 5, 60)):
        group = Group.objects.create(name=name)
        alice.groups.add(group)
        LimitOverride.objects.create(group=group, max_active=most, idle_minutes=idle, reason="x")
    assert (get_limits(alice).max_active, get_limits(alice).idle_minutes) == (9, 60)

    LimitOverride.objects.create(user=alice, max_active=1, reason="abuse")
    assert (get_limits(alice).max_active, get_limits(alice).idle_minutes) == (1, 60)


def test_a_blueprint_can_be_disabled_and_enabled_at_run_time(admin_client, alice, settings):
    settings.SANDBOX_POOL_SIZE = 1
    sweep()
    pool, running = Pool.objects.get(), request(alice)
    with run_on_commit():
        admin_client.post(page_of(pool), {"switched_off": "on", "reason": "A bad image."})
    program = ApiClient(alice)

    problem = assert_problem(program.post("/sandboxes", {}), 503, "temporarily disabled")
    assert "billing" in problem["detail"].lower()
    assert [one["can_launch"] for one in program.get("/blueprints").json()["data"]] == [False]
    sweep()
    assert reload(running).state == State.RUNNING
    with pytest.raises(Unavailable):
        launch_sandbox(alice, LaunchRequest(blueprint="billing"))

    with run_on_commit():
        admin_client.post(page_of(pool), {"reason": "The image is fixed."})
    assert program.post("/sandboxes", {}).status_code == 201


def test_the_page_says_why_a_blueprint_cannot_be_launched(client, alice):
    Pool.objects.create(blueprint="billing", switched_off=True)
    client.force_login(alice)

    page = client.post("/sandboxes/", {"key": "k1"}, follow=True)
    assert "is temporarily disabled" in text(page)


def test_a_sweep_can_be_requested_and_runs_in_a_worker(admin_client, alice, runtime):
    sandbox = launch(alice)
    runtime.stop_service(sandbox.public_id, "api", 3)
    page = run_action(admin_client, "sweep", Maintenance.current(), reason="Cron is asleep.")

    assert messages_of(page) == ["Sweep queued."]
    assert reload(sandbox).state == State.FAILED
    assert SweepStatus.current().last_sweep_at
