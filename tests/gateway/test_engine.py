"""The gateway in front of a whole portal whose sandboxes run on an engine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from sandboxes.gateway import development_ca
from tests.gateway.traefik import DOMAIN, Gateway, traefik
from tests.harness.portal import DockerPortal, running_portal
from tests.harness.ports import reserve_port
from tests.helpers.wait import wait_for
from tests.system.console import Console

pytestmark = [pytest.mark.slow, pytest.mark.engine]

TOKEN = "t" * 32


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[DockerPortal, Gateway]]:
    """Return a portal, and the gateway that it configures."""
    folder = tmp_path_factory.mktemp("gateway")
    authority, certificate, key = development_ca.write(folder / "tls", DOMAIN)
    gateway = Gateway(reserve_port(), reserve_port(), authority)
    settings = {
        "SANDBOX_DOMAIN": DOMAIN,
        "SANDBOX_GATEWAY_TOKEN": TOKEN,
        "SANDBOX_GATEWAY_CERTIFICATE": str(certificate),
        "SANDBOX_GATEWAY_KEY": str(key),
        "SANDBOX_GATEWAY_HTTPS_PORT": str(gateway.https_port),
        "SANDBOX_GATEWAY_POSTGRESQL_PORT": str(gateway.postgresql_port),
    }
    with running_portal(tmp_path_factory.mktemp("var"), **settings) as portal:
        assert isinstance(portal, DockerPortal)
        file = folder / "traefik.yaml"
        url = f"http://127.0.0.1:{portal.port}"
        done = portal.manage("gateway_config", str(file), "--portal-url", url)
        assert done.returncode == 0, done.stderr
        with traefik(file, gateway):
            wait_for(lambda: gateway.presents_its_certificate(f"any.{DOMAIN}"), "it has routes")
            yield portal, gateway


def test_a_name_works_from_running_on_over_resets_and_restarts_until_it_is_gone(
    served: tuple[DockerPortal, Gateway],
) -> None:
    portal, gateway = served
    with portal.client("developer") as client, closing(Console(portal.environment)) as console:
        launched = client.post("/sandboxes", json={}, headers={"Prefer": "wait=60"}).json()
        assert launched["state"] == "running", launched
        path = f"/sandboxes/{launched['id']}"
        credentials = client.get(f"{path}/credentials").json()
        host = urlsplit(launched["endpoints"]["api"]).hostname
        assert host

        def plans() -> list[Any]:
            key = f"Authorization: Bearer {credentials['api_key']}\r\n"
            answer = gateway.request(host, "/v1/plans", key)
            assert b" 200 " in answer[:20], answer
            found: list[Any] = json.loads(answer.partition(b"\r\n\r\n")[2])["data"]
            return found

        def idle_expires_at() -> str:
            console.sweep()
            return str(client.get(path).json()["idle_expires_at"])

        # At once: the name works when the sandbox is running.
        assert len(plans()) == 5
        with psycopg.connect(
            credentials["database_url"], hostaddr="127.0.0.1", sslrootcert=str(gateway.authority)
        ) as database:
            assert database.execute("SELECT count(*) FROM plans").fetchone() == (5,)

        idle_expires_at()
        before = idle_expires_at()
        # The gateway's polls aren't activity, users' requests through it are.
        assert idle_expires_at() == before
        plans()
        assert idle_expires_at() > before

        assert client.post(f"{path}/reset").status_code == 202
        wait_for(lambda: not client.get(path).json()["reset_pending"], "the reset is done")
        assert len(plans()) == 5
        # As an engine that restarts, which publishes the ports again.
        label = f"sandboxportal.sandbox={launched['id']}"
        for container in portal.engine.containers(filters={"label": label}):
            portal.engine.restart(container["Id"], timeout=5)
        console.sweep()
        wait_for(lambda: b" 401 " in gateway.request(host, "/v1/plans")[:20], "it is back", 30)
        assert len(plans()) == 5
        assert client.get(path).json()["endpoints"] == launched["endpoints"]

        client.delete(path)
        wait_for(lambda: b"404 page not found" in gateway.request(host), "the name is gone", 30)
    portal.clear()
