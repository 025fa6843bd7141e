"""The real gateway in front of a sandbox: what passes it, and when its names work."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection

from sandboxes.doctor import gateway as doctor
from sandboxes.gateway import development_ca, listening
from sandboxes.models import Sandbox, State
from tests.doctor.findings import FINE, WRONG, levels, the_one
from tests.gateway.traefik import (
    DOMAIN,
    EchoHandler,
    Gateway,
    echo_service,
    forwarding,
    host_of,
    until_routed,
)
from tests.helpers.scenarios import launch
from tests.helpers.wait import wait_for

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from pytest_django.fixtures import SettingsWrapper

    from sandboxes.runtime.memory import MemoryRuntime

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


def test_http_passes_unbuffered_until_the_sandbox_ends(
    gateway: Gateway, alice: User, runtime: MemoryRuntime
) -> None:
    sandbox = launch(alice)
    api = host_of(sandbox, "api")
    with echo_service(sandbox, "api") as service:
        until_routed(gateway, api)
        _sees_the_public_name(gateway, api)
        with gateway.tls(api, alpn="h2") as client:
            assert client.selected_alpn_protocol() == "h2"
        _takes_large_bodies(gateway, api)
        _streams(gateway, api, service)
        _keeps_websockets_open_over_changes_of_routes(gateway, api, alice)

        Sandbox.objects.filter(pk=sandbox.pk).update(
            state=State.DESTROYING, end_reason="user", slot=None
        )
        wait_for(lambda: b"404 Not Found" in gateway.request(api), "the name is gone", pause=0.05)
        assert b"404 page not found" in gateway.request(api)


def _sees_the_public_name(gateway: Gateway, api: str) -> None:
    answer = gateway.request(api, "/v1/plans?a=b", "X-Own: yes\r\nPortal-Token: sbp_x\r\n")
    seen = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert seen["path"] == "/v1/plans?a=b"
    assert seen["headers"]["host"] == api
    assert seen["headers"]["x-own"] == "yes"
    assert "portal-token" not in seen["headers"]
    assert seen["headers"]["x-forwarded-proto"] == "https"


def _takes_large_bodies(gateway: Gateway, api: str) -> None:
    body = os.urandom(20_000_000)
    answer = gateway.request(api, "/upload", body=body)
    assert answer.endswith(hashlib.sha256(body).hexdigest().encode())


def _streams(gateway: Gateway, api: str, service: type[EchoHandler]) -> None:
    with gateway.tls(api) as client:
        client.sendall(f"GET /events HTTP/1.1\r\nHost: {api}\r\n\r\n".encode())
        received = b""
        while b"first" not in received:
            received += client.recv(1024)
        assert b"second" not in received
        service.proceed.set()
        while b"second" not in received:
            more = client.recv(1024)
            assert more, received
            received += more


def _keeps_websockets_open_over_changes_of_routes(gateway: Gateway, api: str, alice: User) -> None:
    with gateway.tls(api) as client:
        upgrade = (
            f"GET / HTTP/1.1\r\nHost: {api}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        client.sendall(upgrade.encode())
        assert b" 101 " in client.recv(4096)
        other = launch(alice)
        with echo_service(other, "api"):
            until_routed(gateway, host_of(other, "api"))
        client.sendall(b"still open")
        assert client.recv(1024) == b"still open"


def test_a_name_works_on_its_reserved_port_while_the_sandbox_is_being_provisioned(
    gateway: Gateway, alice: User, runtime: MemoryRuntime
) -> None:
    sandbox = launch(alice)
    Sandbox.objects.filter(pk=sandbox.pk).update(state=State.PROVISIONING)
    with echo_service(sandbox, "api"):
        until_routed(gateway, host_of(sandbox, "api"))


def test_a_renewed_certificate_is_presented_without_a_restart(
    gateway: Gateway, tmp_path: Path, settings: SettingsWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = partial(listening.presented_certificate, "127.0.0.1")
    monkeypatch.setattr(listening, "presented_certificate", lambda _host: here())
    assert levels(doctor.gateway()) == [FINE]
    authority, certificate, key = development_ca.write(tmp_path / "renewed", DOMAIN)
    for new, path in (
        (certificate, settings.SANDBOX_GATEWAY_CERTIFICATE),
        (key, settings.SANDBOX_GATEWAY_KEY),
    ):
        Path(path).write_bytes(new.read_bytes())
    renewed = replace(gateway, authority=authority)
    wait_for(lambda: renewed.presents_its_certificate(f"any.{DOMAIN}"), "it is presented", 5)
    assert "expires on" in the_one(doctor.gateway(), FINE).message

    call_command("gateway_config", tmp_path / "again.yaml", address="127.0.0.1")
    monkeypatch.undo()
    assert "doesn't answer" in the_one(doctor.gateway(), WRONG).message


def test_plain_http_is_redirected(gateway: Gateway, settings: SettingsWrapper) -> None:
    port = settings.SANDBOX_GATEWAY_HTTP_PORT
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(f"GET /a?b=c HTTP/1.1\r\nHost: any.{DOMAIN}\r\n\r\n".encode())
        head = client.recv(4096).decode()
    assert " 301 " in head or " 308 " in head
    assert f"Location: https://any.{DOMAIN}:{gateway.https_port}/a?b=c" in head


@pytest.mark.postgres
def test_both_negotiations_of_postgresql_verify_the_name(
    gateway: Gateway, alice: User, runtime: MemoryRuntime, tmp_path: Path
) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("The database behind the gateway is that of the tests.")
    at = connection.settings_dict
    sandbox = launch(alice)
    host = host_of(sandbox, "database")
    target = (
        f"{at['HOST']}/.s.PGSQL.{at['PORT']}"
        if at["HOST"].startswith("/")
        else (at["HOST"], int(at["PORT"]))
    )
    common = {
        "host": host,
        "hostaddr": "127.0.0.1",
        "port": str(gateway.postgresql_port),
        "user": at["USER"],
        "password": at["PASSWORD"],
        "dbname": at["NAME"],
        "sslmode": "verify-full",
        "sslrootcert": str(gateway.authority),
        "connect_timeout": "10",
    }

    def result_of_psql() -> str:
        url = " ".join(f"{name}='{value}'" for name, value in common.items() if value)
        command = ["psql", "--no-psqlrc", "-Atc", "SELECT 42", url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        return done.stdout.strip() or done.stderr

    with forwarding(sandbox, "db", target):
        wait_for(lambda: result_of_psql() == "42", result_of_psql(), 10, 0.1)
        # Directly, without a request for TLS first, as clients of PostgreSQL 17 can.
        for negotiation in ("direct", "postgres"):
            with psycopg.connect(**common, sslnegotiation=negotiation) as client:  # type: ignore[arg-type]
                assert client.execute("SELECT 1").fetchone() == (1,)
                assert client.pgconn.ssl_in_use

        stranger = development_ca.write(tmp_path / "stranger", DOMAIN)[0]
        with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
            psycopg.connect(**common | {"sslrootcert": str(stranger)}).close()  # type: ignore[arg-type]
