"""The blueprint as a sandbox on a real engine: launch, changes, reset, restart."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network
from typing import Any

import docker
import psycopg
import pytest
from psycopg import errors

from sandboxes.blueprints import addresses, load
from sandboxes.runtime.docker import DockerRuntime
from tests.billing.harness import (
    TIME_LIMIT,
    ApiClient,
    LaunchedSandbox,
    assert_problem,
    launch_billing,
)

pytestmark = pytest.mark.engine

INSTANCE = f"tests-billing-{secrets.token_hex(4)}"
SUBNETS = IPv4Network("10.215.0.0/20")
LAUNCHED = datetime.now(UTC).replace(microsecond=0)


@dataclass
class Sandbox(LaunchedSandbox):
    """A billing sandbox on the engine."""

    runtime: DockerRuntime

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database_url, connect_timeout=5) as connection:
            return connection.execute(query).fetchall()  # type: ignore[arg-type]

    def reset(self) -> None:
        reset = load("billing").reset
        code, output = self.runtime.execute(self.id, reset.service, reset.command, TIME_LIMIT)
        assert (code, output) == (0, "")

    def container(self, service: str) -> str:
        return f"{self.id}-{service}-1"


@pytest.fixture(scope="module")
def runtime() -> Iterator[DockerRuntime]:
    runtime = DockerRuntime(INSTANCE, SUBNETS)
    yield runtime
    for sandbox_id in runtime.observe():
        runtime.destroy(sandbox_id)


@pytest.fixture(scope="module")
def sandbox(runtime: DockerRuntime) -> Iterator[Sandbox]:
    """Launch a sandbox for all tests: each leaves it as new, or resets it."""
    sandbox = launch_billing(Sandbox, runtime, LAUNCHED)
    yield sandbox
    sandbox.api.close()
    runtime.destroy(sandbox.id)


def test_the_log_of_a_new_database_contains_no_failure(sandbox: Sandbox) -> None:
    log = sandbox.runtime.logs(sandbox.id, "db", 100)
    assert "FATAL" not in log and "ERROR" not in log
    assert "ready for connections" in log


def test_a_launched_sandbox_contains_the_seed_with_current_dates(sandbox: Sandbox) -> None:
    ready = sandbox.api.ok("GET", "/readyz")
    seed = load("billing").seed
    assert ready == {"status": "ready", **seed}
    for table, count in seed.items():
        assert sandbox.api.ok("GET", f"/v1/{table}")["total"] == count
        assert sandbox.sql(f"SELECT count(*) FROM {table}") == [(count,)]
    ((trial_end,),) = sandbox.sql("SELECT trial_end FROM subscriptions WHERE id = 'sbn_003'")
    assert LAUNCHED < trial_end < LAUNCHED + timedelta(days=14)


def test_a_sandbox_uses_little_memory(sandbox: Sandbox) -> None:
    sandbox.everything()
    assert sandbox.runtime.usage([sandbox.id])[sandbox.id].memory_mb < 60


def test_owning_no_database_the_developer_cannot_break_a_reset(sandbox: Sandbox) -> None:
    for change in ("IS_TEMPLATE true", "ALLOW_CONNECTIONS false", "RENAME TO mine"):
        for database in ("billing", "billing_new", "billing_template"):
            with pytest.raises(errors.InsufficientPrivilege):
                sandbox.sql(f"ALTER DATABASE {database} {change}")


def test_a_reset_restores_everything_while_clients_are_connected(sandbox: Sandbox) -> None:
    before = sandbox.everything()
    connection = psycopg.connect(sandbox.database_url, autocommit=True)
    for change in (
        "DROP TABLE payments CASCADE",
        "UPDATE subscribers SET name = 'Nobody'",
        "ALTER ROLE developer PASSWORD 'mine'",
        "ALTER ROLE developer IN DATABASE billing SET search_path = 'nowhere'",
        "ALTER ROLE developer SET default_transaction_read_only = on",
    ):
        connection.execute(change)  # type: ignore[arg-type]
    # Possible in some versions of PostgreSQL.
    with suppress(errors.InsufficientPrivilege):
        connection.execute("REVOKE developer FROM billing_api")
    sandbox.api.ok("PATCH", "/v1/plans/plan_team", json={"name": "Changed"})
    sandbox.reset()
    with pytest.raises(errors.AdminShutdown, match="terminating connection"):
        connection.execute("SELECT 1")
    assert sandbox.everything() == before
    assert sandbox.sql("SHOW default_transaction_read_only") == [("off",)]
    assert sandbox.sql("SHOW search_path") == [('"$user", public',)]
    sandbox.reset()
    assert sandbox.everything() == before


def test_a_reset_that_was_killed_halfway_is_completed_by_the_next(sandbox: Sandbox) -> None:
    before = sandbox.everything()
    for halfway in (
        "ALTER DATABASE billing ALLOW_CONNECTIONS false",
        "DROP DATABASE billing WITH (FORCE)",
    ):
        command = ["psql", "-c", halfway]
        assert sandbox.runtime.execute(sandbox.id, "db", command, TIME_LIMIT)[0] == 0
    assert_problem(sandbox.api.get("/readyz"), 503)
    sandbox.reset()
    assert sandbox.everything() == before


def test_a_restart_makes_no_superuser_of_the_developer(sandbox: Sandbox) -> None:
    with psycopg.connect(sandbox.database_url, autocommit=True) as connection:
        for statement in (
            "ALTER ROLE developer SET search_path = public, pg_catalog",
            "CREATE TABLE public.pg_authid (rolname name, rolpassword text)",
            "CREATE TABLE public.pg_database (datname name, datconnlimit int)",
            "INSERT INTO public.pg_database VALUES ('billing', 0)",
            """CREATE FUNCTION public.pretend() RETURNS trigger LANGUAGE plpgsql
            AS $$ BEGIN ALTER ROLE developer SUPERUSER; RETURN NEW; END $$""",
            "CREATE TRIGGER pretend BEFORE INSERT ON plans FOR EACH ROW EXECUTE FUNCTION pretend()",
            "ALTER ROLE developer PASSWORD NULL",
        ):
            connection.execute(statement)  # type: ignore[arg-type]
        docker.APIClient().restart(sandbox.container("db"), timeout=5)
    sandbox.runtime.create(sandbox.spec, lambda _: None, 60)
    query = "psql -XtAc 'SELECT rolname FROM pg_catalog.pg_roles WHERE rolsuper' postgres"
    command = ["sh", "-c", query]
    assert sandbox.runtime.execute(sandbox.id, "db", command, 10) == (0, "postgres\n")
    sandbox.reset()
    assert sandbox.sql("SELECT count(*) FROM plans") == [(5,)]


def test_a_killed_database_starts_although_another_process_has_its_id(sandbox: Sandbox) -> None:
    lock = "/run/postgresql/.s.PGSQL.5432.lock"
    # The shell that initializes the data is the third process after the server.
    command = ["sh", "-c", f"echo $(($(head -n 1 $PGDATA/postmaster.pid) + 3)) > {lock}"]
    assert sandbox.runtime.execute(sandbox.id, "db", command, 10) == (0, "")
    engine = docker.APIClient()
    engine.kill(sandbox.container("db"))
    engine.wait(sandbox.container("db"), timeout=10)
    engine.start(sandbox.container("db"))
    sandbox.runtime.create(sandbox.spec, lambda _: None, 60)
    assert "already exists" not in sandbox.runtime.logs(sandbox.id, "db", 200)
    assert sandbox.sql("SELECT count(*) FROM plans") == [(5,)]


def test_recreated_services_have_the_seed_and_the_same_credentials(sandbox: Sandbox) -> None:
    before = sandbox.everything()
    sandbox.sql("SELECT 1")
    with psycopg.connect(sandbox.database_url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
    sandbox.runtime.recreate(sandbox.spec, lambda _: None, 60)
    assert sandbox.everything() == before
    assert sandbox.sql("SELECT count(*) FROM plans") == [(5,)]


def test_the_developer_cannot_use_up_the_connections_of_the_api(sandbox: Sandbox) -> None:
    opened = [psycopg.connect(sandbox.database_url) for _ in range(14)]
    with pytest.raises(psycopg.OperationalError, match="too many connections"):
        psycopg.connect(sandbox.database_url)
    assert sandbox.api.ok("GET", "/v1/plans")["total"] == 5
    for connection in opened:
        connection.close()


def test_other_roles_and_databases_accept_no_connections(sandbox: Sandbox) -> None:
    for role, database in (("postgres", "postgres"), ("developer", "billing_template")):
        url = sandbox.database_url.replace("/billing", f"/{database}").replace("developer", role)
        with pytest.raises(psycopg.OperationalError, match=r"no pg_hba\.conf entry"):
            psycopg.connect(url, connect_timeout=5)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(sandbox.database_url, password="wrong", connect_timeout=5)


def test_changes_of_a_developer_survive_a_restart_and_a_kill(sandbox: Sandbox) -> None:
    client = docker.APIClient()
    sandbox.api.ok("PATCH", "/v1/plans/plan_team", json={"name": "Changed"})
    before = sandbox.everything()
    for end in ("stop", "kill"):
        for service in ("db", "api"):
            getattr(client, end)(sandbox.container(service))
            exit_code = client.inspect_container(sandbox.container(service))["State"]["ExitCode"]
            assert exit_code == (0 if end == "stop" else 137), service
        published = addresses(sandbox.runtime.create(sandbox.spec, lambda _: None, 60))
        url = load("billing").endpoint_urls(published)["api"]
        sandbox.api = ApiClient(url, sandbox.credentials["api_key"])
        assert sandbox.everything() == before


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "DATABASE_PASSWORD is not set"),
        ({"DATABASE_PASSWORD": "x"}, "SANDBOX_LAUNCHED_AT is ''"),
        (
            {"DATABASE_PASSWORD": "x", "SANDBOX_LAUNCHED_AT": "soon"},
            "SANDBOX_LAUNCHED_AT is 'soon'",
        ),
        ({"DATABASE_PASSWORD": "x", "SANDBOX_LAUNCHED_AT": "2026-13-01T00:00:00Z"}, "2026-13-01"),
    ],
)
def test_a_database_with_an_invalid_environment_reports_it_and_exits(
    environment: dict[str, str], words: str
) -> None:
    client = docker.APIClient()
    image = next(s.image for s in load("billing").services if s.name == "db")
    container = client.create_container(
        image, environment=environment, host_config=client.create_host_config(init=True)
    )["Id"]
    try:
        client.start(container)
        assert client.wait(container, timeout=TIME_LIMIT)["StatusCode"] == 64
        output = client.logs(container).decode().splitlines()
        assert len(output) == 1 and words in output[0]
    finally:
        client.remove_container(container, force=True)
