"""Launches, removals and warnings never wait for funding, webhooks or other emails."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fakes.friendbot import raw_server
from tests.harness.servers import own_stores
from tests.system.test_queue import CREATE_TABLES, Installation

pytestmark = [pytest.mark.store, pytest.mark.slow]

ATTEMPTS = 3

HUNG_AND_THEN = """
import json, time
from datetime import timedelta
from django.contrib.auth.models import User
from django.utils import timezone
from sandboxes import actions
from sandboxes.accounts import invitations, tasks as account_tasks
from sandboxes.models import *
from sandboxes.notifications import tasks as notification_tasks
from sandboxes.notifications.sandbox_warnings import record_warning
from sandboxes.webhooks import endpoints, outbox
from sandboxes.worker import tasks as worker_tasks
from tests.harness.bulk_data import create_running

def seconds_until(condition):
    began = time.monotonic()
    while not condition():
        assert time.monotonic() < began + 30
        time.sleep(0.01)
    return time.monotonic() - began

alice, crowd = (
    User.objects.create_user(name, f"{name}@example.com") for name in ("alice", "crowd")
)
waiting = create_running(400, crowd)
Sandbox.objects.update(funding=Funding.PENDING, funding_due_at=timezone.now())
for sandbox in waiting:
    worker_tasks.fund.delay(sandbox.public_id)
for _ in range(5):
    webhook, _ = endpoints.create(crowd, HUNG_URL, ["sandbox.running"])
    for _ in range(20):
        outbox.send_test(webhook)
for number in range(20):
    invitation = Invitation.objects.create(email=f"guest{number}@example.com")
    invitations.request_sending(invitation)
    account_tasks.invite.delay(invitation.pk)
seconds_until(Sandbox.objects.filter(funding_attempts__gt=0).exists)
seconds_until(Webhook.objects.exclude(leased_until=None).exists)
seconds_until(Invitation.objects.filter(mail_due_at__gt=timezone.now()).exists)

for _ in range(500):
    worker_tasks.fund.delay("sbx_of_a_backlog")
sandbox, _ = actions.launch_sandbox(alice, actions.LaunchRequest())
mine = Sandbox.objects.filter(pk=sandbox.pk)
taken = {"launch": seconds_until(mine.exclude(state=State.PENDING).exists)}
seconds_until(mine.filter(state=State.RUNNING).exists)
sandbox.refresh_from_db()
warning = record_warning(sandbox, DeadlineKind.EXPIRED, sandbox.expires_at)
notification_tasks.send_mails.delay()
leased = SandboxWarning.objects.filter(mail_due_at__gt=timezone.now())
taken["warning"] = seconds_until(leased.exists)
actions.destroy(sandbox, alice)
taken["removal"] = seconds_until(mine.filter(state=State.DESTROYED).exists)
print(json.dumps(taken))
"""


@pytest.fixture
def hung() -> Iterator[str]:
    """Return the URL of a server that accepts connections and never answers."""
    with raw_server(sends=None) as url:
        yield url


@contextmanager
def running_installation(hung: str, folder: Path) -> Iterator[Installation]:
    """Run a worker whose friendbot, mail server and webhook receiver hang."""
    folder.mkdir()
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "sandboxportal.settings",
        "VAR_DIR": str(folder),
        "SANDBOX_RUNTIME": "memory",
        "SANDBOX_MAX_SITE": "1000",
        "FRIENDBOT_URL": hung,
        "EMAIL_URL": hung.replace("http", "smtp"),
        "WEBHOOK_ALLOW_HTTP": "on",
        "WEBHOOK_ALLOW_PRIVATE": "on",
    }
    with own_stores() as stores:
        created = Installation({**environment, **stores}, folder / "worker.log")
        created.console.run(CREATE_TABLES)
        created.start_worker()
        created.ask()
        yield created
        created.kill_worker()
        created.console.close()


def test_launches_warnings_and_removals_are_taken_up_while_everything_else_hangs(
    hung: str, tmp_path: Path
) -> None:
    """With 400 sandboxes waiting for a friendbot that hangs, within a second."""
    script = HUNG_AND_THEN.replace("HUNG_URL", repr(f"{hung}/hook"))
    attempts: list[dict[str, float]] = []
    # Other processes may delay one attempt, but not all.
    while not attempts or max(attempts[-1].values()) >= 1:
        assert len(attempts) < ATTEMPTS, attempts
        with running_installation(hung, tmp_path / str(len(attempts))) as installation:
            attempts.append(json.loads(installation.console.run(script).splitlines()[-1]))
    assert set(attempts[-1]) == {"launch", "warning", "removal"}
