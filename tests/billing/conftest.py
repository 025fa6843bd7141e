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


def script(*path: str) -> bytes:
    return Path(*path).read_bytes()


def put_seed(connection: psycopg.Connection, launched_at: datetime) -> None:
    """Fill an empty database, within its transaction."""
    moment = sql.Literal(launched_at.isoformat())
    connection.execute(sql.SQL("SET LOCAL sandbox.launched_at = {}").format(moment))
    connection.execute(script(str(FIXTURES), "seed.sql"))


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
def empty(cluster: Cluster) -> str:
    """The name of a database that has the schema and no rows."""
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as connection:
        connection.execute(script(str(BLUEPRINT), "db", "create-roles.sql"))
        connection.execute("CREATE DATABASE billing_template OWNER developer")
    with psycopg.connect(cluster.url("billing_template")) as connection:
        connection.execute("SET ROLE developer")
        connection.execute(script(str(FIXTURES), "schema.sql"))
    return "billing_template"


@pytest.fixture(scope="session")
def seeded(cluster: Cluster, empty: str, launched_at: datetime) -> str:
    """The name of a database as it is after a launch."""
    copy_database(cluster, "billing_seeded", empty)
    with psycopg.connect(cluster.url("billing_seeded")) as connection:
        put_seed(connection, launched_at)
    return "billing_seeded"


class Stage:
    """The database `billing`, which is put back only after somebody changed it."""

    def __init__(self, cluster: Cluster, seeded: str) -> None:
        self._cluster, self._seeded = cluster, seeded
        self.changed = True

    def set(self) -> None:
        if self.changed:
            copy_database(self._cluster, "billing", self._seeded)
        self.changed = False


@pytest.fixture(scope="session")
def stage(cluster: Cluster, seeded: str) -> Stage:
    return Stage(cluster, seeded)


@pytest.fixture
def untouched(stage: Stage) -> None:
    """The seed, for a test that changes nothing."""
    stage.set()


@pytest.fixture
def fresh(stage: Stage) -> None:
    """The seed, for a test that may do with it as it likes."""
    stage.set()
    stage.changed = True


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
def db(fresh: None, connect: Connect) -> psycopg.Connection:
    """What a developer's own client sees."""
    return connect()


@pytest.fixture
def undone(untouched: None, connect: Connect) -> psycopg.Connection:
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
def api(api_url: str, fresh: None) -> Iterator[ApiClient]:
    with ApiClient(api_url) as client:
        yield client


@pytest.fixture
def reader(api_url: str, untouched: None) -> Iterator[ApiClient]:
    """For a test that only reads."""
    with ApiClient(api_url) as client:
        yield client
