"""Blueprints that change, break and go while their sandboxes run, on a real portal and engine."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from tests.harness.busybox_image import import_busybox_image
from tests.harness.portal import DockerPortal, running_portal
from tests.helpers.wait import wait_for
from tests.system.console import Console

pytestmark = [pytest.mark.slow, pytest.mark.engine]

IN_FORCE_SECONDS = 5
API = (
    '{"openapi": "3.1.0", "info": {"title": "Kiosk", "version": "1"}, "paths": {"/ok": {"get": '
    '{"operationId": "ok", "summary": "Buy a ticket", "responses": {"200": {"description": "OK"}}}}'
    "}}"
)


def stack(name: str, image: str, edition: str, credential: str = "key") -> dict[str, Any]:
    """Return a blueprint whose reset command and title name the edition."""
    return {
        "name": name,
        "services": {
            "web": {
                "image": image,
                "command": ["httpd", "-f", "-p", "8080", "-h", "/www"],
                "environment": {"KEY": "${KEY}", "EDITION": edition},
                "configs": [{"source": "api", "target": "/www/openapi.json"}],
                "mem_limit": "32m",
                "cpus": 0.2,
            }
        },
        "configs": {"api": {"content": API}},
        "x-sandbox": {
            "title": f"Kiosk {edition}",
            "secrets": {"KEY": {}},
            "endpoints": {"rest": {"service": "web", "port": 8080, "openapi": "/openapi.json"}},
            "credentials": {credential: {"value": "${KEY}"}},
            "ready": [{"endpoint": "rest", "path": "/ok"}],
            "reset": {
                "service": "web",
                "command": ["sh", "-c", f"echo {edition} > /www/reset"],
            },
        },
    }


@dataclass
class Product:
    """A portal with the blueprints “kiosk”, the default, and “other”."""

    portal: DockerPortal
    folder: Path
    image: str
    client: httpx2.Client
    browser: httpx2.Client
    console: Console

    def write(self, name: str, *edition: str) -> None:
        (self.folder / name).mkdir(exist_ok=True)
        content = yaml.safe_dump(stack(name, self.image, *edition), sort_keys=False)
        (self.folder / name / "compose.yaml").write_text(content)

    def manage(self, *arguments: str) -> str:
        """Run a command in a process that is running already, and return what it prints."""
        call = f"call_command(*{arguments!r})"
        return self.console.run(f"from django.core.management import call_command; {call}")

    def title(self) -> str:
        """Return the title of the default blueprint, as the web process has it."""
        known = self.client.get("/blueprints").json()["data"]
        return next(one["title"] for one in known if one["default"])

    def launch(self, **choices: Any) -> dict[str, Any]:
        made = self.client.post("/sandboxes", json=choices, headers={"Prefer": "wait=60"})
        sandbox: dict[str, Any] = made.json()
        assert sandbox.get("state") == "running", sandbox
        return sandbox

    def reset(self, sandbox: dict[str, Any]) -> str:
        """Reset the sandbox, and return the edition whose command did it."""
        path = f"/sandboxes/{sandbox['id']}"
        self.client.post(f"{path}/reset").raise_for_status()
        wait_for(lambda: not self.client.get(path).json()["reset_pending"], "it is reset")
        return httpx2.get(f"{sandbox['endpoints']['rest']}/reset").text.strip()

    def created(self, edition: str) -> int | None:
        """Return when the newest container of an edition was created, in Unix time."""
        engine, wanted = self.portal.engine, self.portal._filter()
        found = [
            row["Created"]
            for row in engine.containers(filters=wanted)
            if f"EDITION={edition}" in engine.inspect_container(row["Id"])["Config"]["Env"]
        ]
        return max(found, default=None)


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    folder = tmp_path_factory.mktemp("blueprints")
    var = tmp_path_factory.mktemp("var")
    with import_busybox_image(tmp_path_factory.mktemp("image")) as image:
        for name in ("kiosk", "other"):
            (folder / name).mkdir()
            content = yaml.safe_dump(stack(name, image, "first"), sort_keys=False)
            (folder / name / "compose.yaml").write_text(content)
        chosen = {
            "SANDBOX_BLUEPRINTS_DIR": str(folder),
            "SANDBOX_DEFAULT_BLUEPRINT": "kiosk",
            "SANDBOX_POOL_SIZE": "1",
            "SANDBOX_MAX_PER_USER": "5",
        }
        with running_portal(var, **chosen) as portal:
            assert isinstance(portal, DockerPortal)
            with (
                portal.client("developer") as client,
                closing(signed_in(portal)) as browser,
                closing(Console(portal.environment)) as console,
            ):
                yield Product(portal, folder, image, client, browser, console)


def signed_in(portal: DockerPortal) -> httpx2.Client:
    """Return a browser's session of the developer."""
    account = portal.accounts["developer"]
    browser = httpx2.Client(base_url=f"http://127.0.0.1:{portal.port}", timeout=30)
    browser.get("/accounts/login/")
    form = {"login": account["email"], "password": account["password"]}
    token = {"csrfmiddlewaretoken": browser.cookies["csrftoken"]}
    headers = {"Referer": str(browser.base_url)}
    assert browser.post("/accounts/login/", data=form | token, headers=headers).status_code == 302
    return browser


def test_an_activation_and_a_rollback_are_in_force_everywhere_in_five_seconds(
    product: Product,
) -> None:
    first = re.search(r"kiosk +(\w+) +active", product.manage("blueprint", "list"))
    assert first
    product.manage("reap_sandboxes")
    wait_for(lambda: product.created("first"), "the pool is filled")
    product.write("kiosk", "second")
    product.manage("blueprint", "prepare")
    activated = time.time()

    wait_for(lambda: product.title() == "Kiosk second", "the web process has it", IN_FORCE_SECONDS)
    wait_for(lambda: product.created("second"), "the worker's pool has it")
    assert (product.created("second") or 0) - activated <= IN_FORCE_SECONDS
    assert product.reset(product.launch()) == "second"

    product.manage("blueprint", "activate", "kiosk", first[1], "--reason", "It broke.")
    wait_for(lambda: product.title() == "Kiosk first", "the web process has it", IN_FORCE_SECONDS)
    assert product.reset(product.launch()) == "first"


def test_sandboxes_work_to_their_end_while_their_blueprint_is_edited_broken_and_removed(
    product: Product,
) -> None:
    for sandbox in product.client.get("/sandboxes").json()["data"]:
        product.client.delete(f"/sandboxes/{sandbox['id']}")
    sandboxes = [product.launch() for _ in range(3)]
    paths = [f"/sandboxes/{sandbox['id']}" for sandbox in sandboxes]
    credentials = [product.client.get(f"{path}/credentials").json() for path in paths]
    assert all(own["key"] for own in credentials)

    product.write("kiosk", "third", "another_key")
    product.manage("blueprint", "prepare")
    check(product, sandboxes[0], credentials[0])

    (product.folder / "kiosk" / "compose.yaml").write_text("services: {web: {privileged: true}}")
    swept = product.portal.manage("reap_sandboxes")
    assert (swept.returncode, "services.web.privileged" in swept.stderr) == (0, True)
    product.manage("migrate")
    product.manage("blueprint", "prepare")
    check(product, sandboxes[1], credentials[1])
    product.launch(blueprint="other")

    shutil.rmtree(product.folder / "kiosk")
    product.manage("blueprint", "prepare")
    check(product, sandboxes[2], credentials[2])

    for sandbox in product.client.get("/sandboxes").json()["data"]:
        product.client.delete(f"/sandboxes/{sandbox['id']}")
    wait_for(lambda: not product.portal.held(), "nothing is left")
    for path in paths:
        wait_for(lambda path=path: product.client.get(path).json()["ended_at"], "it has ended")
        ended = product.client.get(path).json()
        assert (ended["state"], ended["end_reason"]) == ("destroyed", "user")


def check(product: Product, sandbox: dict[str, Any], credentials: dict[str, Any]) -> None:
    """Check credentials, explorer, reset and repair of a sandbox of the first edition."""
    path, url = f"/sandboxes/{sandbox['id']}", sandbox["endpoints"]["rest"]
    assert product.client.get(f"{path}/credentials").json() == credentials
    assert "Buy a ticket" in product.browser.get(f"{path}/api/").text
    assert product.reset(sandbox) == "first"

    engine, wanted = product.portal.engine, product.portal._filter(sandbox=sandbox["id"])
    [container] = engine.containers(filters=wanted)
    engine.pause(container["Id"])
    product.manage("reap_sandboxes")
    wait_for(lambda: not engine.containers(filters=wanted | {"status": ["paused"]}), "it runs on")
    assert httpx2.get(f"{url}/ok").text == "ok\n"
