"""Owners learn why an operator ended their sandbox: by email, in the portal and in the API."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from django.core import mail
from django.test import Client

from sandboxes import actions
from sandboxes.core import lifecycle
from sandboxes.models import EndReason, Sandbox
from tests.helpers.admin import run_action
from tests.helpers.api_client import ApiClient
from tests.helpers.scenarios import expire, last_message, launch, request, run_on_commit, sweep
from tests.helpers.web import text

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime")]

REASON = "The disk is being replaced."


def destroy(operator: Client, sandbox: Sandbox) -> None:
    run_action(operator, "destroy", sandbox, reason=REASON)


def cancel(operator: Client, sandbox: Sandbox) -> None:
    run_action(operator, "cancel", sandbox, reason=REASON)


def suspend(operator: Client, sandbox: Sandbox) -> None:
    run_action(operator, "suspend", sandbox.owner, reason=REASON)


def drain(_operator: Client, sandbox: Sandbox) -> None:
    with run_on_commit():
        lifecycle.begin_destroy(sandbox, EndReason.DRAINED, REASON)
    sweep()


@pytest.mark.parametrize(
    ("end", "start", "how"),
    [
        (destroy, launch, "destroyed by an operator"),
        (cancel, request, "destroyed by an operator"),
        (suspend, launch, "destroyed by an operator"),
        (drain, launch, "ended for maintenance"),
    ],
)
def test_an_operators_reason_is_mailed_and_shown_everywhere(
    admin_client: Client,
    alice: User,
    end: Callable[[Client, Sandbox], None],
    start: Callable[..., Sandbox],
    how: str,
) -> None:
    sandbox = start(alice, name="checkout")
    program, web = ApiClient(alice), Client()
    end(admin_client, sandbox)
    alice.is_active = True
    alice.save()
    program, web = ApiClient(alice), Client()
    web.force_login(alice)

    (message,) = mail.outbox
    assert message.to == ["alice@example.com"]
    assert message.subject == f"“checkout” was {how}"
    for part in (message.body, message.alternatives[0].content):  # type: ignore[attr-defined]
        assert REASON in part
        assert f"/sandboxes/{sandbox.public_id}/" in part
    for page in ("/", "/history/", f"/sandboxes/{sandbox.public_id}/"):
        assert f"Reason: {'The account was suspended. ' * (end is suspend)}{REASON}" in text(
            web.get(page)
        )
    shown = program.get(f"/sandboxes/{sandbox.public_id}").json()
    assert shown["end_message"].endswith(REASON)
    assert shown["summary"].endswith(f"Reason: {shown['end_message']}")


def test_each_owner_of_a_bulk_destroy_is_told(admin_client: Client, alice: User, bob: User) -> None:
    rows = [launch(alice), launch(bob)]
    run_action(admin_client, "destroy", *rows, reason=REASON)
    assert sorted(message.to[0] for message in mail.outbox) == [alice.email, bob.email]


def test_the_reason_is_shown_while_the_sandbox_is_being_removed(
    alice: User, olga: User, web: Client
) -> None:
    actions.destroy(launch(alice), olga, REASON)
    assert f"Destroyed by an operator. Reason: {REASON}" in text(web.get("/"))


def test_a_destroy_without_a_reason_names_none(alice: User, olga: User, web: Client) -> None:
    sandbox = launch(alice)
    actions.destroy(sandbox, olga)
    assert "Reason:" not in text(web.get("/"))
    assert last_message(sandbox) == "Destroyed by an operator."


def test_other_ends_are_not_mailed(alice: User) -> None:
    first, second = launch(alice), launch(alice)
    with run_on_commit():
        actions.destroy(first, alice)
    expire(second)
    sweep()
    assert mail.outbox == []
