"""The API as a process: its environment, its start, and an unavailable database."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest

from tests.billing.conftest import BillingDatabase, Connect, copy_database
from tests.billing.harness import API_KEY, ApiClient, assert_problem, running_api, start_api
from tests.harness.ports import reserve_port
from tests.harness.postgres import Cluster

pytestmark = pytest.mark.postgres


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "API_KEY must be set"),
        ({"API_KEY": "short"}, "at least 16 characters"),
        ({"API_KEY": API_KEY}, "DATABASE_URL must be set"),
        ({"API_KEY": API_KEY, "DATABASE_URL": "x", "PORT": "http"}, "PORT is 'http'"),
        ({"API_KEY": API_KEY, "DATABASE_URL": "x", "PORT": "70000"}, "PORT is '70000'"),
    ],
)
def test_an_invalid_environment_is_reported_in_one_line(
    packages: Path, environment: dict[str, str], words: str
) -> None:
    process = start_api(packages, **environment)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 64
    assert words in output and len(output.splitlines()) == 1


def test_a_port_in_use_is_reported_in_one_line(packages: Path, api_url: str) -> None:
    port = api_url.rpartition(":")[2]
    process = start_api(packages, API_KEY=API_KEY, DATABASE_URL="x", PORT=port)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert f"can't listen on 127.0.0.1:{port}" in output and len(output.splitlines()) == 1


def test_without_a_database_the_api_is_alive_but_not_ready(packages: Path) -> None:
    nowhere = f"postgresql://billing_api@127.0.0.1:{reserve_port()}/billing"
    with running_api(packages, nowhere) as (url, _), ApiClient(url) as client:
        assert client.ok("GET", "/healthz") == {"status": "ok"}
        assert_problem(client.get("/readyz"), 503, "refused")
        response = client.get("/v1/plans")
        assert_problem(response, 503, "database")
        assert response.headers["Retry-After"] == "1"


def test_the_api_becomes_ready_when_the_database_appears(
    packages: Path, cluster: Cluster, seeded_database: str
) -> None:
    url = f"postgresql://billing_api@127.0.0.1:{cluster.port}/billing_late"
    with running_api(packages, url) as (api_url, _):
        assert_problem(httpx2.get(f"{api_url}/readyz"), 503, "billing_late")
        copy_database(cluster, "billing_late", seeded_database)
        assert httpx2.get(f"{api_url}/readyz").status_code == 200


def test_a_readiness_check_waits_for_a_database_that_is_starting(
    packages: Path, cluster: Cluster, seeded_database: str
) -> None:
    url = f"postgresql://billing_api@127.0.0.1:{cluster.port}/billing_later"
    with running_api(packages, url) as (api_url, _), ThreadPoolExecutor() as pool:
        check = pool.submit(httpx2.get, f"{api_url}/readyz", timeout=10)
        time.sleep(0.3)
        assert not check.done()
        copy_database(cluster, "billing_later", seeded_database)
        assert check.result().status_code == 200


def test_a_connection_during_the_start_is_answered(packages: Path) -> None:
    port, caller = reserve_port(), socket.socket()
    process = start_api(packages, API_KEY=API_KEY, DATABASE_URL="x", PORT=str(port))
    with caller, process:
        while caller.connect_ex(("127.0.0.1", port)):
            assert process.poll() is None
            time.sleep(0.001)
        caller.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert caller.recv(64).startswith(b"HTTP/1.0 200 OK")
        process.terminate()


def test_an_emptied_database_is_not_ready(api: ApiClient, db: psycopg.Connection) -> None:
    db.execute("TRUNCATE plans, subscribers CASCADE")
    assert_problem(api.get("/readyz"), 503, "reset")
    assert api.ok("GET", "/v1/plans")["total"] == 0


def test_a_dropped_table_is_reported(api: ApiClient, db: psycopg.Connection) -> None:
    db.execute("DROP TABLE payments CASCADE")
    assert_problem(api.get("/v1/payments"), 503, "payments")
    assert api.ok("GET", "/v1/plans")["total"] == 5


def test_a_request_waits_only_briefly_for_a_lock_of_the_developer(
    api: ApiClient, fresh_data: None, connect: Connect
) -> None:
    connect(autocommit=False).execute("SELECT * FROM invoices WHERE id = 'inv_007' FOR UPDATE")
    assert_problem(api.post("/v1/invoices/inv_007/pay"), 503, "lock")
    assert api.ok("GET", "/v1/invoices/inv_007")["status"] == "open"


def test_database_settings_of_the_developer_do_not_affect_the_api(
    api: ApiClient, db: psycopg.Connection, cluster: Cluster
) -> None:
    before = api.ok("GET", "/v1/invoices/inv_001")
    db.execute("ALTER DATABASE billing SET timezone = 'Asia/Tokyo'")
    db.execute("ALTER DATABASE billing SET search_path = 'nowhere'")
    db.execute("ALTER DATABASE billing SET default_transaction_isolation = 'serializable'")
    with psycopg.connect(cluster.url("postgres")) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'billing_api'"
        )
    assert api.ok("GET", "/v1/invoices/inv_001") == before


def test_a_reset_barely_interrupts_clients(
    billing_database: BillingDatabase, fresh_data: None, api_url: str
) -> None:
    resets, read, written = 3, Counter[int](), Counter[int]()
    done = threading.Event()

    def use(statuses: Counter[int], method: str, path: str, **options: Any) -> None:
        with ApiClient(api_url) as client:
            while not done.is_set():
                statuses[client.request(method, path, **options).status_code] += 1

    change = {"json": {"description": "Busy"}}
    users = [
        threading.Thread(target=use, args=(read, "GET", "/v1/invoices")),
        threading.Thread(target=use, args=(read, "GET", "/v1/plans/plan_team")),
        threading.Thread(target=use, args=(written, "PATCH", "/v1/plans/plan_team"), kwargs=change),
    ]
    for user in users:
        user.start()
    for _ in range(resets):
        time.sleep(0.2)
        billing_database.changed = True
        billing_database.restore()
    done.set()
    for user in users:
        user.join()
    assert set(read) == {200} and read[200] > 10
    # A request whose connection broke during the commit can't know its outcome, so it gets a 503.
    assert written[200] > 5 and set(written) <= {200, 503} and written[503] <= resets
    billing_database.changed = True
