"""PostgreSQL and Redis of their own for a command: `python -m tests.servers python -m pytest`.

In that environment tests run on these servers, each portal that they start on a database and
a queue of its own there; nothing of it is left when the command has ended.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import redis

from tests.postgres import Cluster, free_port, running_cluster

DATABASES = 2048
"""Of the Redis server: everyone takes numbers of their own, and none is given out twice."""
START_SECONDS = 10


@contextmanager
def _running_redis() -> Iterator[int]:
    """The port of a server that writes nothing to the disk."""
    program, port = shutil.which("redis-server"), free_port()
    assert program, "Redis is missing; `apt-get install redis-server` brings it."
    options = f"--port {port} --bind 127.0.0.1 --appendonly no --databases {DATABASES}"
    with tempfile.TemporaryDirectory(prefix="portal-tests-redis-") as home:
        command = [program, *options.split(), "--save", "", "--dir", home]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            _await(port, server)
            yield port
        finally:
            server.terminate()
            server.wait(timeout=10)


def _await(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            redis.Redis(port=port).ping()
        except redis.ConnectionError:
            assert server.poll() is None and time.monotonic() < deadline, "Redis did not start."
            time.sleep(0.02)
        else:
            return


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
def own_stores() -> Iterator[Mapping[str, str]]:
    """Settings for a portal, or nothing where those that need no server are what it shall have."""
    if not on_servers():
        yield {}
        return
    with _cluster().database() as url:
        yield {**own_redis(), "DATABASE_URL": url}


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with running_cluster() as cluster, _running_redis() as port, cluster.database() as url:
        there = {
            "DATABASE_URL": url,
            "TESTS_CLUSTER_HOME": str(cluster.home),
            "TESTS_CLUSTER_PORT": str(cluster.port),
            "TESTS_REDIS_PORT": str(port),
        }
        with subprocess.Popen(sys.argv[1:], env=os.environ | there) as command:
            try:
                return command.wait()
            except KeyboardInterrupt:
                # It got the same signal, and tells what it has to tell.
                return command.wait()
            finally:
                command.terminate()


if __name__ == "__main__":
    sys.exit(main())
