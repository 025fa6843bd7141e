"""PostgreSQL and Redis for one command: `python -m tests.harness.servers python -m pytest`.

Tests in that environment use these servers. Each portal that they start has its own database and
queue there. Everything is removed when the command ends.
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
    """Return whether these tests use the servers."""
    return "TESTS_REDIS_PORT" in os.environ


def _own_number() -> int:
    """Return the number of an unused database of the Redis server; 0 is the counter's."""
    return int(redis.Redis(port=int(os.environ["TESTS_REDIS_PORT"])).incr("given"))


def own_redis() -> Mapping[str, str]:
    """Return settings of a cache and a queue that no other process uses."""
    at = f"127.0.0.1:{os.environ['TESTS_REDIS_PORT']}"
    return {
        "CACHE_URL": f"rediscache://{at}/{_own_number()}",
        "CELERY_BROKER_URL": f"redis://{at}/{_own_number()}",
    }


def _cluster() -> Cluster:
    return Cluster(Path(os.environ["TESTS_CLUSTER_HOME"]), int(os.environ["TESTS_CLUSTER_PORT"]))


@contextmanager
def migrated_database() -> Iterator[str]:
    """Yield the URL of a new migrated database, which is dropped afterwards."""
    with _cluster().database(template=os.environ["TESTS_TEMPLATE"]) as url:
        yield url


@contextmanager
def own_stores() -> Iterator[Mapping[str, str]]:
    """Yield settings for a portal; none if it uses stores without a server."""
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
            # The command got the same signal and prints its report.
            return running.wait()
        finally:
            running.terminate()


if __name__ == "__main__":
    sys.exit(main())
