"""The lifecycle of sandboxes through the REST API of a real portal, with and without an engine."""

from __future__ import annotations

import json
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import httpx2
import psycopg
import pytest

from sandboxes.runtime.process import process_table
from tests.harness.portal import ON_DOCKER, DockerPortal, Portal, ProcessPortal
from tests.harness.runtimes import command_of
from tests.helpers.wait import wait_for
from tests.system.console import Console

pytestmark = pytest.mark.slow

SEED = {"plans": 5, "subscribers": 10, "invoices": 20}
DUNNING = {"plans": 5, "subscribers": 22, "invoices": 50}
"""What the scenario `dunning` has."""
EVENTS = 7
"""Events whose median delivery has to be quick."""


@pytest.fixture(scope="module")
def console(portal: Portal) -> Iterator[Console]:
    with closing(Console(portal.environment)) as started:
        yield started


def destroy_all(portal: Portal) -> None:
    """Destroy all sandboxes as their owners do, and wait until nothing is left of them."""
    for who in ("developer", "developer2"):
        with portal.client(who) as client:
            for sandbox in client.get("/sandboxes").json()["data"]:
                client.delete(f"/sandboxes/{sandbox['id']}")
    wait_for(lambda: not portal.held(), "nothing is left")


@pytest.fixture(autouse=True)
def nothing_is_left(request: pytest.FixtureRequest, portal: Portal) -> Iterator[None]:
    """Check that nothing runs after a test, except for the sandbox that several share."""
    yield
    if "shared" not in request.fixturenames:
        destroy_all(portal)


@pytest.fixture(scope="module")
def shared(portal: Portal) -> Iterator[dict[str, Any]]:
    """Launch a sandbox for all tests that leave it running, which come last in this file."""
    with portal.client("developer") as client:
        yield launch(client, ttl_minutes=30, name="shared")
    destroy_all(portal)


@pytest.fixture
def client(portal: Portal) -> Iterator[httpx2.Client]:
    with portal.client("developer") as client:
        yield client


def launch(client: httpx2.Client, **choices: Any) -> dict[str, Any]:
    answer = client.post("/sandboxes", json=choices, headers={"Prefer": "wait=60"})
    assert answer.status_code == 201, answer.text
    sandbox: dict[str, Any] = answer.json()
    assert sandbox["state"] == "running", f"{sandbox['end_message']} {sandbox['failure']}"
    assert answer.headers["Location"].endswith(f"/api/v1/sandboxes/{sandbox['id']}")
    return sandbox


def billing(client: httpx2.Client, sandbox: dict[str, Any]) -> httpx2.Client:
    """Return a client of the sandbox's API with its key."""
    keys = client.get(f"/sandboxes/{sandbox['id']}/credentials").json()
    return httpx2.Client(
        base_url=sandbox["endpoints"]["api"],
        headers={"Authorization": f"Bearer {keys['api_key']}"},
        timeout=10,
    )


def totals(api: httpx2.Client) -> dict[str, int]:
    return {name: api.get(f"/v1/{name}").json()["total"] for name in SEED}


def sql_totals(url: str) -> dict[str, int]:
    with psycopg.connect(url, connect_timeout=10) as connection:
        return {
            name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]  # type: ignore[index, call-overload]
            for name in SEED
        }


def journal(client: httpx2.Client, sandbox: dict[str, Any]) -> list[str]:
    events = client.get(f"/sandboxes/{sandbox['id']}/events", params={"limit": 100})
    return [event["kind"] for event in events.json()["data"]]


def test_a_sandbox_can_be_extended_once_touched_and_reset_to_its_scenario(
    client: httpx2.Client,
) -> None:
    sandbox = launch(client, ttl_minutes=60, parameters={"scenario": "dunning"})
    path = f"/sandboxes/{sandbox['id']}"
    assert client.post(f"{path}/extensions", json={"minutes": 121}).status_code == 422
    assert client.post(f"{path}/extensions", json={"minutes": 60}).status_code == 201
    assert client.post(f"{path}/extensions", json={"minutes": 60}).status_code == 409
    assert client.post(f"{path}/touch").status_code == 200
    extended = client.get(path).json()
    assert extended["expires_at"] > sandbox["expires_at"]
    with billing(client, sandbox) as api:
        assert totals(api) == DUNNING
        api.post("/v1/plans", json={"name": "Mine", "amount": "1.00", "currency": "EUR"})
        url = client.get(f"{path}/credentials").json()["database_url"]
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("TRUNCATE invoices CASCADE")
        assert totals(api) != DUNNING
        assert client.post(f"{path}/reset").status_code == 202
        wait_for(lambda: "reset" in journal(client, sandbox), "the reset is done")
        assert totals(api) == DUNNING
    after = client.get(path).json()
    assert after["endpoints"] == sandbox["endpoints"]


@pytest.mark.parametrize("portal", ["process"], indirect=True)
def test_the_fourth_sandbox_is_rejected_until_one_is_destroyed(
    client: httpx2.Client, portal: Portal
) -> None:
    sandboxes = [launch(client) for _ in range(3)]
    refused = client.post("/sandboxes", json={})
    assert refused.status_code == 429
    assert refused.headers["Content-Type"].startswith("application/problem+json")
    assert int(refused.headers["Retry-After"]) == refused.json()["estimated_wait_seconds"]
    assert refused.json()["frees_first"] in {sandbox["id"] for sandbox in sandboxes}
    with portal.client("developer2") as other:
        path = f"/sandboxes/{sandboxes[0]['id']}"
        assert other.get(path).status_code == 404
        assert other.delete(path).status_code == 404
    assert client.delete(f"/sandboxes/{sandboxes[0]['id']}").status_code == 202
    launch(client)


def test_destroying_removes_everything_from_the_engine(
    client: httpx2.Client, portal: Portal
) -> None:
    sandbox = launch(client)
    assert portal.held()
    path = f"/sandboxes/{sandbox['id']}"
    assert client.delete(path).status_code == 202
    assert client.delete(path).status_code in {200, 202}
    wait_for(lambda: client.get(path).json()["state"] == "destroyed", "it is destroyed")
    assert portal.held() == []
    assert client.get(f"{path}/credentials").status_code == 409
    kept = client.get(f"{path}/logs").json()
    assert (kept["live"], "== db ==" in kept["text"]) == (False, True), "its last lines are kept"


def test_one_sweep_ends_expired_sandboxes_and_crashed_ones_with_their_log_tail(
    client: httpx2.Client, portal: Portal, console: Console
) -> None:
    expired, crashed = launch(client), launch(client)
    console.run(
        "from datetime import timedelta; from sandboxes.models import Sandbox; "
        "from django.utils import timezone; "
        f"Sandbox.objects.filter(public_id={expired['id']!r})"
        ".update(expires_at=timezone.now() - timedelta(minutes=1))",
    )
    portal.kill(crashed["id"], "api")
    wait_for(lambda: dead(crashed), "the API is gone")
    console.sweep()
    ended = client.get(f"/sandboxes/{expired['id']}").json()
    assert (ended["state"], ended["end_reason"]) == ("destroyed", "expired")
    failed = client.get(f"/sandboxes/{crashed['id']}").json()
    assert (failed["state"], failed["end_reason"]) == ("failed", "crashed")
    assert failed["failure"]["service"] == "api"
    assert "== db ==" in failed["failure"]["log_tail"]


# On an engine, `tests/runtime/test_contract.py` counts the lines of logs in each run.
@pytest.mark.parametrize(
    "portal",
    ["process", pytest.param("docker", marks=[pytest.mark.engine, pytest.mark.exhaustive])],
    indirect=True,
)
def test_requests_are_counted_and_ready_checks_are_not(
    client: httpx2.Client, console: Console
) -> None:
    sandbox = launch(client)
    with billing(client, sandbox) as api:
        api.get("/readyz")
        totals(api)
        assert api.get("/v1/nothing").status_code == 404

    def now() -> dict[str, Any]:
        # The portal's reaper may have taken a sample before the requests; the next is due later.
        console.sweep()
        usage: dict[str, Any] = client.get(f"/sandboxes/{sandbox['id']}/usage").json()
        return usage["now"]

    wait_for(lambda: now()["requests"] == len(SEED) + 1, "a worker has counted them", pause=0.5)
    assert now()["requests_per_minute"] > 0


@pytest.mark.parametrize("portal", [ON_DOCKER], indirect=True)
def test_a_sandbox_that_runs_out_of_memory_fails_with_that_reason(
    client: httpx2.Client, portal: DockerPortal, console: Console
) -> None:
    sandbox = launch(client)
    path = f"/sandboxes/{sandbox['id']}"
    url = client.get(f"{path}/credentials").json()["database_url"]
    with pytest.raises(psycopg.OperationalError), psycopg.connect(url) as connection:
        connection.execute("SELECT array_agg(g::text) FROM generate_series(1, 20000000) g")
    labels = [f"sandboxportal.sandbox={sandbox['id']}", "sandboxportal.service=db"]
    database = {"label": labels}
    wait_for(lambda: not portal.engine.containers(filters=database), "the database has ended")
    [ended] = portal.engine.containers(all=True, filters=database)
    # The engine hears of the cause apart from the end.
    wait_for(
        lambda: portal.engine.inspect_container(ended["Id"])["State"]["OOMKilled"],
        "the engine knows the cause",
    )
    console.sweep()
    failed = client.get(path).json()
    assert (failed["end_reason"], failed["failure"]["service"]) == ("out_of_memory", "db")


@pytest.mark.parametrize("portal", ["process"], indirect=True)
def test_after_all_processes_were_killed_one_sweep_cleans_up(
    client: httpx2.Client, portal: ProcessPortal, console: Console
) -> None:
    first, second = launch(client), launch(client)
    keys = client.get(f"/sandboxes/{second['id']}/credentials").json()
    threading.Timer(0.5, kill_all, [portal]).start()
    # A busy process of PostgreSQL doesn't notice that its server has stopped.
    with pytest.raises(psycopg.OperationalError), psycopg.connect(keys["database_url"]) as busy:
        busy.execute("SELECT count(*) FROM generate_series(1, 10000000000)")
    console.sweep()
    assert portal.held() == []
    for sandbox in (first, second):
        ended = client.get(f"/sandboxes/{sandbox['id']}").json()
        assert (ended["state"], ended["end_reason"]) == ("failed", "crashed")
        assert all(dead_port(url) for url in ended_ports(sandbox))


def kill_all(portal: ProcessPortal) -> None:
    """Kill all processes except those that can't be attributed by their environment."""
    for process in portal.processes():
        if not command_of(process).startswith("postgres:"):
            process_table.send_signal(process, signal.SIGKILL)


def ended_ports(sandbox: dict[str, Any]) -> list[str]:
    return [url for url in sandbox["endpoints"].values() if url]


def dead_port(url: str) -> bool:
    where = urlsplit(url)
    with socket.socket() as probe:
        return probe.connect_ex((where.hostname or "", where.port or 0)) != 0


def dead(sandbox: dict[str, Any]) -> bool:
    """Return whether the sandbox's API doesn't respond."""
    try:
        return not httpx2.get(f"{sandbox['endpoints']['api']}/healthz", timeout=2).is_success
    except httpx2.HTTPError:
        return True


def test_a_launched_sandbox_answers_with_its_seed_over_api_and_sql(
    client: httpx2.Client, shared: dict[str, Any]
) -> None:
    with billing(client, shared) as api:
        assert totals(api) == SEED
        assert httpx2.get(f"{shared['endpoints']['api']}/v1/plans").status_code == 401
    url = client.get(f"/sandboxes/{shared['id']}/credentials").json()["database_url"]
    assert sql_totals(url) == SEED


def test_the_stellar_account_is_funded(client: httpx2.Client, shared: dict[str, Any]) -> None:
    path = f"/sandboxes/{shared['id']}"
    wait_for(
        lambda: client.get(path).json()["stellar"]["funding"] == "funded", "friendbot's answer"
    )


def test_requests_to_the_sandbox_are_activity_and_viewing_it_is_not(
    client: httpx2.Client, console: Console, shared: dict[str, Any]
) -> None:
    await_no_activity(client, console, shared)
    before = idle_expires_at(client, console, shared)
    httpx2.get(f"{shared['endpoints']['api']}/healthz")
    wait_for(lambda: idle_expires_at(client, console, shared) > before, "a sweep finds activity")


def idle_expires_at(client: httpx2.Client, console: Console, sandbox: dict[str, Any]) -> str:
    """Return when the sandbox ends by idleness, after a sweep."""
    console.sweep()
    return str(client.get(f"/sandboxes/{sandbox['id']}").json()["idle_expires_at"])


def await_no_activity(client: httpx2.Client, console: Console, sandbox: dict[str, Any]) -> None:
    """Wait until three sweeps in a row find no activity.

    On a busy machine, packets of earlier requests may pass after the first sweep.
    """

    def is_quiet() -> bool:
        return len({idle_expires_at(client, console, sandbox) for _ in range(3)}) == 1

    wait_for(is_quiet, "three sweeps in a row find no activity", 30)


def test_logs_are_read_by_the_worker(client: httpx2.Client, shared: dict[str, Any]) -> None:
    path = f"/sandboxes/{shared['id']}"

    def read() -> httpx2.Response:
        return client.get(f"{path}/logs", params={"service": "db", "tail": 50})

    # A busy worker is asked again.
    logs = next(answer for _ in range(20) if (answer := read()).status_code != 503)
    assert logs.status_code == 200
    assert logs.json()["text"]


def signed_in(portal: Portal, who: str) -> httpx2.Client:
    """Return a user's browser, as far as forms need one."""
    person = httpx2.Client(base_url=f"http://127.0.0.1:{portal.port}", follow_redirects=True)
    person.get("/accounts/login/")
    account = portal.accounts[who]
    send(person, "/accounts/login/", login=account["email"], password=account["password"])
    return person


def send(person: httpx2.Client, path: str, **fields: str) -> httpx2.Response:
    token = {"csrfmiddlewaretoken": person.cookies["csrftoken"]}
    answer = person.post(path, data={**fields, **token})
    assert answer.status_code == 200
    return answer


def test_events_are_delivered_soon_and_reading_them_is_not_activity(
    client: httpx2.Client, console: Console, shared: dict[str, Any]
) -> None:
    path = f"/sandboxes/{shared['id']}"
    receiver = f"https://portal.example/inbox/{shared['id']}"
    event, seconds, cursor = {"type": "invoice.overdue", "object_id": "inv_001"}, [], ""
    with billing(client, shared) as api:
        api.post("/v1/webhook_endpoints", json={"url": receiver}).raise_for_status()
        # The bar is 0.2 s; other tests keep the machine busy for a while.
        while len(seconds) < EVENTS or median(seconds[-EVENTS:]) >= 0.5:
            assert len(seconds) < 4 * EVENTS, seconds
            cursor = client.get(f"{path}/inbox", params={"after": cursor}).json()["cursor"]
            api.post("/v1/events", json=event).raise_for_status()
            after = {"after": cursor, "wait": 20}
            wait_for(lambda after=after: tries(client, path, after), "the event is delivered")
            happened, sent = tries(client, path, after)
            seconds.append((sent - happened).total_seconds())

    await_no_activity(client, console, shared)


def tries(client: httpx2.Client, path: str, after: dict[str, Any]) -> list[datetime]:
    """Return when the last event happened and when it was first delivered; none before that."""
    found = client.get(f"{path}/inbox", params=after).json()["data"]
    texts = [
        text
        for event in found[-1:]
        for delivery in event["deliveries"]
        for entry in delivery["tries"][:1]
        for text in (event["payload"]["timestamp"], entry["at"])
    ]
    return [datetime.fromisoformat(text) for text in texts]


def test_requests_of_the_api_explorer_are_activity(
    client: httpx2.Client, portal: Portal, console: Console, shared: dict[str, Any]
) -> None:
    path = f"/sandboxes/{shared['id']}"
    await_no_activity(client, console, shared)
    before = idle_expires_at(client, console, shared)
    with closing(signed_in(portal, "developer")) as person:
        page = person.get(f"{path}/api/").text
        assert "plan_team" in page and "5 of 5" in page
        plan = '{"name": "Ours", "amount": "7.00", "currency": "EUR"}'
        tried = send(person, f"{path}/api/send/", operation="createPlan", body=plan).text
        assert "201 Created" in tried and "6 of 6" in tried
        collection = send(person, f"{path}/credentials/postman/").json()
    assert collection["variable"][0]["value"] == shared["endpoints"]["api"]
    assert "credentials_read" in journal(client, shared)
    wait_for(lambda: idle_expires_at(client, console, shared) > before, "a sweep finds activity")


def test_the_doctor_finds_no_problem(
    portal: Portal, console: Console, shared: dict[str, Any]
) -> None:
    console.sweep()
    done = portal.manage("doctor", "--json")
    page = json.loads(done.stdout)
    assert [one for one in page["findings"] if one["level"] == "wrong"] == []
    assert done.returncode == 0


@pytest.mark.parametrize("portal", ["process"], indirect=True)
def test_without_an_engine_only_the_query_over_the_memory_limit_fails(
    client: httpx2.Client, shared: dict[str, Any]
) -> None:
    path = f"/sandboxes/{shared['id']}"
    url = client.get(f"{path}/credentials").json()["database_url"]
    before = sql_totals(url)
    with pytest.raises(psycopg.OperationalError), psycopg.connect(url) as connection:
        connection.execute("SELECT array_agg(g::text) FROM generate_series(1, 20000000) g")
    assert sql_totals(url) == before
