"""The API as a process: its environment, its end, and a database that comes and goes."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.billing.conftest import BillingDatabase, Connect, copy_database
from tests.billing.harness import API_KEY, ApiClient, assert_problem, running_api, start_api
from tests.ports import reserve_port
from tests.postgres import Cluster

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
def test_an_environment_that_makes_no_sense_is_told_in_one_line(
    packages: Path, environment: dict[str, str], words: str
) -> None:
    process = start_api(packages, **environment)
    said, _ = process.communicate(timeout=20)
    assert process.returncode == 64
    assert words in said and len(said.splitlines()) == 1


def test_a_port_that_is_taken_is_told_in_one_line(packages: Path, api_url: str) -> None:
    port = api_url.rpartition(":")[2]
    process = start_api(packages, API_KEY=API_KEY, DATABASE_URL="x", PORT=port)
    said, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert f"can't listen on 127.0.0.1:{port}" in said and len(said.splitlines()) == 1


def test_without_a_database_it_is_up_but_not_ready(packages: Path) -> None:
    nowhere = f"postgresql://billing_api@127.0.0.1:{reserve_port()}/billing"
    with running_api(packages, nowhere) as url, ApiClient(url) as client:
        assert client.ok("GET", "/healthz") == {"status": "ok"}
        assert_problem(client.get("/readyz"), 503, "refused")
        answer = client.get("/v1/plans")
        assert_problem(answer, 503, "database")
        assert answer.headers["Retry-After"] == "1"


def test_it_finds_the_database_when_that_comes(
    packages: Path, cluster: Cluster, seeded_database: str
) -> None:
    url = f"postgresql://billing_api@127.0.0.1:{cluster.port}/billing_late"
    with running_api(packages, url) as api_url:
        assert_problem(httpx.get(f"{api_url}/readyz"), 503, "billing_late")
        copy_database(cluster, "billing_late", seeded_database)
        assert httpx.get(f"{api_url}/readyz").status_code == 200


def test_who_asks_before_the_database_is_there_is_answered_when_it_comes(
    packages: Path, cluster: Cluster, seeded_database: str
) -> None:
    url = f"postgresql://billing_api@127.0.0.1:{cluster.port}/billing_later"
    with running_api(packages, url) as api_url, ThreadPoolExecutor() as pool:
        asked = pool.submit(httpx.get, f"{api_url}/readyz", timeout=10)
        time.sleep(0.3)
        assert not asked.done()
        copy_database(cluster, "billing_later", seeded_database)
        assert asked.result().status_code == 200


def test_who_comes_while_it_starts_is_answered_on_the_first_connection(packages: Path) -> None:
    port, caller = reserve_port(), socket.socket()
    process = start_api(packages, API_KEY=API_KEY, DATABASE_URL="x", PORT=str(port))
    with caller, process:
        while caller.connect_ex(("127.0.0.1", port)):
            assert process.poll() is None
            time.sleep(0.001)
        caller.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert caller.recv(64).startswith(b"HTTP/1.0 200 OK")
        process.terminate()


def test_a_database_that_was_emptied_is_not_ready(api: ApiClient, db: psycopg.Connection) -> None:
    db.execute("TRUNCATE plans, subscribers, subscriptions, invoices, payments")
    assert_problem(api.get("/readyz"), 503, "reset")
    assert api.ok("GET", "/v1/plans")["total"] == 0


def test_a_table_that_was_dropped_is_told(api: ApiClient, db: psycopg.Connection) -> None:
    db.execute("DROP TABLE payments CASCADE")
    assert_problem(api.get("/v1/payments"), 503, "payments")
    assert api.ok("GET", "/v1/plans")["total"] == 5


def test_a_developers_lock_holds_a_request_up_for_a_while_only(
    api: ApiClient, fresh_data: None, connect: Connect
) -> None:
    connect(autocommit=False).execute("SELECT * FROM invoices WHERE id = 'inv_007' FOR UPDATE")
    assert_problem(api.post("/v1/invoices/inv_007/pay"), 503, "lock")
    assert api.ok("GET", "/v1/invoices/inv_007")["status"] == "open"


def test_settings_that_a_developer_gives_the_database_do_not_mislead_the_api(
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


def test_a_reset_is_hardly_noticed(
    billing_database: BillingDatabase, fresh_data: None, api_url: str
) -> None:
    resets, read, written = 3, Counter[int](), Counter[int]()
    done = threading.Event()

    def use(seen: Counter[int], method: str, path: str, **options: Any) -> None:
        with ApiClient(api_url) as client:
            while not done.is_set():
                seen[client.request(method, path, **options).status_code] += 1

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
    # One that was cut off while it committed can't know what became of it, and says so.
    assert written[200] > 5 and set(written) <= {200, 503} and written[503] <= resets
    billing_database.changed = True
