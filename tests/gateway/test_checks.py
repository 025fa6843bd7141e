"""Settings of the gateway that are refused, each with its reason."""

from __future__ import annotations

import datetime
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import time_machine
from django.core.management import CommandError, call_command

from sandboxes.checks.gateway import check_gateway, check_gateway_dns, check_owner_only
from sandboxes.gateway import development_ca
from tests.gateway.owner_only import owner_only_blueprint
from tests.harness.ports import reserve_port

if TYPE_CHECKING:
    from pytest_django.fixtures import SettingsWrapper

DOMAIN = "sandboxes.example.net"


@pytest.fixture(autouse=True)
def _valid(settings: SettingsWrapper, tmp_path: Path) -> None:
    _authority, certificate, key = development_ca.write(tmp_path / "valid", DOMAIN)
    settings.SITE_URL = "https://portal.example.com"
    settings.SANDBOX_DOMAIN = DOMAIN
    settings.SANDBOX_GATEWAY_TOKEN = "t" * 32
    settings.SANDBOX_GATEWAY_CERTIFICATE = str(certificate)
    settings.SANDBOX_GATEWAY_KEY = str(key)


def problems() -> str:
    return "\n".join(message.msg for message in check_gateway())


def test_valid_settings_pass_and_so_does_no_gateway(settings: SettingsWrapper) -> None:
    assert check_gateway() == []
    settings.SANDBOX_DOMAIN = settings.SANDBOX_GATEWAY_TOKEN = ""
    assert check_gateway() == check_gateway_dns() == []


@pytest.mark.parametrize(
    ("portal", "domain", "refused"),
    [
        ("portal.example.net", "sandboxes.example.net", True),
        ("example.net", "sandboxes.example.net", True),
        ("portal.example.co.uk", "sandboxes.example.co.uk", True),
        ("portal.co.uk", "sandboxes.co.uk", False),
        ("portal.example.com", "sandboxes.example.net", False),
        ("127.0.0.1", "sandboxes.example.net", False),
        ("localhost", "sandboxes.localhost", False),
    ],
)
def test_the_domain_must_be_another_site_than_the_portal(
    settings: SettingsWrapper, portal: str, domain: str, refused: bool
) -> None:
    settings.SITE_URL, settings.SANDBOX_DOMAIN = f"https://{portal}", domain
    assert ("could set cookies of the portal" in problems()) is refused


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("SANDBOX_DOMAIN", "sandboxes_example.net", "isn't a domain"),
        ("SANDBOX_DOMAIN", "localhost", "isn't a domain"),
        ("SANDBOX_DOMAIN", "other.example.net", r"isn't valid for \*.other.example.net"),
        ("SANDBOX_GATEWAY_TOKEN", "short", "fewer than 32 characters"),
        ("SANDBOX_GATEWAY_CERTIFICATE", "", "either SANDBOX_GATEWAY_CERTIFICATE or"),
        ("SANDBOX_GATEWAY_ACME_DNS", "route53", "either SANDBOX_GATEWAY_CERTIFICATE or"),
        ("SANDBOX_GATEWAY_CERTIFICATE", "/nowhere.pem", "“/nowhere.pem” can't be read"),
        ("SANDBOX_GATEWAY_KEY", "/nowhere.pem", "SANDBOX_GATEWAY_KEY: the file"),
        ("SANDBOX_GATEWAY_KEY", __file__, "aren't a certificate and its key"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(
    settings: SettingsWrapper, name: str, value: str, message: str
) -> None:
    setattr(settings, name, value)
    assert re.search(message, problems())


def test_a_certificate_must_have_its_own_key_and_be_current(
    settings: SettingsWrapper, tmp_path: Path
) -> None:
    now = datetime.datetime.now(datetime.UTC)
    with time_machine.travel(now + datetime.timedelta(days=366)):
        assert "expired on" in problems()
    with time_machine.travel(now - datetime.timedelta(days=1)):
        assert "is valid only from" in problems()
    with time_machine.travel(now + datetime.timedelta(days=355, minutes=-1)):
        (warning,) = check_gateway()
        assert (warning.id, "in 10 days" in warning.msg) == ("sandboxes.W031", True)
    settings.SANDBOX_GATEWAY_KEY = str(development_ca.write(tmp_path / "other", DOMAIN)[2])
    assert "isn't the key of" in problems()


def test_names_that_do_not_resolve_are_a_warning(settings: SettingsWrapper) -> None:
    settings.SANDBOX_DOMAIN = "sandboxes.invalid"
    (warning,) = check_gateway_dns()
    assert warning.id == "sandboxes.W030"


@contextmanager
def unreadable(path: Path) -> Iterator[None]:
    """Let reading a file fail, also for root."""
    original = Path.read_bytes

    def read_bytes(self: Path) -> bytes:
        if self == path:
            raise PermissionError
        return original(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "read_bytes", read_bytes)
        yield


def test_only_the_gateway_must_read_the_key(settings: SettingsWrapper, tmp_path: Path) -> None:
    file = tmp_path / "traefik.yaml"
    settings.SANDBOX_GATEWAY_HTTPS_PORT = reserve_port()
    settings.SANDBOX_GATEWAY_POSTGRESQL_PORT = reserve_port()
    with unreadable(Path(settings.SANDBOX_GATEWAY_KEY)):
        assert check_gateway() == []
        with pytest.raises(CommandError, match=r"SANDBOX_GATEWAY_KEY: .* let the gateway's user"):
            call_command("gateway_config", file, skip_checks=True)
    assert not file.exists()


def test_a_port_of_another_program_is_refused(settings: SettingsWrapper, tmp_path: Path) -> None:
    settings.SANDBOX_GATEWAY_HTTPS_PORT = reserve_port()
    with socket.create_server(("127.0.0.1", 0)) as other:
        settings.SANDBOX_GATEWAY_POSTGRESQL_PORT = port = other.getsockname()[1]
        expected = rf"Port {port} is in use \(SANDBOX_GATEWAY_POSTGRESQL_PORT\). Stop the program"
        with pytest.raises(CommandError, match=expected):
            call_command("gateway_config", tmp_path / "traefik.yaml", skip_checks=True)


@pytest.mark.parametrize(
    ("domain", "address", "words"),
    [
        (DOMAIN, "127.0.0.1", ""),
        (DOMAIN, "10.0.0.1", ""),
        (DOMAIN, "0.0.0.0", "published on 0.0.0.0, past the gateway"),
        ("", "127.0.0.1", "Others can open sandboxes of tiny"),
        (DOMAIN, "localhost", ""),  # Another check reports it.
    ],
)
def test_ways_past_the_gateway_to_owner_only_sandboxes_are_a_warning(
    settings: SettingsWrapper, tmp_path: Path, domain: str, address: str, words: str
) -> None:
    assert check_owner_only() == []
    owner_only_blueprint(settings, tmp_path)
    settings.SANDBOX_DOMAIN, settings.SANDBOX_BIND_ADDRESS = domain, address
    found = [warning.msg for warning in check_owner_only()]
    assert bool(found) is bool(words)
    assert words in "".join(found)
