"""A real queue that no worker reads; the test runs `provisioning` itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from kombu import Connection

from sandboxportal.celery import app
from tests.harness.servers import on_servers


@pytest.fixture(scope="session", autouse=True)
def _results_can_be_waited_for() -> Iterator[None]:
    """Allow tasks that run in this process to wait for results.

    Celery has one flag for all threads that shows whether a task runs. Two tasks that run here in
    parallel, instead of in a worker, can leave it set, and then no thread may wait for a result.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("celery.app.task.denied_join_result", nullcontext)
        yield


@pytest.fixture
def embedded_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the directory in which messages are stored."""
    directory = tmp_path / "queue"
    changes = {"task_always_eager": False, "broker_transport_options": {"folder": str(directory)}}
    before = {name: app.conf[name] for name in changes}
    app.conf.update(changes)
    # Open connections keep their options.
    monkeypatch.setattr(app, "_pool", None)
    monkeypatch.setattr(app.amqp, "_producer_pool", None)
    yield directory
    app.pool.force_close_all()
    app.conf.update(before)


def queued_messages(connection: Connection) -> str:
    """Return the text of all queued messages."""
    if on_servers():
        redis = connection.default_channel.client
        return str([redis.lrange(name, 0, -1) for name in app.amqp.queues])
    directory = Path(connection.transport_options["folder"])
    return "".join(file.read_text() for file in directory.rglob("*") if file.is_file())


@pytest.fixture
def queued_tasks(request: pytest.FixtureRequest) -> Iterator[Connection]:
    """Return a connection to the queue without a worker: the embedded one, or Redis."""
    if not on_servers():
        request.getfixturevalue("embedded_queue")
    app.conf.task_always_eager = False
    with app.connection_for_read() as connection:
        if on_servers():
            # Messages of other tests.
            for name in app.amqp.queues:
                connection.default_channel.client.delete(name)
        yield connection
    app.conf.task_always_eager = True
