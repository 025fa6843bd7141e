"""A private PostgreSQL server with the billing schema, and the billing API."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from tests.billing.harness import BLUEPRINT, FIXTURES, ApiClient, install_packages, running_api
from tests.harness.postgres import Cluster

Connect = Callable[..., psycopg.Connection]


def read_script(*path: str) -> bytes:
    """Return the content of an SQL script."""
    return Path(*path).read_bytes()


def load_seed(
    connection: psycopg.Connection, launched_at: datetime, scenario: str = "standard"
) -> None:
    """Load the seed into an empty database, within the current transaction."""
    moment = sql.Literal(launched_at.isoformat())
    connection.execute(sql.SQL("SET LOCAL sandbox.launched_at = {}").format(moment))
    name = sql.Literal(scenario)
    connection.execute(sql.SQL("SET LOCAL sandbox.scenario = {}").format(name))
    connection.execute(read_script(str(FIXTURES), "seed.sql"))
    if scenario in ("dunning", "large"):
        connection.execute(read_script(str(FIXTURES), "scenarios.sql"))


def copy_database(cluster: Cluster, name: str, template: str) -> None:
    """Replace a database by a copy of another; clients are disconnected as by a reset."""
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as connection:
        database, original = sql.Identifier(name), sql.Identifier(template)
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(database))
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER developer STRATEGY file_copy").format(
                database, original
            )
        )


@pytest.fixture(scope="session")
def launched_at() -> datetime:
    return datetime.now(UTC)


@pytest.fixture(scope="session")
def empty_database(cluster: Cluster) -> str:
    """Create a database with the schema and no rows, and return its name."""
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as connection:
        connection.execute(read_script(str(BLUEPRINT), "db", "create-roles.sql"))
        connection.execute("CREATE DATABASE billing_template OWNER developer")
    with psycopg.connect(cluster.url("billing_template")) as connection:
        connection.execute("SET ROLE developer")
        for script in ("schema.sql", "events.sql"):
            connection.execute(read_script(str(FIXTURES), script))
    return "billing_template"


@pytest.fixture(scope="session")
def seeded_database(cluster: Cluster, empty_database: str, launched_at: datetime) -> str:
    """Create a database in the state after a launch, and return its name."""
    copy_database(cluster, "billing_seeded", empty_database)
    with psycopg.connect(cluster.url("billing_seeded")) as connection:
        load_seed(connection, launched_at)
    return "billing_seeded"


class BillingDatabase:
    """The database `billing`, which is restored only after a change."""

    def __init__(self, cluster: Cluster, seeded_database: str) -> None:
        self._cluster, self._seeded = cluster, seeded_database
        self.changed = True

    def restore(self) -> None:
        if self.changed:
            copy_database(self._cluster, "billing", self._seeded)
        self.changed = False


@pytest.fixture(scope="session")
def billing_database(cluster: Cluster, seeded_database: str) -> BillingDatabase:
    return BillingDatabase(cluster, seeded_database)


@pytest.fixture
def seed_data(billing_database: BillingDatabase) -> None:
    """Provide the seed data for a test that changes nothing."""
    billing_database.restore()


@pytest.fixture
def fresh_data(billing_database: BillingDatabase) -> None:
    """Provide the seed data for a test that changes it."""
    billing_database.restore()
    billing_database.changed = True


@pytest.fixture
def connect(cluster: Cluster) -> Iterator[Connect]:
    """Return a function that opens connections as the role developer."""
    opened = []

    def connect(database: str = "billing", *, autocommit: bool = True) -> psycopg.Connection:
        url = cluster.url(database).replace("tests@", "developer@")
        opened.append(psycopg.connect(url, autocommit=autocommit))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()


@pytest.fixture
def db(fresh_data: None, connect: Connect) -> psycopg.Connection:
    """Connect as the developer, in autocommit mode."""
    return connect()


@pytest.fixture
def rollback_db(seed_data: None, connect: Connect) -> psycopg.Connection:
    """Connect as the developer, in a transaction that is rolled back."""
    return connect(autocommit=False)


@pytest.fixture(scope="session")
def packages(request: pytest.FixtureRequest) -> Path:
    return install_packages(request.config.cache.mkdir("billing-api"))


@pytest.fixture(scope="session")
def api_url(packages: Path, cluster: Cluster) -> Iterator[str]:
    database = f"postgresql://billing_api@127.0.0.1:{cluster.port}/billing"
    with running_api(packages, database) as (url, _):
        yield url


@pytest.fixture
def api(api_url: str, fresh_data: None) -> Iterator[ApiClient]:
    with ApiClient(api_url) as client:
        yield client


@pytest.fixture
def reader(api_url: str, seed_data: None) -> Iterator[ApiClient]:
    """Return a client for a test that only reads."""
    with ApiClient(api_url) as client:
        yield client
