"""Friendbot behind the proxy of the environment."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING

import pytest

from sandboxes.stellar import friendbot
from tests.fakes.friendbot import Friendbot

if TYPE_CHECKING:
    from pytest_django.fixtures import SettingsWrapper

FRIENDBOT_URL = "http://friendbot.example/"


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize("variable", ["http_proxy", "all_proxy"])
@pytest.mark.parametrize("scheme", ["http://", ""])
def test_friendbot_is_reached_through_the_proxy(
    bot: Friendbot,
    settings: SettingsWrapper,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    scheme: str,
) -> None:
    settings.FRIENDBOT_URL = FRIENDBOT_URL
    monkeypatch.setenv(variable, f"{scheme}127.0.0.1:{bot.server_port}")

    friendbot.request_funds("GABC")

    assert bot.targets == ["http://friendbot.example/?addr=GABC"]
    assert bot.proxy_authorizations == [None]


def test_the_proxys_credentials_are_sent_decoded(
    bot: Friendbot, settings: SettingsWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.FRIENDBOT_URL = FRIENDBOT_URL
    monkeypatch.setenv("http_proxy", f"http://portal:p%40ss@127.0.0.1:{bot.server_port}")

    friendbot.request_funds("GABC")

    assert bot.proxy_authorizations == ["Basic " + b64encode(b"portal:p@ss").decode()]


def test_no_proxy_is_used_for_excluded_hosts(
    bot: Friendbot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    friendbot.request_funds("GABC")

    assert bot.targets == ["/?addr=GABC"]
