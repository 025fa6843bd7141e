"""Checks of the keys of secrets and sessions."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from cryptography.fernet import Fernet

from sandboxes.doctor import encryption_keys
from tests.doctor.findings import FINE, WARNING, WRONG, levels, the_one
from tests.helpers.scenarios import launch

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from pytest_django.fixtures import SettingsWrapper

    from sandboxes.runtime.memory import MemoryRuntime


@pytest.mark.django_db
def test_needed_keys_are_reported(
    alice: User, runtime: MemoryRuntime, settings: SettingsWrapper
) -> None:
    first, second = settings.SANDBOX_ENCRYPTION_KEYS[0], Fernet.generate_key().decode()
    launch(alice)
    assert levels(encryption_keys.encryption_keys()) == [FINE]
    settings.SANDBOX_ENCRYPTION_KEYS = [second, first]
    assert (
        "1 secrets are still encrypted"
        in the_one(encryption_keys.encryption_keys(), WARNING).message
    )
    settings.SANDBOX_ENCRYPTION_KEYS = [first, second]
    assert "No secret needs" in the_one(encryption_keys.encryption_keys(), WARNING).message
    settings.SANDBOX_ENCRYPTION_KEYS = [second]
    assert "unknown key" in the_one(encryption_keys.encryption_keys(), WRONG).message
    settings.SANDBOX_ENCRYPTION_KEYS = ["short"]
    assert "E004" in the_one(encryption_keys.encryption_keys(), WRONG).message


def test_secrets_are_counted_by_key() -> None:
    assert levels(encryption_keys.evaluate(Counter({1: 3}), 1)) == [FINE]
    assert levels(encryption_keys.evaluate(Counter({encryption_keys.UNKNOWN_KEY: 1, 2: 1}), 2)) == [
        WRONG,
        WARNING,
    ]


def test_earlier_secret_keys_are_reported(settings: SettingsWrapper) -> None:
    assert levels(encryption_keys.earlier_secret_keys()) == [FINE]
    settings.SECRET_KEY_FALLBACKS = ["before"]
    finding = the_one(encryption_keys.earlier_secret_keys(), WARNING)
    assert "before" not in finding.message
