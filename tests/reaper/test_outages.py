"""With several engines, owners of sandboxes whose engine is away for long are told, and replace."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core import mail
from django.urls import reverse
from django.utils import timezone

from sandboxes import actions
from sandboxes.lib.exceptions import StateConflict, Unavailable
from sandboxes.models import Engine, Pool, ReservedPort, Sandbox, Scope, State
from sandboxes.notifications import emails
from sandboxes.worker import provisioning
from tests.harness.engines import Engines
from tests.helpers.api_client import ApiClient
from tests.helpers.scenarios import (
    event_kinds,
    expire,
    last_message,
    launch,
    reload,
    request,
    state_and_reason,
    sweep,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def sandbox(alice, engines: Engines, settings) -> Sandbox:
    """Return a running sandbox on the engine west, which is cut off."""
    settings.SANDBOX_POOL_SIZE = 0
    Engine.objects.get(name="west").store(weight=1000)
    row = launch(alice, name="mine", metadata={"job": "7"}, ttl_minutes=30)
    assert row.engine_name == "west"
    engines["west"].unreachable = True
    sweep()
    return row


def wait_long() -> None:
    """Make the engine west have been away for longer than the setting."""
    Engine.objects.get(name="west").store(away_since=timezone.now() - timedelta(minutes=6))


def test_owners_are_told_once_when_their_engine_is_away_for_long(sandbox):
    assert reload(sandbox).unreachable_since is None

    wait_long()
    sweep()
    sweep()
    emails.send_due_messages()
    assert event_kinds(sandbox).count("unreachable") == 1
    assert [message.subject for message in mail.outbox] == ["“mine” is unreachable"]
    assert reload(sandbox).state == State.RUNNING


def test_an_unreachable_sandbox_returns_with_its_engine_and_a_new_idle_timer(sandbox, engines):
    wait_long()
    sweep()
    long_ago = timezone.now() - timedelta(hours=1)
    Sandbox.objects.filter(pk=sandbox.pk).update(last_activity_at=long_ago)
    engines["west"].unreachable = False
    sweep()

    row = reload(sandbox)
    assert (row.state, row.unreachable_since) == (State.RUNNING, None)
    assert row.last_activity_at > long_ago
    assert event_kinds(sandbox)[-1] == "reachable"


def test_an_owner_replaces_an_unreachable_sandbox_at_once(sandbox, alice, engines, settings):
    settings.SANDBOX_MAX_PER_USER = settings.SANDBOX_LAUNCHES_PER_HOUR = 1
    wait_long()
    sweep()
    new, is_new = actions.replace(reload(sandbox), alice, "key")

    assert is_new
    assert state_and_reason(sandbox) == ("failed", "lost")
    assert not ReservedPort.objects.filter(sandbox=sandbox).exists()
    assert new.engine_name != "west"
    options = (new.name, new.metadata, new.ttl_minutes, new.blueprint)
    assert options == ("mine", {"job": "7"}, 30, sandbox.blueprint)
    assert actions.replace(reload(sandbox), alice, "key") == (new, False)


def test_objects_of_a_replaced_sandbox_are_removed_when_its_engine_is_back(
    sandbox, alice, engines, settings
):
    settings.SANDBOX_ORPHAN_GRACE_SECONDS = 0
    wait_long()
    sweep()
    actions.replace(reload(sandbox), alice)

    engines["west"].unreachable = False
    assert sandbox.public_id in engines["west"].observe()
    sweep()
    assert sandbox.public_id not in engines["west"].observe()


def test_a_reachable_sandbox_cannot_be_replaced(sandbox, alice):
    with pytest.raises(StateConflict, match="has been away for a while"):
        actions.replace(sandbox, alice)
    assert reload(sandbox).state == State.RUNNING


def test_a_sandbox_stays_if_its_replacement_is_refused(sandbox, alice):
    wait_long()
    sweep()
    Pool.objects.update_or_create(blueprint=sandbox.blueprint, defaults={"switched_off": True})
    with pytest.raises(Unavailable):
        actions.replace(reload(sandbox), alice)
    assert reload(sandbox).is_replaceable


def test_the_card_and_the_api_offer_the_replacement(sandbox, alice, client):
    client.force_login(alice)
    api = ApiClient(alice, Scope.LAUNCH)
    page = reverse("dashboard")
    assert "Replace" not in client.get(page).text
    assert api.post(f"/sandboxes/{sandbox.public_id}/replace").status_code == 409

    wait_long()
    sweep()
    assert f'id="replace-{sandbox.public_id}"' in client.get(page).text
    answer = api.post(f"/sandboxes/{sandbox.public_id}/replace")
    assert answer.status_code == 201
    new = answer.json()
    assert answer["Location"].endswith(new["id"])
    assert new["unreachable_since"] is None
    assert state_and_reason(sandbox) == ("failed", "lost")


def test_the_button_on_the_card_replaces_the_sandbox(sandbox, alice, client):
    wait_long()
    sweep()
    client.force_login(alice)
    answer = client.post(reverse("replace", args=[sandbox.public_id]), {"key": "one"})
    assert answer.headers["Location"].startswith(f"{reverse('dashboard')}#card-sbx_")
    assert state_and_reason(sandbox) == ("failed", "lost")


def test_what_ends_on_an_engine_that_is_away_for_long_is_not_stuck(sandbox, engines):
    expire(sandbox)
    sweep()
    assert reload(sandbox).state == State.DESTROYING

    wait_long()
    sweep()
    assert state_and_reason(sandbox) == ("destroyed", "expired")


def test_a_launch_whose_engine_does_not_answer_is_placed_on_another_one(alice, engines, settings):
    settings.SANDBOX_POOL_SIZE = 0
    settings.SANDBOX_MAX_SITE = 2
    Engine.objects.get(name="west").store(weight=1000)
    waiting = request(alice, name="waits")
    engines["west"].unreachable = True
    row = launch(alice)

    assert (row.state, row.engine_name != "west") == (State.RUNNING, True)
    assert "delayed" in event_kinds(row)
    assert Engine.objects.get(name="west").state == "away"

    provisioning.provision(reload(waiting))
    assert reload(waiting).state == State.RUNNING
    assert waiting.events.filter(message__endswith="Launching on another machine.").exists()


def test_a_launch_waits_if_no_engine_answers(alice, engines):
    for engine in engines.values():
        engine.unreachable = True
    row = launch(alice)

    assert row.state == State.PROVISIONING
    assert "Retrying" in last_message(row)
