"""PostgreSQL and Redis for one command: `python -m tests.harness.servers python -m pytest`.

In that environment tests run on these servers, each portal that they start on a database and
a queue of its own there; nothing of it is left when the command has ended.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import redis

from tests.harness.postgres import Cluster, running_cluster
from tests.harness.redis import redis as running_redis


def on_servers() -> bool:
    """Whether these tests run on them."""
    return "TESTS_REDIS_PORT" in os.environ


def _own_number() -> int:
    """Of a database of the Redis server; 0 is where they are counted."""
    return int(redis.Redis(port=int(os.environ["TESTS_REDIS_PORT"])).incr("given"))


def own_redis() -> Mapping[str, str]:
    """Settings that lead to a cache and a queue that nobody else uses."""
    at = f"127.0.0.1:{os.environ['TESTS_REDIS_PORT']}"
    return {
        "CACHE_URL": f"rediscache://{at}/{_own_number()}",
        "CELERY_BROKER_URL": f"redis://{at}/{_own_number()}",
    }


def _cluster() -> Cluster:
    return Cluster(Path(os.environ["TESTS_CLUSTER_HOME"]), int(os.environ["TESTS_CLUSTER_PORT"]))


@contextmanager
def migrated_database() -> Iterator[str]:
    """The URL of a database of its own, with the schema and no rows; dropped afterwards."""
    with _cluster().database(template=os.environ["TESTS_TEMPLATE"]) as url:
        yield url


@contextmanager
def own_stores() -> Iterator[Mapping[str, str]]:
    """Settings for a portal, or nothing where those that need no server are what it shall have."""
    if not on_servers():
        yield {}
        return
    with migrated_database() as url:
        yield {**own_redis(), "DATABASE_URL": url}


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with (
        TemporaryDirectory() as home,
        running_cluster() as cluster,
        running_redis(Path(home)) as store,
        cluster.database() as template,
    ):
        there = {
            "TESTS_TEMPLATE": template.rpartition("/")[2],
            "TESTS_CLUSTER_HOME": str(cluster.home),
            "TESTS_CLUSTER_PORT": str(cluster.port),
            "TESTS_REDIS_PORT": str(store.port),
        }
        migrate = [sys.executable, "manage.py", "migrate", "--verbosity=0", "--skip-checks"]
        tests = {"DJANGO_SETTINGS_MODULE": "tests.settings"}
        tests |= {"DATABASE_URL": template}
        subprocess.run(migrate, env=os.environ | there | tests, check=True)
        # Not the template: rows that a test writes by mistake would be in every copy.
        with cluster.database() as url:
            return _run(sys.argv[1:], there | {"DATABASE_URL": url})


def _run(command: list[str], environment: Mapping[str, str]) -> int:
    with subprocess.Popen(command, env=os.environ | environment) as running:
        try:
            return running.wait()
        except KeyboardInterrupt:
            # It got the same signal, and tells what it has to tell.
            return running.wait()
        finally:
            running.terminate()


if __name__ == "__main__":
    sys.exit(main())
