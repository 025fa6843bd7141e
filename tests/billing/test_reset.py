"""Resets and restarts of a sandbox whose developer runs hostile SQL, on a real PostgreSQL."""

from __future__ import annotations

import secrets
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sandboxes.blueprints import load
from sandboxes.runtime import NotReady
from sandboxes.runtime.process import process_table
from sandboxes.runtime.process.runtime import ProcessRuntime
from sandboxes.runtime.process.templates import TemplateBuild
from tests.billing.harness import RESOURCES, TIME_LIMIT, LaunchedSandbox, launch_billing
from tests.harness.shared_files import creating_shared, share_templates
from tests.helpers.wait import wait_for

pytestmark = [pytest.mark.postgres, pytest.mark.slow]


@dataclass
class Sandbox(LaunchedSandbox):
    """A billing sandbox without an engine."""

    runtime: ProcessRuntime

    def connect(self, role: str = "developer", **options: Any) -> psycopg.Connection:
        url = self.database_url.replace("developer", role, 1)
        return psycopg.connect(url, connect_timeout=5, autocommit=True, **options)

    def run(self, *statements: str, role: str = "developer") -> list[str]:
        """Run all statements, and return the errors of those that were refused."""
        refused = []
        with self.connect(role) as connection:
            for statement in statements:
                try:
                    connection.execute(statement)  # type: ignore[arg-type]
                except psycopg.Error as error:
                    refused.append(str(error))
        return refused

    def value(self, query: str) -> Any:
        with self.connect() as connection:
            row = connection.execute(query).fetchone()  # type: ignore[arg-type]
        assert row
        return row[0]

    def reset(self) -> tuple[int, str]:
        reset = load("billing").reset
        return self.runtime.execute(self.id, reset.service, reset.process, TIME_LIMIT)

    def kill_database(self, seconds: float = 60) -> None:
        """Kill PostgreSQL, and start it again with its data. Raises NotReady."""
        directory = self.runtime.home.sandbox(self.id)
        pid = int((directory.work("db") / "cluster" / "postmaster.pid").read_text().split()[0])
        process_table.processes()[pid].handle.kill()
        wait_for(lambda: not self.runtime.observe()[self.id].alive, "PostgreSQL has stopped")
        self.runtime.create(self.spec, lambda _: None, seconds)


@pytest.fixture(scope="module")
def runtime() -> Iterator[ProcessRuntime]:
    # Other users must be able to enter it: under root, sandboxes run as other users.
    with tempfile.TemporaryDirectory(prefix="portal-tests-billing-") as directory:
        Path(directory).chmod(0o755)
        home = Path(directory).resolve() / "home"
        share_templates(home)
        runtime = ProcessRuntime(f"tests-{secrets.token_hex(4)}", home)
        builds = [
            TemplateBuild(image, one.files, one.requirements, one.command)
            for image, one in load("billing").preparations.items()
        ]
        with creating_shared():
            runtime.templates.ensure(builds, lambda _: None)
        yield runtime
        for sandbox_id in runtime.observe():
            runtime.destroy(sandbox_id)


@pytest.fixture(scope="module")
def sandbox(runtime: ProcessRuntime) -> Iterator[Sandbox]:
    """Launch a sandbox for all tests: each ends with a reset that makes it as new."""
    sandbox = launch_billing(Sandbox, runtime)
    yield sandbox
    sandbox.api.close()
    runtime.destroy(sandbox.id)


DATABASES = ("billing", "billing_next", "billing_new", "billing_old", "billing_template")
HOSTILE_SQL = [
    *(
        statement.format(name)
        for name in DATABASES
        for statement in (
            "ALTER DATABASE {} IS_TEMPLATE true",
            "ALTER DATABASE {} ALLOW_CONNECTIONS false",
            "ALTER DATABASE {} CONNECTION LIMIT 0",
            "ALTER DATABASE {} SET default_transaction_read_only = on",
            "ALTER DATABASE {} SET search_path = nowhere",
            "ALTER DATABASE {} SET statement_timeout = 1",
            "ALTER DATABASE {} RENAME TO mine",
            "ALTER DATABASE {} OWNER TO billing_api",
            "ALTER DATABASE {} SET TABLESPACE pg_default",
            "COMMENT ON DATABASE {} IS 'mine'",
            "REVOKE ALL ON DATABASE {} FROM PUBLIC",
            "ALTER ROLE developer IN DATABASE {} SET default_transaction_read_only = on",
            "ALTER ROLE developer IN DATABASE {} SET search_path = nowhere",
            "DROP DATABASE {} WITH (FORCE)",
        )
    ),
    "CREATE DATABASE billing_old",
    "CREATE DATABASE billing_next",
    "ALTER ROLE developer SET default_transaction_read_only = on",
    "ALTER ROLE developer SET statement_timeout = 1",
    "ALTER ROLE developer SET role = none",
    "ALTER ROLE developer PASSWORD NULL",
    "ALTER ROLE developer NOLOGIN",
    "ALTER ROLE developer CONNECTION LIMIT 0",
    "ALTER ROLE developer SUPERUSER",
    "ALTER ROLE billing_api NOLOGIN",
    "REVOKE developer FROM billing_api",
    "GRANT developer TO postgres",
    "DROP ROLE billing_api",
    "ALTER SYSTEM SET max_connections = 1",
    "CREATE TABLESPACE mine LOCATION '/tmp'",
    "SECURITY LABEL ON DATABASE billing IS 'mine'",
    "SELECT pg_create_logical_replication_slot('mine', 'pgoutput')",
    "SELECT pg_create_physical_replication_slot('mine')",
    "CREATE EVENT TRIGGER mine ON ddl_command_start EXECUTE FUNCTION touch_updated_at()",
    "LISTEN mine",
    "SELECT lo_create(0)",
    "DROP OWNED BY developer CASCADE",
    "DROP SCHEMA public CASCADE",
]
HOSTILE_API_ROLE = [
    "RESET ROLE",
    "ALTER ROLE billing_api PASSWORD 'mine'",
    "ALTER ROLE billing_api SET role = none",
    "ALTER ROLE billing_api SET default_transaction_read_only = on",
    "ALTER ROLE billing_api IN DATABASE billing_next SET search_path = nowhere",
]


def test_the_log_of_a_new_sandbox_contains_no_failure(sandbox: Sandbox) -> None:
    log = sandbox.runtime.logs(sandbox.id, "db", 100)
    assert "FATAL" not in log and "ERROR" not in log
    assert "ready for connections" in log
    with pytest.raises(psycopg.OperationalError):
        sandbox.connect(password="wrong")
    wait_for(
        lambda: "password authentication failed" in sandbox.runtime.logs(sandbox.id, "db", 100),
        "later failures are logged",
    )


def test_a_reset_works_after_any_sql_that_the_developer_ran(sandbox: Sandbox) -> None:
    before = sandbox.everything()
    wait_for_spare(sandbox)
    sandbox.run(*HOSTILE_API_ROLE, role="billing_api")
    sandbox.run(*HOSTILE_SQL)

    assert sandbox.reset() == (0, "")
    assert sandbox.everything() == before
    assert sandbox.value("SHOW default_transaction_read_only") == "off"
    assert sandbox.value("SHOW search_path") == '"$user", public'
    with sandbox.connect("billing_api") as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("developer",)
    created = ("CREATE SCHEMA mine", "CREATE TABLE public.mine ()", "CREATE TEMP TABLE mine ()")
    assert sandbox.run(*created) == []


def test_a_reset_waits_for_no_session_and_no_lock(sandbox: Sandbox) -> None:
    before = sandbox.everything()
    wait_for_spare(sandbox)
    with ExitStack() as sessions:
        locks = ("LOCK TABLE plans", "ALTER ROLE developer PASSWORD 'mine'", "TABLE pg_database")
        for statement in (*locks, *["SELECT 1"] * 8):
            connection = sandbox.connect()
            sessions.callback(connection.close)
            connection.execute("BEGIN")
            connection.execute(statement)  # type: ignore[arg-type]
        stop, reconnecting = threading.Event(), []
        for _ in range(3):
            reconnecting.append(threading.Thread(target=keep_connecting, args=(sandbox, stop)))
            reconnecting[-1].start()
        try:
            assert sandbox.reset() == (0, "")
        finally:
            stop.set()
            for thread in reconnecting:
                thread.join()
    assert sandbox.everything() == before


def test_a_reset_that_fails_changes_nothing_now_or_later(sandbox: Sandbox) -> None:
    wait_for_spare(sandbox)
    sandbox.api.ok("PATCH", "/v1/plans/plan_team", json={"name": "Changed"})
    before = sandbox.everything()
    with ExitStack() as sockets:
        # PostgreSQL counts connections that haven't signed in yet.
        host, _, port = sandbox.database_url.rpartition("@")[2].partition("/")[0].partition(":")
        for _ in range(30):
            sockets.enter_context(start_message(host, int(port)))
        time.sleep(0.5)
        code, output = sandbox.reset()
    assert code != 0
    assert "could not be reset" in output
    wait_for(lambda: suppressed(sandbox.everything) == before, "the data is unchanged")
    time.sleep(3)
    assert sandbox.everything() == before
    assert sandbox.reset() == (0, "")
    assert sandbox.everything() != before


@pytest.mark.parametrize(
    "seconds",
    [
        0.1,
        0.2,
        *(pytest.param(one, marks=pytest.mark.exhaustive) for one in (0.05, 0.15, 0.3, 0.5)),
    ],
)
def test_a_killed_reset_is_complete_or_changes_nothing(sandbox: Sandbox, seconds: float) -> None:
    seed = sandbox.everything()
    wait_for_spare(sandbox)
    sandbox.api.ok("PATCH", "/v1/plans/plan_team", json={"name": "Changed"})
    changed = sandbox.everything()
    reset = load("billing").reset
    with suppress(Exception):
        sandbox.runtime.execute(sandbox.id, reset.service, reset.process, seconds)
    sandbox.kill_database()
    assert sandbox.everything() in (seed, changed)
    assert sandbox.reset() == (0, "")
    assert sandbox.everything() == seed


PRETENDERS = [
    "ALTER ROLE developer PASSWORD NULL",
    "ALTER ROLE developer SET search_path = public, pg_catalog",
    "CREATE SCHEMA developer",
    "CREATE SCHEMA postgres",
    "CREATE TABLE public.pg_authid (rolname name, rolpassword text)",
    "INSERT INTO public.pg_authid VALUES ('developer', NULL)",
    "CREATE TABLE public.pg_database (datname name, datconnlimit int)",
    "INSERT INTO public.pg_database VALUES ('billing', 0)",
    *(
        f"""CREATE FUNCTION public.{name} RETURNS {result} LANGUAGE plpgsql AS $$
        BEGIN ALTER ROLE developer SUPERUSER; RETURN {value}; END $$"""
        for name, result, value in (
            ("count(text)", "bigint", "0"),
            ("pg_reload_conf()", "boolean", "true"),
            ("current_setting(text)", "text", "'2026-01-01'"),
            ("now()", "timestamptz", "NULL"),
            ("new_id_2(text)", "text", "''"),
            ("eq(name, text)", "boolean", "true"),
            ("eq(name, name)", "boolean", "true"),
            ("pretend()", "trigger", "NEW"),
            ("cast_to(text)", "name", "'billing'"),
        )
    ),
    "CREATE OPERATOR public.= (FUNCTION = eq, LEFTARG = name, RIGHTARG = text)",
    "CREATE OPERATOR public.= (FUNCTION = eq, LEFTARG = name, RIGHTARG = name)",
    "CREATE CAST (text AS name) WITH FUNCTION public.cast_to(text) AS IMPLICIT",
    *(
        f"CREATE TRIGGER pretend BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION pretend()"
        for table in RESOURCES
    ),
    "CREATE RULE pretend AS ON INSERT TO plans DO ALSO SELECT pretend()",
    "ALTER TABLE plans ALTER description SET DEFAULT current_setting('x')",
    "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC",
    "CREATE VIEW public.pg_settings AS SELECT 1",
    "CREATE EXTENSION IF NOT EXISTS citext",
    "CREATE EXTENSION IF NOT EXISTS hstore",
    "TRUNCATE plans CASCADE",
    "DROP TABLE payments",
]


def test_the_developer_never_becomes_a_superuser(sandbox: Sandbox) -> None:
    wait_for_spare(sandbox)
    session = sandbox.connect()
    for statement in PRETENDERS:
        with suppress(psycopg.Error):
            session.execute(statement)  # type: ignore[arg-type]
    session.close()
    with suppress(NotReady):  # The seed is gone.
        sandbox.kill_database(seconds=5)
    with sandbox.connect("billing_api", application_name="test") as connection:
        roles = connection.execute(
            "SELECT rolname FROM pg_catalog.pg_roles"
            " WHERE rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls OR rolreplication"
        ).fetchall()
        assert roles == [("postgres",)]
        assert connection.execute("SELECT count(*) FROM public.plans").fetchone() != (5,)
    assert sandbox.reset() == (0, "")
    query = "SELECT bool_or(rolsuper) FROM pg_roles WHERE rolname <> 'postgres'"
    assert not sandbox.value(query)


def wait_for_spare(sandbox: Sandbox) -> None:
    """Wait until the database for the next reset exists."""
    query = "SELECT count(*) FROM pg_database WHERE datname = 'billing_next'"
    wait_for(lambda: sandbox.value(query) == 1, "the spare database exists", seconds=15)


def keep_connecting(sandbox: Sandbox, stop: threading.Event) -> None:
    while not stop.is_set():
        with suppress(psycopg.Error), sandbox.connect() as connection:
            connection.execute("SELECT pg_sleep(1)")


def start_message(host: str, port: int) -> Any:
    """Open a connection, and stop before signing in."""
    connection = socket.create_connection((host, port), timeout=5)
    parameters = b"user\0developer\0database\0billing\0\0"
    connection.sendall(struct.pack("!II", len(parameters) + 8, 196608) + parameters)
    return connection


def suppressed(function: Any) -> Any:
    """Return the result of a function; None if it fails."""
    with suppress(Exception):
        return function()
    return None
