"""What owners change through the clock and the inbox of a sandbox."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from sandboxes import actions
from sandboxes.lib.exceptions import ServiceError, StateConflict, ValidationFailed
from sandboxes.models import EventEndpoint, Sandbox, SandboxEvent
from tests.fakes.sandbox_api import Reply, SandboxApi, with_api_address
from tests.helpers.inbox import offer_events, receive
from tests.helpers.scenarios import launch, run_on_commit

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User

pytestmark = pytest.mark.django_db

CHANGES: dict[str, Callable[[Sandbox, User], object]] = {
    "clock_changed": lambda sandbox, user: actions.change_clock(sandbox, user, advance_by="P1M"),
    "event_created": lambda sandbox, user: actions.create_event(sandbox, user, "a.b", "inv_1"),
    "event_replayed": lambda sandbox, user: actions.replay_event(
        SandboxEvent.objects.get(sandbox=sandbox), user
    ),
    "endpoint_changed": lambda sandbox, user: actions.set_misbehavior(
        EventEndpoint.objects.get(sandbox=sandbox), user, duplicates=20
    ),
}


@pytest.fixture
def sandbox(alice: User, api: SandboxApi) -> Sandbox:
    offer_events(api)
    found = with_api_address(launch(alice), api.address)
    receive(found, "invoice.paid")
    return found


@pytest.mark.parametrize("kind", CHANGES)
def test_a_change_is_in_the_journal_with_its_actor(
    sandbox: Sandbox, alice: User, kind: str
) -> None:
    with run_on_commit():
        CHANGES[kind](sandbox, alice)
    event = sandbox.events.latest("pk")
    assert (event.kind, event.actor, event.actor_role) == (kind, alice, "owner")


@pytest.mark.parametrize("kind", CHANGES)
@pytest.mark.parametrize("begin", [actions.reset, actions.destroy])
def test_nothing_changes_during_a_reset_or_after_the_end(
    sandbox: Sandbox,
    alice: User,
    api: SandboxApi,
    kind: str,
    begin: Callable[[Sandbox, User], None],
) -> None:
    begin(sandbox, alice)
    asked, journal = len(api.asked), sandbox.events.count()
    with pytest.raises(StateConflict):
        CHANGES[kind](sandbox, alice)
    assert (len(api.asked), sandbox.events.count()) == (asked, journal)


def test_a_refused_change_is_not_in_the_journal(
    sandbox: Sandbox, alice: User, api: SandboxApi
) -> None:
    refusal = {"errors": [{"field": "advance_by", "message": "must be at most P5Y"}]}
    api.replies["/v1/test_clock"] = Reply(422, json.dumps(refusal).encode())
    count = sandbox.events.count()
    with pytest.raises(ValidationFailed, match="P5Y"):
        actions.change_clock(sandbox, alice, advance_by="P9Y")
    with pytest.raises(ServiceError):
        actions.set_misbehavior(EventEndpoint.objects.get(sandbox=sandbox), alice, disorder=101)
    assert sandbox.events.count() == count
