"""Checks of settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.core import checks

from sandboxes.doctor import configuration
from tests.doctor.findings import FINE, WARNING, WRONG, levels, the_one

if TYPE_CHECKING:
    from pytest_django.fixtures import SettingsWrapper


def test_missing_https_is_one_finding() -> None:
    four = [checks.Warning("…", id=name) for name in configuration.HTTPS_CHECKS]
    assert levels(configuration.evaluate(four)) == [WARNING]
    assert levels(configuration.evaluate([])) == [FINE]
    error = checks.Error("Bad.", hint="Fix it.", id="sandboxes.E005")
    assert "sandboxes.E005" in the_one(configuration.evaluate([error]), WRONG).message


@pytest.mark.django_db
def test_django_checks_are_included(
    settings: SettingsWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The browser's tests need it, in whose process these may run.
    monkeypatch.delenv("DJANGO_ALLOW_ASYNC_UNSAFE", raising=False)
    assert [one for one in configuration.django_checks() if one.level is WRONG] == []
    settings.SECRET_KEY = "short"
    settings.SANDBOX_TTL_MIN_MINUTES = 0
    words = " ".join(one.message for one in configuration.django_checks())
    assert "security.W009" in words and "sandboxes.E005" in words


def test_debug_is_only_acceptable_on_localhost(settings: SettingsWrapper) -> None:
    assert levels(configuration.debug()) == [FINE]
    settings.DEBUG = True
    assert levels(configuration.debug()) == [WARNING]
    settings.SITE_URL = "https://sandboxes.example.com"
    assert levels(configuration.debug()) == [WRONG]
