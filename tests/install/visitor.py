"""A user of an installed portal, on another machine: everything goes through the gateway's TLS."""

from __future__ import annotations

import re
import ssl
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import psycopg

from tests.helpers.wait import wait_for

PORTAL = "portal.example.com"
DOMAIN = "sandboxes.example.net"
LAUNCH_SECONDS = 300
"""At one launch per second, launches may wait for each other."""


class FixedAddress(httpx2.HTTPTransport):
    """Connects to one address for any host, as if a DNS server had named it."""

    def __init__(self, address: str, context: ssl.SSLContext) -> None:
        super().__init__(verify=context)
        self.address = address

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        # Another request, so that cookies belong to the host.
        there = httpx2.Request(
            request.method,
            request.url.copy_with(host=self.address),
            headers=request.headers,
            stream=request.stream,
            extensions=request.extensions | {"sni_hostname": request.url.host},
        )
        return super().handle_request(there)


@dataclass
class Visitor:
    """A user with an account; `authority` is the file of the certificate authority to trust."""

    address: str
    authority: Path
    account: dict[str, str]

    def client(self, base: str, **headers: str) -> httpx2.Client:
        context = ssl.create_default_context(cafile=str(self.authority))
        transport = FixedAddress(self.address, context)
        return httpx2.Client(base_url=base, headers=headers, transport=transport, timeout=75)

    @cached_property
    def api(self) -> httpx2.Client:
        token = f"Bearer {self.account['token']}"
        return self.client(f"https://{PORTAL}/api/v1", Authorization=token)

    def browser(self) -> httpx2.Client:
        """Return a client that has signed in with the form."""
        browser = self.client(f"https://{PORTAL}", Referer=f"https://{PORTAL}/")
        page = browser.get("/accounts/login/").raise_for_status().text
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
        assert token, page
        form = {"login": self.account["email"], "password": self.account["password"]}
        signed_in = browser.post("/accounts/login/", data=form | {"csrfmiddlewaretoken": token[1]})
        assert signed_in.headers["location"] == "/", signed_in.text
        return browser

    def is_answered(self) -> bool:
        """Return whether the portal answers a request for the account's sandboxes."""
        try:
            return self.api.get("/sandboxes").is_success
        except httpx2.TransportError:
            return False

    def launch(self) -> dict[str, Any]:
        """Launch a sandbox and return it once it is running."""
        answer = self.api.post("/sandboxes", json={}, headers={"Prefer": "wait=60"})
        assert answer.status_code in (201, 202), answer.text
        return self.running(answer.json()["id"])

    def sandbox(self, sandbox_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.api.get(f"/sandboxes/{sandbox_id}").raise_for_status().json()
        return found

    def running(self, sandbox_id: str, pause: float = 0.5) -> dict[str, Any]:
        def is_settled() -> bool:
            return self.sandbox(sandbox_id)["state"] not in ("pending", "provisioning")

        wait_for(is_settled, f"{sandbox_id} is provisioned", LAUNCH_SECONDS, pause)
        found = self.sandbox(sandbox_id)
        assert found["state"] == "running", found
        return found

    def credentials(self, sandbox: dict[str, Any]) -> dict[str, str]:
        found: dict[str, str] = self.api.get(f"/sandboxes/{sandbox['id']}/credentials").json()
        return found

    def plans(self, sandbox: dict[str, Any]) -> int:
        """Return the number of plans, asked of the sandbox's API by its name."""
        base = sandbox["endpoints"]["api"]
        assert str(urlsplit(base).hostname).endswith(f".{DOMAIN}")
        key = f"Bearer {self.credentials(sandbox)['api_key']}"
        answer = self.client(base, Authorization=key).get("/v1/plans").raise_for_status()
        return len(answer.json()["data"])

    def plans_by_psql(self, sandbox: dict[str, Any]) -> int:
        """Return the number of plans, asked by the machine's psql with a verified certificate."""
        url = self.credentials(sandbox)["database_url"]
        assert "sslmode=verify-full" in url
        done = subprocess.run(
            ["psql", f"{url}&hostaddr={self.address}", "-Atc", "SELECT count(*) FROM plans"],
            env={"PATH": "/usr/bin:/bin", "PGSSLROOTCERT": str(self.authority)},
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        return int(done.stdout)

    def plans_by_newest_client(self, sandbox: dict[str, Any]) -> int:
        """Return the same, asked by the newest libpq, which negotiates TLS directly."""
        url = self.credentials(sandbox)["database_url"]
        with psycopg.connect(
            url,
            hostaddr=self.address,
            sslrootcert=str(self.authority),
            sslnegotiation="direct",
        ) as connection:
            row = connection.execute("SELECT count(*) FROM plans").fetchone()
        assert row
        return int(row[0])

    def destroy(self, sandbox: dict[str, Any]) -> None:
        self.api.delete(f"/sandboxes/{sandbox['id']}").raise_for_status()

    def wait_until_destroyed(self, sandbox: dict[str, Any]) -> None:
        def is_destroyed() -> bool:
            return bool(self.sandbox(sandbox["id"])["state"] == "destroyed")

        wait_for(is_destroyed, f"{sandbox['id']} is destroyed", 60, 0.5)


def use_a_sandbox(visitor: Visitor) -> None:
    """Launch a sandbox, use it over https and PostgreSQL, and destroy it."""
    sandbox = visitor.launch()
    assert visitor.plans(sandbox) == 5
    assert visitor.plans_by_psql(sandbox) == 5
    assert visitor.plans_by_newest_client(sandbox) == 5
    visitor.destroy(sandbox)
    visitor.wait_until_destroyed(sandbox)
