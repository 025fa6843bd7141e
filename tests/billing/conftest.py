"""A private PostgreSQL with the billing schema, and the API over it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from tests.billing.harness import BLUEPRINT, FIXTURES, ApiClient, install_packages, running_api
from tests.postgres import Cluster

Connect = Callable[..., psycopg.Connection]


def read_script(*path: str) -> bytes:
    return Path(*path).read_bytes()


def load_seed(connection: psycopg.Connection, launched_at: datetime) -> None:
    """Fill an empty database, within its transaction."""
    moment = sql.Literal(launched_at.isoformat())
    connection.execute(sql.SQL("SET LOCAL sandbox.launched_at = {}").format(moment))
    connection.execute(read_script(str(FIXTURES), "seed.sql"))


def copy_database(cluster: Cluster, name: str, template: str) -> None:
    """A fresh copy; whoever is connected to the old one is cut off, as by a reset."""
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
    """The name of a database that has the schema and no rows."""
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as connection:
        connection.execute(read_script(str(BLUEPRINT), "db", "create-roles.sql"))
        connection.execute("CREATE DATABASE billing_template OWNER developer")
    with psycopg.connect(cluster.url("billing_template")) as connection:
        connection.execute("SET ROLE developer")
        connection.execute(read_script(str(FIXTURES), "schema.sql"))
    return "billing_template"


@pytest.fixture(scope="session")
def seeded_database(cluster: Cluster, empty_database: str, launched_at: datetime) -> str:
    """The name of a database as it is after a launch."""
    copy_database(cluster, "billing_seeded", empty_database)
    with psycopg.connect(cluster.url("billing_seeded")) as connection:
        load_seed(connection, launched_at)
    return "billing_seeded"


class BillingDatabase:
    """The database `billing`, which is put back only after somebody changed it."""

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
    """The seed, for a test that changes nothing."""
    billing_database.restore()


@pytest.fixture
def fresh_data(billing_database: BillingDatabase) -> None:
    """The seed, for a test that may do with it as it likes."""
    billing_database.restore()
    billing_database.changed = True


@pytest.fixture
def connect(cluster: Cluster) -> Iterator[Connect]:
    """Opens connections, by default as the developer's to their database."""
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
    """What a developer's own client sees."""
    return connect()


@pytest.fixture
def rollback_db(seed_data: None, connect: Connect) -> psycopg.Connection:
    """The same, in a transaction that is rolled back."""
    return connect(autocommit=False)


@pytest.fixture(scope="session")
def packages(request: pytest.FixtureRequest) -> Path:
    return install_packages(request.config.cache.mkdir("billing-api"))


@pytest.fixture(scope="session")
def api_url(packages: Path, cluster: Cluster) -> Iterator[str]:
    with running_api(packages, f"postgresql://billing_api@127.0.0.1:{cluster.port}/billing") as url:
        yield url


@pytest.fixture
def api(api_url: str, fresh_data: None) -> Iterator[ApiClient]:
    with ApiClient(api_url) as client:
        yield client


@pytest.fixture
def reader(api_url: str, seed_data: None) -> Iterator[ApiClient]:
    """For a test that only reads."""
    with ApiClient(api_url) as client:
        yield client
