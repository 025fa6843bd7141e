"""Secrets are encrypted at rest, wiped at the end, and in no log, journal, email or dump."""

from __future__ import annotations

import json
import logging

import pytest
from cryptography.fernet import Fernet
from django.core import mail, serializers
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command

from sandboxes import actions
from sandboxes.encryption import fields
from sandboxes.models import Event, Sandbox, State
from sandboxes.notifications import tasks as notification_tasks
from sandboxes.worker import tasks as worker_tasks
from tests.helpers.scenarios import (
    launch,
    reload,
    request,
    run_on_commit,
    sweep,
)
from tests.helpers.stored_values import at_rest, everything_at_rest

pytestmark = [pytest.mark.django_db, pytest.mark.store]


def test_the_database_has_no_plaintext(alice, runtime):
    sandbox = launch(alice)
    actions.read_credentials(sandbox, alice)
    runtime.write_log(sandbox.public_id, "api", " ".join(sandbox.secrets.values()))
    broken = launch(alice)
    runtime.write_log(broken.public_id, "api", " ".join(broken.secrets.values()))
    runtime.stop_service(broken.public_id, "api", 1)
    values = [*sandbox.secrets.values(), *broken.secrets.values()]
    sweep()

    everything = everything_at_rest()
    assert len(values) >= 6
    assert sandbox.stellar_public_key in everything
    assert not [value for value in values if value in everything]


def test_secrets_are_decrypted_unchanged(alice, runtime):
    sandbox = request(alice)
    written = dict(sandbox.secrets)

    assert reload(sandbox).secrets == written
    assert "STELLAR_SECRET" in written


def test_equal_secrets_have_different_ciphertexts(alice, runtime):
    one, two = request(alice), request(alice)
    for row in (one, two):
        Sandbox.objects.filter(pk=row.pk).update(secrets={"API_KEY": "sk_test_1"})

    assert at_rest(one) != at_rest(two)
    assert reload(one).secrets == reload(two).secrets == {"API_KEY": "sk_test_1"}


def test_lists_do_not_decrypt_secrets(alice, runtime, settings):
    request(alice)
    settings.SANDBOX_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]

    assert len(list(Sandbox.objects.select_related("owner"))) == 1
    assert len(list(alice.sandboxes.active())) == 1


@pytest.mark.parametrize("how", ["destroyed", "failed"])
def test_secrets_are_wiped_when_a_sandbox_ends(alice, runtime, how):
    sandbox = launch(alice)
    assert at_rest(sandbox)
    if how == "failed":
        runtime.stop_service(sandbox.public_id, "api", 1)
        sweep()
    else:
        with run_on_commit():
            actions.destroy(sandbox, alice)

    assert reload(sandbox).state == how
    assert at_rest(sandbox) == ""
    assert reload(sandbox).secrets == {}


def test_keys_can_be_rotated(alice, runtime, settings):
    sandbox = request(alice)
    old = settings.SANDBOX_ENCRYPTION_KEYS
    new = Fernet.generate_key().decode()

    settings.SANDBOX_ENCRYPTION_KEYS = [new, *old]
    assert reload(sandbox).secrets == sandbox.secrets
    Sandbox.objects.filter(pk=sandbox.pk).update(secrets=sandbox.secrets)

    settings.SANDBOX_ENCRYPTION_KEYS = [new]
    assert reload(sandbox).secrets == sandbox.secrets


def test_a_missing_key_is_reported_with_a_remedy(alice, runtime, settings):
    sandbox = request(alice)
    settings.SANDBOX_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]

    with pytest.raises(fields.DecryptionError, match="SANDBOX_ENCRYPTION_KEYS"):
        assert reload(sandbox).secrets


def test_without_a_key_no_plaintext_is_stored(alice, runtime, settings):
    settings.SANDBOX_ENCRYPTION_KEYS = []

    with pytest.raises(ImproperlyConfigured, match="SANDBOX_ENCRYPTION_KEYS is empty"):
        request(alice)
    assert not Sandbox.objects.exists()


def test_a_dump_has_no_secret_and_can_be_restored(alice, runtime, capsys):
    sandbox = launch(alice)
    call_command("dumpdata", "sandboxes", "auth.user")
    dump = capsys.readouterr().out
    assert not [value for value in sandbox.secrets.values() if value in dump]

    kept, sandbox_id = dict(sandbox.secrets), sandbox.public_id
    Sandbox.objects.all().delete()
    for entry in serializers.deserialize("json", dump):
        entry.save()

    assert Sandbox.objects.get(public_id=sandbox_id).secrets == kept


def test_messages_to_the_worker_have_only_ids(alice, runtime, monkeypatch, clock):
    sent: list[tuple[object, ...]] = []
    for task in (
        worker_tasks.provision,
        worker_tasks.fund,
        worker_tasks.reset,
        worker_tasks.tear_down,
        notification_tasks.send_mails,
    ):
        monkeypatch.setattr(task, "delay", lambda *args: sent.append(args))
    with run_on_commit():
        sandbox, _ = actions.launch_sandbox(alice, actions.LaunchRequest(ttl_minutes=15))
    worker_tasks.provision(sandbox.public_id)
    clock.forward(minutes=11)
    sweep()
    with run_on_commit():
        actions.reset(sandbox, alice)
        actions.destroy(sandbox, alice)

    assert () in sent
    assert {message for message in sent if message} == {(sandbox.public_id,)}


def test_logs_journal_and_emails_have_no_secret(alice, runtime, caplog, capfd, clock):
    caplog.set_level(logging.DEBUG)
    with run_on_commit():
        sandbox, _ = actions.launch_sandbox(alice, actions.LaunchRequest(ttl_minutes=15))
    values = list(reload(sandbox).secrets.values())
    clock.forward(minutes=11)
    sweep()
    actions.read_credentials(sandbox, alice)
    runtime.write_log(sandbox.public_id, "api", f"rejected {values[0]}")
    runtime.stop_service(sandbox.public_id, "api", 1)
    sweep()
    assert reload(sandbox).state == State.FAILED
    assert mail.outbox

    written = capfd.readouterr()
    outputs = [
        caplog.text,
        written.out,
        written.err,
        json.dumps(list(Event.objects.values_list("message", "data"))),
        json.dumps(reload(sandbox).failure),
        *[message.body + message.subject for message in mail.outbox],
    ]
    assert not [value for value in values for text in outputs if value in text]


def test_the_repr_of_a_sandbox_has_no_secret(alice, runtime):
    sandbox = request(alice)

    assert not [v for v in sandbox.secrets.values() if v in f"{sandbox!r} {sandbox}"]
