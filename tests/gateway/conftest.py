"""The real gateway in front of a portal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.core.management import call_command

from sandboxes.gateway import development_ca
from tests.gateway.traefik import DOMAIN, Gateway, traefik
from tests.harness.ports import reserve_port
from tests.helpers.wait import wait_for

if TYPE_CHECKING:
    from pytest_django.fixtures import SettingsWrapper
    from pytest_django.live_server_helper import LiveServer


@pytest.fixture
def gateway(
    live_server: LiveServer, settings: SettingsWrapper, tmp_path: Path
) -> Iterator[Gateway]:
    """Return Traefik as `gateway_config` configures it, pulling routes from a portal."""
    authority, certificate, key = development_ca.write(tmp_path / "tls", DOMAIN)
    settings.SANDBOX_DOMAIN = DOMAIN
    settings.SANDBOX_GATEWAY_TOKEN = "t" * 32
    settings.SANDBOX_GATEWAY_CERTIFICATE = str(certificate)
    settings.SANDBOX_GATEWAY_KEY = str(key)
    settings.SANDBOX_GATEWAY_HTTP_PORT = reserve_port()
    settings.SANDBOX_GATEWAY_HTTPS_PORT = reserve_port()
    settings.SANDBOX_GATEWAY_POSTGRESQL_PORT = reserve_port()
    file = tmp_path / "traefik.yaml"
    call_command("gateway_config", file, portal_url=live_server.url, address="127.0.0.1")
    assert file.stat().st_mode & 0o777 == 0o600
    running = Gateway(
        settings.SANDBOX_GATEWAY_HTTPS_PORT, settings.SANDBOX_GATEWAY_POSTGRESQL_PORT, authority
    )
    with traefik(file, running):
        # Until its first routes, Traefik accepts connections and closes them.
        wait_for(lambda: running.presents_its_certificate(f"any.{DOMAIN}"), "Traefik has routes")
        yield running
