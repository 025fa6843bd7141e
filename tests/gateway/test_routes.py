"""The routes that the gateway pulls: a function of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from sandboxes.blueprints import for_sandbox
from sandboxes.core import ports
from sandboxes.gateway import routes
from sandboxes.models import State
from tests.helpers.scenarios import launch, reload, request

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client
    from pytest_django.fixtures import SettingsWrapper

    from sandboxes.runtime.memory import MemoryRuntime

pytestmark = pytest.mark.django_db

TOKEN = "t" * 32
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(autouse=True)
def _domain(settings: SettingsWrapper) -> None:
    settings.SANDBOX_DOMAIN = "sandboxes.example.net"
    settings.SANDBOX_GATEWAY_TOKEN = TOKEN


def test_a_sandbox_has_a_router_for_each_endpoint(alice: User, runtime: MemoryRuntime) -> None:
    sandbox = launch(alice)
    name = sandbox.public_id.replace("_", "-")
    found = routes.configuration(routes.current(), "http://portal")

    http = found["http"]["routers"][f"{name}--api"]
    assert http["rule"] == f"Host(`{name}--api.sandboxes.example.net`)"
    server = found["http"]["services"][http["service"]]["loadBalancer"]["servers"][0]
    assert server["url"] == f"http://{sandbox.addresses['api:8080']}"

    tcp = found["tcp"]["routers"][f"{name}--database"]
    assert tcp["rule"] == f"HostSNI(`{name}--database.sandboxes.example.net`)"
    assert tcp["tls"] == {"options": "postgresql"}
    server = found["tcp"]["services"][tcp["service"]]["loadBalancer"]["servers"][0]
    assert server["address"] == sandbox.addresses["db:5432"]


@pytest.mark.parametrize(
    ("state", "there"),
    [
        (State.PENDING, False),
        (State.PROVISIONING, True),
        (State.RUNNING, True),
        (State.DESTROYING, False),
    ],
)
def test_a_route_exists_from_provisioning_until_the_sandbox_ends(
    alice: User, runtime: MemoryRuntime, state: State, there: bool
) -> None:
    sandbox = launch(alice) if state is State.RUNNING else request(alice)
    ports.reserve(sandbox, for_sandbox(sandbox).published_ports)
    changes: dict[str, object] = {"state": state}
    if state is State.DESTROYING:
        changes |= {"end_reason": "user", "slot": None}
    type(sandbox).objects.filter(pk=sandbox.pk).update(**changes)
    assert bool(routes.current()) is there


def test_names_and_ports_survive_an_engine_restart(alice: User, runtime: MemoryRuntime) -> None:
    launch(alice)
    before = routes.current()
    runtime.restart_engine()
    assert routes.current() == before


def test_only_the_gateway_reads_the_routes(client: Client, settings: SettingsWrapper) -> None:
    assert client.get("/gateway/routes").status_code == 401
    wrong = {"Authorization": "Bearer " + "x" * 32}
    assert client.get("/gateway/routes", headers=wrong).status_code == 401
    response = client.get("/gateway/routes", headers=HEADERS)
    assert response.status_code == 200
    assert not response.cookies

    settings.SANDBOX_GATEWAY_TOKEN = ""
    assert client.get("/gateway/routes", headers={"Authorization": "Bearer "}).status_code == 401
    settings.SANDBOX_DOMAIN = ""
    assert client.get("/gateway/routes", headers=HEADERS).status_code == 404


def test_unchanged_routes_are_not_sent_again(
    alice: User, client: Client, runtime: MemoryRuntime
) -> None:
    etag = client.get("/gateway/routes", headers=HEADERS)["ETag"]
    known = HEADERS | {"If-None-Match": etag}
    assert client.get("/gateway/routes", headers=known).status_code == 304
    launch(alice)
    assert client.get("/gateway/routes", headers=known).status_code == 200


def test_more_sandboxes_need_no_more_queries(
    alice: User, client: Client, runtime: MemoryRuntime
) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            assert client.get("/gateway/routes", headers=HEADERS).status_code == 200
        return len(found)

    launch(alice)
    queries()  # Reads what a process keeps, such as settings and blueprints.
    few = queries()
    launch(alice)
    launch(alice)
    assert queries() == few


def test_pages_and_the_api_show_the_names(
    alice: User, runtime: MemoryRuntime, client: Client
) -> None:
    sandbox = launch(alice)
    name = sandbox.public_id.replace("_", "-")
    client.force_login(alice)
    shown = client.get(f"/api/v1/sandboxes/{sandbox.public_id}").json()["endpoints"]
    assert shown["api"] == f"https://{name}--api.sandboxes.example.net"

    credentials = client.get(f"/api/v1/sandboxes/{sandbox.public_id}/credentials").json()
    url = credentials["database_url"]
    assert f"@{name}--database.sandboxes.example.net:5432/" in url
    assert url.endswith("?sslmode=verify-full")
    assert reload(sandbox).addresses == sandbox.addresses
