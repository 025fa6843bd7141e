"""`manage.py engine`: adding checks an engine first, and each change of state is audited."""

from __future__ import annotations

import shutil
import ssl
from datetime import timedelta
from io import StringIO
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from sandboxes.models import AuditEntry, Engine, Sandbox
from sandboxes.preparation import engine_certificates
from sandboxes.preparation.engine_certificates import PORTAL, Authority
from sandboxes.runtime import Capabilities, EngineUnreachable, get_runtime
from sandboxes.runtime.host_resources import HostResources, ProxyPolicy
from tests.helpers.scenarios import launch, reload, request

pytestmark = pytest.mark.django_db

NORTH = {
    "name": "north",
    "address": "tcp://192.0.2.9:2376",
    "publish_address": "192.0.2.9",
    "weight": 100,
}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.open(tmp_path_factory.mktemp("ca"), "only for these tests")


@pytest.fixture(autouse=True)
def _certificates(tmp_path: Path, authority: Authority, settings) -> None:
    settings.SANDBOX_ENGINE_CERTIFICATES = tmp_path
    authority.issue_for_client(tmp_path, PORTAL)


def engine(*arguments: str, **options: Any) -> str:
    output = StringIO()
    call_command("engine", *arguments, stdout=output, stderr=output, **options)
    return output.getvalue()


def add(**changes: Any) -> str:
    values = NORTH | changes
    return engine(
        "add",
        values["name"],
        values["address"],
        f"--publish-address={values['publish_address']}",
        f"--weight={values['weight']}",
    )


def answer(monkeypatch: pytest.MonkeyPatch, **facts: Any) -> None:
    """Let all engines describe themselves like this."""
    values = {"hard_disk_limit": True, "memory_mb": 8000, "engine_id": "N", "architecture": "arm"}
    found = Capabilities("docker", "28", True, **values | facts)
    kind = type(get_runtime())
    monkeypatch.setattr(kind, "capabilities", lambda _: found)


def policy(**changes: Any) -> ProxyPolicy:
    """Return what the socket proxy of an engine that can be used says."""
    values = {"publish_address": "192.0.2.9", "has_address": True}
    values |= {"subnets": IPv4Network("10.0.0.0/8"), "ports": range(1024, 65_536)}
    return ProxyPolicy(**values | changes)


def test_an_engine_that_passes_the_checks_gets_sandboxes(alice, engines, monkeypatch):
    answer(monkeypatch, proxy_policy=policy())
    assert "north: added (docker 28, 8,000 MB" in add()

    north = Engine.objects.get(name="north")
    assert (north.state, north.engine_id, north.memory_mb) == ("active", "N", 8000)
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.model, entry.subject) == ("add", "engine", "north")
    Engine.objects.exclude(name="north").update(weight=1)
    assert request(alice).engine_name == "north"
    assert "tcp://192.0.2.9:2376" in engine("list")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": "No!"}, "name: Use lowercase letters"),
        ({"name": "east"}, "name: There is an engine east already"),
        ({"address": "http://x"}, "address: Use tcp://HOST:PORT"),
        ({"address": "tcp://192.0.2.2:2376"}, "address: This is the address of the engine east"),
        ({"publish_address": "here"}, "publish_address: Enter a valid IPv4"),
        ({"publish_address": "127.0.0.1"}, "publish_address: Name an address of the engine's"),
        ({"publish_address": "0.0.0.0"}, "publish_address: Name an address of the engine's"),
        ({"weight": 0}, "weight: .*greater than or equal to 1"),
    ],
)
def test_wrong_values_are_refused_with_the_field(engines, monkeypatch, changes, reason):
    answer(monkeypatch)
    with pytest.raises(CommandError, match=reason):
        add(**changes)
    assert not Engine.objects.filter(name="north").exists()


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"engine_id": "E"}, "This is the engine east"),
        ({"architecture": "x86_64"}, "Its machine is x86_64, and that of east is arm"),
        ({"resources": HostResources(subnets_taken=4)}, "overlap with SANDBOX_SUBNETS"),
        ({"proxy_policy": policy(publish_address="192.0.2.8")}, "ports on 192.0.2.8, not on 192"),
        ({"proxy_policy": policy(has_address=False)}, "doesn't have the address 192.0.2.9"),
        ({"proxy_policy": policy(subnets=IPv4Network("10.99.0.0/16"))}, "other subnets or ports"),
        ({"proxy_policy": policy(ports=range(20_000, 21_000))}, "other subnets or ports"),
    ],
)
def test_an_engine_that_cannot_run_sandboxes_is_refused(engines, monkeypatch, facts, reason):
    Engine.objects.get(name="east").store(engine_id="E", architecture="arm")
    answer(monkeypatch, **facts)
    with pytest.raises(CommandError, match=reason):
        add()


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        (OSError("refused"), "No engine answers there"),
        (ssl.SSLError("[SSL: CERTIFICATE_VERIFY_FAILED]"), "isn't one of the CA"),
        (ssl.SSLError("CERTIFICATE_VERIFY_FAILED: certificate has expired"), "has expired. Renew"),
        (ssl.SSLError("CERTIFICATE_VERIFY_FAILED: IP address mismatch"), "isn't for this address"),
        (ssl.SSLError("[SSL: WRONG_VERSION_NUMBER] wrong version"), "doesn't use TLS"),
        (ssl.SSLError("[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert"), "rejects the"),
        (OSError("Connection reset by peer"), "The engine ends the connection"),
    ],
)
def test_the_cause_of_a_failed_connection_is_named(engines, monkeypatch, cause, reason):
    def fail(_: object) -> None:
        raise EngineUnreachable("The engine did not answer.") from cause

    monkeypatch.setattr(type(get_runtime()), "capabilities", fail)
    with pytest.raises(CommandError, match=reason):
        add()
    with pytest.raises(CommandError, match="Can't be used: east"):
        engine("check", "east")


def test_without_certificates_no_engine_is_reached_by_tcp(engines, tmp_path):
    shutil.rmtree(tmp_path)
    with pytest.raises(CommandError, match=r"TLS needs ca\.pem, cert\.pem, key\.pem in"):
        add()


def test_a_certificate_of_the_portal_that_no_engine_accepts_is_named(
    engines, authority, settings, tmp_path, monkeypatch
):
    monkeypatch.setattr(engine_certificates, "BACKDATED_BY", timedelta(days=2))
    authority.issue_for_client(tmp_path, PORTAL, days=-1)
    with pytest.raises(CommandError, match=r"certificate expired on .* --portal"):
        add()
    authority.issue_for_client(tmp_path, PORTAL)
    other = Authority.open(tmp_path / "other", "only for these tests")
    (tmp_path / "ca.pem").write_bytes((tmp_path / "other/ca.pem").read_bytes())
    assert other.certificate != authority.certificate
    with pytest.raises(CommandError, match=r"isn't one of the authority in ca\.pem"):
        add()


def test_an_engine_is_drained_and_removed_once_it_is_empty(alice, engines):
    sandbox = launch(alice)
    name = sandbox.engine_name
    assert "1 sandboxes are left" in engine("drain", name)
    with pytest.raises(CommandError, match="already draining"):
        engine("drain", name)
    with pytest.raises(CommandError, match="has 1 sandboxes"):
        engine("remove", name)
    with pytest.raises(CommandError, match="give a --reason"):
        engine("remove", name, "--force")

    engine("remove", name, "--force", "--reason=Burnt down")
    assert (reload(sandbox).state, reload(sandbox).end_reason) == ("failed", "lost")
    assert reload(sandbox).slot is None
    assert name not in engine("list")
    assert list(AuditEntry.objects.order_by("pk").values_list("action", "reason")) == [
        ("drain", "Run from the command line."),
        ("remove", "Burnt down"),
    ]
    assert "active" in engine("activate", name)
    assert Sandbox.objects.get().engine_name == name


def test_the_last_engine_stays(runtime):
    with pytest.raises(CommandError, match="needs an engine"):
        engine("remove", "default")
    with pytest.raises(CommandError, match="Unknown engine “south”"):
        engine("drain", "south")


def test_weight_and_labels_are_changed_and_audited(engines):
    assert "weight 50, labels: disk=ssd, zone=eu." in engine(
        "set", "west", "--weight=50", "--label=disk=ssd", "--label=zone=eu"
    )
    engine("set", "west", "--label=zone=")
    west = Engine.objects.get(name="west")
    assert (west.weight, west.labels) == (50, {"disk": "ssd"})
    assert AuditEntry.objects.latest("pk").changes["labels"] == ["disk=ssd, zone=eu", "disk=ssd"]
    with pytest.raises(CommandError, match="isn't the key or value of a label"):
        engine("set", "west", "--label=-=x")
    with pytest.raises(CommandError, match="--weight"):
        engine("set", "west", "--weight=0")
