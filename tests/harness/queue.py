"""A real queue that no worker reads; `provisioning` is then the test's own part to play."""

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
    """Celery has one flag for all threads that says whether a task runs. Two that run here at once,
    instead of in a worker, can leave it set for good, and then nobody may wait for a result."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("celery.app.task.denied_join_result", nullcontext)
        yield


@pytest.fixture
def embedded_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Messages pile up in this directory."""
    folder = tmp_path / "queue"
    changes = {"task_always_eager": False, "broker_transport_options": {"folder": str(folder)}}
    before = {name: app.conf[name] for name in changes}
    app.conf.update(changes)
    # Connections are kept with the options that they were made with.
    monkeypatch.setattr(app, "_pool", None)
    monkeypatch.setattr(app.amqp, "_producer_pool", None)
    yield folder
    app.pool.force_close_all()
    app.conf.update(before)


def waiting(connection: Connection) -> str:
    """All that the messages there say."""
    if on_servers():
        return str(connection.default_channel.client.lrange("celery", 0, -1))
    folder = Path(connection.transport_options["folder"])
    return "".join(file.read_text() for file in folder.rglob("*") if file.is_file())


@pytest.fixture
def queued_tasks(request: pytest.FixtureRequest) -> Iterator[Connection]:
    """A connection to where messages pile up: the embedded queue, or the Redis server."""
    if not on_servers():
        request.getfixturevalue("embedded_queue")
    app.conf.task_always_eager = False
    with app.connection_for_read() as connection:
        if on_servers():
            # What another test left there.
            connection.SimpleQueue("celery").clear()
        yield connection
    app.conf.task_always_eager = True
