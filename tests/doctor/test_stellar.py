"""The check of Friendbot, which only concerns portals whose blueprints use Stellar."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandboxes.doctor import stellar
from tests.doctor.findings import FINE, WARNING, levels, the_one
from tests.fakes.friendbot import Friendbot
from tests.harness.ports import reserve_port
from tests.helpers.blueprints import tiny, write

if TYPE_CHECKING:
    from pytest_django.fixtures import SettingsWrapper


pytestmark = pytest.mark.django_db


def test_an_unreachable_friendbot_is_a_warning(bot: Friendbot, settings: SettingsWrapper) -> None:
    assert levels(stellar.faucet()) == [FINE]
    settings.FRIENDBOT_URL = f"http://127.0.0.1:{reserve_port()}/"
    assert "can't be reached" in the_one(stellar.faucet(), WARNING).message


def test_friendbot_is_not_checked_if_no_blueprint_uses_stellar(
    settings: SettingsWrapper, tmp_path: Path
) -> None:
    write(tmp_path, tiny())
    settings.SANDBOX_BLUEPRINTS_DIR = tmp_path
    assert levels(stellar.faucet()) == []
