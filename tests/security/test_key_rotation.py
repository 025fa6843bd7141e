"""Rotation of the encryption keys while the portal runs."""

from __future__ import annotations

from collections import Counter
from io import StringIO
from typing import TYPE_CHECKING

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command

from sandboxes import actions
from sandboxes.encryption import rotation
from sandboxes.models import Sandbox, State, Webhook
from tests.helpers.scenarios import launch, reload, run_on_commit
from tests.helpers.stored_values import at_rest

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime"), pytest.mark.store]


@pytest.fixture
def new_key(settings) -> str:
    """Add a key in front of the existing one."""
    return put_first(settings)


def put_first(settings) -> str:
    key = Fernet.generate_key().decode()
    settings.SANDBOX_ENCRYPTION_KEYS = [key, *settings.SANDBOX_ENCRYPTION_KEYS]
    return key


@pytest.fixture
def everything(alice: User) -> tuple[Sandbox, Webhook, TOTP, RecoveryCodes]:
    """Create one row of each model that has secrets."""
    webhook = Webhook.objects.create(
        user=alice, slot=1, url="https://example.com/", secrets={"current": "whsec_AAAA"}
    )
    codes = RecoveryCodes.activate(alice)
    return launch(alice), webhook, TOTP.activate(alice, "JBSWY3DPEHPK3PXP"), codes


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("rotate_keys", *arguments, stdout=out)
    return out.getvalue()


def test_after_rotation_the_new_key_decrypts_everything(everything, new_key, settings) -> None:
    sandbox, webhook, _, codes = everything
    kept, shown = dict(sandbox.secrets), codes.get_unused_codes()
    output = run()
    settings.SANDBOX_ENCRYPTION_KEYS = [new_key]

    assert "4 secrets were re-encrypted" in output
    assert "Only the first key is needed." in output
    assert reload(sandbox).secrets == kept
    assert Webhook.objects.get(pk=webhook.pk).secrets == {"current": "whsec_AAAA"}
    factors = {row.type: row.wrap() for row in Authenticator.objects.all()}
    assert factors["recovery_codes"].get_unused_codes() == shown
    assert Fernet(new_key).decrypt(factors["totp"].instance.data["secret"]) == b"JBSWY3DPEHPK3PXP"


def test_checking_whether_an_old_key_is_needed_changes_nothing(everything, new_key) -> None:
    before = at_rest(everything[0])
    with pytest.raises(CommandError, match="Key 2 is still needed"):
        run("--check")
    assert at_rest(everything[0]) == before

    run()
    assert "Only the first key is needed." in run("--check")


def test_an_interrupted_rotation_continues(alice, settings, monkeypatch) -> None:
    for _ in range(3):
        launch(alice)
    put_first(settings)
    monkeypatch.setattr(rotation, "BATCH_SIZE", 1)
    places = list(rotation.encrypted_values())
    text = rotation.get_fernet().rotate(places[0].texts[0].encode()).decode()
    assert places[0].replace([text])

    assert rotation.key_usage() == {1: 1, 2: 2}
    assert rotation.rotate() == {"rotated": 2}
    assert rotation.rotate() == Counter()


def test_secrets_wiped_during_rotation_stay_wiped(alice, settings, monkeypatch) -> None:
    sandbox = launch(alice)
    put_first(settings)
    places = list(rotation.encrypted_values())
    with run_on_commit():
        actions.destroy(sandbox, alice)
    monkeypatch.setattr(rotation, "encrypted_values", lambda: iter(places))

    assert rotation.rotate() == {"overtaken": 1}
    assert reload(sandbox).state == State.DESTROYED
    assert at_rest(sandbox) == ""


def test_a_missing_key_is_reported_and_nothing_changes(everything, new_key, settings) -> None:
    before, keys = at_rest(everything[0]), settings.SANDBOX_ENCRYPTION_KEYS
    settings.SANDBOX_ENCRYPTION_KEYS = [new_key]
    with pytest.raises(CommandError, match="4 secrets can't be decrypted"):
        run()
    assert at_rest(everything[0]) == before

    settings.SANDBOX_ENCRYPTION_KEYS = keys
    assert "4 secrets were re-encrypted" in run()


def test_without_a_valid_key_the_error_has_a_remedy(settings) -> None:
    settings.SANDBOX_ENCRYPTION_KEYS = ["short"]
    with pytest.raises(CommandError, match="key 1 isn't a Fernet key"):
        run()


def test_rotation_prints_no_secret(everything, new_key, caplog, capfd) -> None:
    output = run()
    written = output + caplog.text + "".join(capfd.readouterr())
    assert not [value for value in everything[0].secrets.values() if value in written]
    assert new_key not in written
