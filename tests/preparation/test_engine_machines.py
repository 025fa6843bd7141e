"""`manage.py engine issue-certificate`: what an engine's machine gets, and what stays here."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from django.core.management import CommandError, call_command
from socket_proxy.settings import Settings

from sandboxes.lib import clock
from sandboxes.models import Engine
from sandboxes.preparation.engine_certificates import expiry, is_issued_by, read

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _directories(tmp_path: Path, settings, monkeypatch) -> None:
    settings.SANDBOX_ENGINE_CA = tmp_path / "ca"
    settings.SANDBOX_ENGINE_CERTIFICATES = tmp_path / "portal"
    (tmp_path / "passphrase").write_text("only for these tests\n")
    monkeypatch.chdir(tmp_path)


def issue(*arguments: str) -> str:
    output = StringIO()
    options = ["--passphrase-file", "passphrase"]
    call_command("engine", "issue-certificate", *arguments, *options, stdout=output)
    return output.getvalue()


def variables(file: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in file.read_text().splitlines())


def test_a_machine_gets_a_certificate_and_its_settings_but_no_secret_of_the_portal(
    settings, tmp_path: Path
) -> None:
    settings.SANDBOX_MEMORY_MAX_MB = 2048
    output = issue("east", "--host", "192.0.2.2")
    assert "engine add east tcp://192.0.2.2:2376 --publish-address 192.0.2.2" in output

    bundle = tmp_path / "engine-east"
    names = {file.name for file in bundle.iterdir()}
    assert names == {"ca.pem", "cert.pem", "key.pem", "engine.env", "firewall.sh"}
    found = variables(bundle / "engine.env")
    assert found["ENGINE_TLS"] == "192.0.2.2:2376"
    held_to = Settings.from_environment(found)
    assert (held_to.bind_address, held_to.memory_mb) == ("192.0.2.2", 2048)
    assert held_to.subnets == settings.SANDBOX_SUBNETS
    text = "".join(file.read_text() for file in bundle.iterdir())
    for secret in (settings.SECRET_KEY, (tmp_path / "portal/key.pem").read_text()):
        assert secret not in text
    modes = {file.name: file.stat().st_mode & 0o777 for file in bundle.iterdir()}
    assert modes["key.pem"] == modes["engine.env"] == 0o600


def test_the_key_of_the_authority_is_encrypted(tmp_path: Path) -> None:
    issue("--portal")
    key = tmp_path / "ca/ca.key"
    assert (key.stat().st_mode & 0o777, key.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    with pytest.raises(TypeError, match="encrypted"):
        load_pem_private_key(key.read_bytes(), None)
    (tmp_path / "passphrase").write_text("not the passphrase")
    with pytest.raises(CommandError, match="passphrase: This isn't the passphrase"):
        issue("--portal")


def test_certificates_are_renewed_before_they_end(tmp_path: Path, clock) -> None:
    issue("east", "--host", "192.0.2.2", "--host", "east.example.com")
    portal, engine = tmp_path / "portal/cert.pem", tmp_path / "engine-east/cert.pem"
    first = [read(portal), read(engine)]
    issue("east", "--host", "192.0.2.2")
    assert (read(portal) == first[0], read(engine) == first[1]) == (True, False)

    clock.forward(days=340)
    issue("east", "--host", "192.0.2.2", "--days", "30")
    renewed = read(portal)
    assert renewed != first[0]
    authority = read(tmp_path / "ca/ca.pem")
    assert is_issued_by(renewed, authority)


def test_an_engine_that_was_added_needs_no_options(tmp_path: Path) -> None:
    values = {"address": "tcp://192.0.2.3:2377", "publish_address": "192.0.2.4"}
    Engine.objects.create(name="west", **values)
    assert "engine add" not in issue("west", "--output", "elsewhere", "--days", "7")
    found = variables(tmp_path / "elsewhere/engine.env")
    assert found["ENGINE_TLS"] == "192.0.2.3:2377"
    assert found["SANDBOX_BIND_ADDRESS"] == "192.0.2.4"
    ends = expiry(read(tmp_path / "elsewhere/cert.pem"))
    assert ends - clock.now() <= timedelta(days=7)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "Name an engine, or use --portal"),
        (("east", "--portal"), "Name an engine, or use --portal"),
        (("No!", "--host", "192.0.2.2"), "name: Use lowercase letters"),
        (("east",), "host: Name the address"),
        (("east", "--host", "a b"), "host: “a b” isn't an IP address"),
        (("east", "--host", "east.example.com"), "publish_address: Name an IP address"),
        (("east", "--host", "127.0.0.1"), "publish_address: Name an address of its machine that"),
        (("east", "--host", "192.0.2.2", "--port", "70000"), "port: Use a number"),
        (("east", "--host", "192.0.2.2", "--days", "0"), "--days: use a number from 1"),
        (("east", "--host", "192.0.2.2", "--output", "/proc/x"), "Can't use /proc/x"),
    ],
)
def test_wrong_values_are_refused(arguments, reason, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=reason):
        issue(*arguments)
    assert not (tmp_path / "engine-east").exists()


def test_a_short_passphrase_protects_nothing(tmp_path: Path) -> None:
    (tmp_path / "passphrase").write_text("short")
    with pytest.raises(CommandError, match="passphrase: Use at least 12 characters"):
        issue("--portal")
    assert not (tmp_path / "ca").exists()
