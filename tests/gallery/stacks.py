"""The examples in docs/examples, and how a developer uses each of them."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import psycopg
import redis

from tests.helpers.wait import wait_for

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


@dataclass(frozen=True)
class Access:
    """The endpoints and credentials of a sandbox, by the blueprint's own names."""

    endpoints: Mapping[str, str]
    credentials: Mapping[str, str]

    def http(self, endpoint: str, **options: Any) -> httpx2.Client:
        """Return a client of an endpoint. Every request has a time limit."""
        return httpx2.Client(base_url=self.endpoints[endpoint], timeout=10, **options)


@dataclass(frozen=True)
class Stack:
    """An example: its public images, its own names, and a way to read and change its data."""

    name: str
    images: Sequence[str]
    endpoints: Sequence[str]
    credentials: Sequence[str]
    read: Callable[[Access], Any]
    """Return the data as its users see it."""
    change: Callable[[Access], Any]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """What a launch chooses in place of the defaults."""
    fresh: Any = None
    """The data of a fresh sandbox with these parameters, if they decide about it."""

    def __str__(self) -> str:
        return self.name


def sql(url: str, query: str) -> Any:
    with psycopg.connect(url, connect_timeout=10, autocommit=True) as connection:
        found = connection.execute(query)  # type: ignore[call-overload]
        return found.fetchone()[0] if found.description else None


def books(access: Access) -> httpx2.Client:
    return access.http("api", headers={"X-Api-Key": access.credentials["api_key"]})


def read_books(access: Access) -> Any:
    with books(access) as api, access.http("api") as stranger:
        assert stranger.get("/books").status_code == 403
        listed = api.get("/books").raise_for_status().json()
    assert sql(access.credentials["database_url"], "SELECT count(*) FROM books") == len(listed)
    return listed


def add_book(access: Access) -> None:
    with books(access) as api:
        assert api.post("/books", json={"title": "Dune"}).json() == {"id": 4, "title": "Dune"}


def read_shop(access: Access) -> Any:
    with access.http("site") as site:
        assert "<h1>Shop</h1>" in site.get("/").raise_for_status().text
    with redis.Redis.from_url(access.credentials["cache_url"], socket_timeout=10) as cache:
        keys = cache.dbsize()
    return keys, sql(access.credentials["sql_url"], "SELECT count(*) FROM products")


def change_shop(access: Access) -> None:
    sql(access.credentials["sql_url"], "DELETE FROM products")
    with redis.Redis.from_url(access.credentials["cache_url"], socket_timeout=10) as cache:
        cache.set("visits", 1)


def counters(access: Access) -> httpx2.Client:
    token = access.credentials["token"]
    return access.http("counters", headers={"Authorization": f"Bearer {token}"})


def read_counter(access: Access) -> Any:
    with counters(access) as api, access.http("counters") as stranger:
        assert stranger.get("/counters/visits").status_code == 401
        return api.get("/counters/visits").raise_for_status().json()["value"]


def count(access: Access) -> None:
    with counters(access) as api:
        api.post("/counters/visits").raise_for_status()


def read_reports(access: Access) -> Any:
    with access.http("reports") as api:
        return api.get("/reports/").raise_for_status().json()["reports"]


def order_report(access: Access) -> None:
    """Order a report, and wait until the Celery worker has written it."""
    with access.http("reports") as api:
        assert api.post("/reports/").json()["state"] == "waiting"
    wait_for(lambda: read_reports(access)[-1]["state"] == "written", "the report is written", 20)


def notes(access: Access) -> httpx2.Client:
    return access.http("gateway", auth=("demo", access.credentials["password"]))


def read_notes(access: Access) -> Any:
    with notes(access) as api, access.http("gateway") as stranger:
        assert stranger.get("/notes").status_code == 401
        return api.get("/notes").raise_for_status().json()


def add_note(access: Access) -> None:
    with notes(access) as api:
        api.post("/notes", json={"text": "Feed the cat"}).raise_for_status()


def say(access: Access, *lines: str) -> list[str]:
    """Send lines to the terminal, and return its answers."""
    url = urlsplit(access.endpoints["terminal"])
    with (
        socket.create_connection((url.hostname, url.port), timeout=10) as terminal,
        terminal.makefile("rw") as file,
    ):
        file.writelines(f"{line}\n" for line in lines)
        file.flush()
        return [file.readline().strip() for _ in lines]


def read_payments(access: Access) -> Any:
    return say(access, "COUNT", f"PIN {access.credentials['pin']}", "COUNT")


def pay(access: Access) -> None:
    said = say(access, f"PIN {access.credentials['pin']}", "PAY 250")
    assert said == ["OK", "PAYMENT 1"]


PYTHON, POSTGRES, REDIS = "python:3.12-slim", "postgres:16", "redis:7"

BOOKS = Stack(
    "fastapi-postgres",
    [PYTHON, POSTGRES],
    ["api", "database"],
    ["api_key", "database_url"],
    read_books,
    add_book,
    {"newest_first": True},
    [
        {"id": 3, "title": "Kindred"},
        {"id": 2, "title": "Solaris"},
        {"id": 1, "title": "The Dispossessed"},
    ],
)
SHOP = Stack(
    "official-images",
    [POSTGRES, REDIS, "nginx"],
    ["site", "sql", "cache"],
    ["sql_url", "cache_url"],
    read_shop,
    change_shop,
)
OTHERS = (
    Stack("express-redis", ["node:22", REDIS], ["counters"], ["token"], read_counter, count),
    Stack(
        "django-mariadb-celery",
        [PYTHON, "mariadb:11", REDIS],
        ["reports", "mariadb"],
        ["mariadb_url"],
        read_reports,
        order_report,
    ),
    Stack("nginx-api", ["nginx", PYTHON], ["gateway"], ["password"], read_notes, add_note),
    Stack("tcp-only", [PYTHON, REDIS], ["terminal"], ["pin"], read_payments, pay),
)
