"""The embedded queue delivers each message exactly once, without a server."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from queue import Empty
from tempfile import TemporaryDirectory
from uuid import uuid4

import pytest
import redis
from kombu import Connection

from sandboxportal import celery_filesystem_broker as broker
from sandboxportal.celery_filesystem_broker import MAX_MESSAGE_BYTES, UNREADABLE_PREFIX, Transport
from tests.harness.servers import own_stores
from tests.helpers.users import as_other_user
from tests.helpers.wait import wait_for
from tests.system.console import Console

pytestmark = pytest.mark.store

ROOT = Path(__file__).resolve().parents[2]
PUBLISHERS, MESSAGES = 4, 100
PADDING = "x" * 100_000
"""Large enough that writing a message takes several system calls."""


def connect(folder: Path) -> Connection:
    return Connection(transport=Transport, transport_options={"folder": str(folder)})


def publish(folder: Path, publisher: int) -> None:
    with connect(folder) as connection:
        queue = connection.SimpleQueue("work")
        for number in range(MESSAGES):
            queue.put({"id": [publisher, number], "padding": PADDING})


def consume(folder: Path) -> list[tuple[int, int]]:
    """Return the messages that a reader took until all were published and the queue was empty."""
    taken: list[tuple[int, int]] = []
    with connect(folder) as connection:
        queue = connection.SimpleQueue("work")
        while True:
            last_look = (folder / "published").exists()
            try:
                message = queue.get_nowait()
            except Empty:
                if last_look:
                    return taken
                time.sleep(0.001)
                continue
            assert message.payload["padding"] == PADDING
            taken.append(tuple(message.payload["id"]))
            message.ack()


@pytest.mark.slow
def test_parallel_publishers_and_readers_lose_and_duplicate_no_message(tmp_path: Path) -> None:
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with context.Pool(PUBLISHERS + 3) as pool:
        readers = [pool.apply_async(consume, [tmp_path]) for _ in range(3)]
        pool.starmap(publish, [(tmp_path, number) for number in range(PUBLISHERS)])
        (tmp_path / "published").touch()
        taken = [message for reader in readers for message in reader.get(timeout=120)]
    assert sorted(taken) == [(p, n) for p in range(PUBLISHERS) for n in range(MESSAGES)]


def test_messages_are_delivered_in_order(tmp_path: Path) -> None:
    with connect(tmp_path) as connection:
        queue = connection.SimpleQueue("work")
        for number in range(20):
            queue.put(number)
        assert [queue.get_nowait().payload for _ in range(20)] == list(range(20))


def test_a_message_is_invisible_while_it_is_being_written(tmp_path: Path) -> None:
    with connect(tmp_path) as connection:
        queue = connection.SimpleQueue("work")
        queue.put("whole")
        [whole] = (tmp_path / "work").iterdir()
        (tmp_path / "work" / f".{whole.name}").write_bytes(whole.read_bytes()[:10])
        assert queue.get_nowait().payload == "whole"
        with pytest.raises(Empty):
            queue.get_nowait()


def test_a_reader_with_a_stale_listing_takes_no_message_twice(tmp_path: Path) -> None:
    with connect(tmp_path) as one, connect(tmp_path) as other:
        mine, theirs = one.SimpleQueue("work"), other.SimpleQueue("work")
        for word in ("first", "second", "third"):
            mine.put(word)
        assert mine.get_nowait().payload == "first"
        assert theirs.get_nowait().payload == "second"
        assert mine.get_nowait().payload == "third"
        with pytest.raises(Empty):
            theirs.get_nowait()


def test_the_queue_works_after_its_directory_was_removed(tmp_path: Path) -> None:
    with connect(tmp_path / "queue") as connection:
        queue = connection.SimpleQueue("work")
        queue.put("lost")
        subprocess.run(["rm", "-r", tmp_path / "queue"], check=True)
        with pytest.raises(Empty):
            queue.get_nowait()
        queue.put("found")
        assert queue.get_nowait().payload == "found"


def test_purging_empties_the_queue_and_returns_the_number_of_messages(tmp_path: Path) -> None:
    with connect(tmp_path) as connection:
        queue = connection.SimpleQueue("work")
        queue.put("one")
        queue.put("two")
        assert queue.qsize() == 2
        assert queue.clear() == 2
        assert queue.qsize() == 0


@pytest.mark.parametrize(("setgid", "mode"), [(False, 0o700), (True, 0o770)])
def test_a_queue_is_shared_with_the_group_only_where_its_directory_is(
    tmp_path: Path, setgid: bool, mode: int
) -> None:
    tmp_path.chmod(0o2770 if setgid else 0o770)
    before = os.umask(0o007)
    try:
        with connect(tmp_path) as connection:
            connection.SimpleQueue("work").put("a message")
    finally:
        os.umask(before)
    assert (tmp_path / "work").stat().st_mode & 0o777 == mode


def test_what_is_not_a_message_is_set_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def message(**changes: object) -> bytes:
        properties = {"delivery_tag": "1", "delivery_info": {}, "body_encoding": "base64"}
        whole = {"body": "MQ==", "headers": {}, "properties": properties}
        return json.dumps(whole | changes).encode()

    files = {
        "empty": b"",
        "truncated": message()[:30],
        "not text": b"\xff\xfe\x00",
        "a pickle": pickle.dumps({"body": "x"}),
        "a list": b"[1, 2]",
        "nested": b"[" * 100_000,
        "huge": b" " * (MAX_MESSAGE_BYTES + 1),
        "no properties": message(properties=None),
        "no tag": message(properties={}),
        "a list as tag": message(properties={"delivery_tag": [1]}),
        "bad base64": message(body="x"),
        "a number as body": message(body=5),
        "no headers": message(headers=[1]),
    }
    with connect(tmp_path) as connection:
        queue = connection.SimpleQueue("work")
        queue.put("first")
        folder = tmp_path / "work"
        for name, content in files.items():
            (folder / name).write_bytes(content)
        (folder / "directory").mkdir()
        (folder / "link").symlink_to("/etc/hostname")
        os.mkfifo(folder / "pipe")
        queue.put("second")
        assert queue.get_nowait().payload == "first"
        assert queue.get_nowait().payload == "second"
        with pytest.raises(Empty):
            queue.get_nowait()
    planted = {*files, "directory", "link", "pipe"}
    aside = {file.name for file in folder.glob(f"{UNREADABLE_PREFIX}*")}
    assert aside == {UNREADABLE_PREFIX + name for name in planted}
    assert len([r for r in caplog.records if r.name == broker.__name__]) == len(planted)


@pytest.mark.root
def test_a_message_that_this_user_may_not_read_is_set_aside() -> None:
    with TemporaryDirectory() as home, connect(Path(home)) as connection:
        queue, folder = connection.SimpleQueue("work"), Path(home) / "work"
        queue.put("readable")
        [readable] = folder.iterdir()
        (folder / "0").write_bytes(readable.read_bytes())
        (folder / "0").chmod(0o600)
        for path, mode in ((Path(home), 0o777), (folder, 0o777), (readable, 0o644)):
            path.chmod(mode)
        with as_other_user():
            assert queue.get_nowait().payload == "readable"
            with pytest.raises(Empty):
                queue.get_nowait()
        assert (folder / f"{UNREADABLE_PREFIX}0").exists()


@dataclass
class Installation:
    """A separate database and queue, with a worker that can be killed."""

    environment: dict[str, str]
    log: Path
    worker: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.console = Console(self.environment)

    def start_worker(self) -> None:
        command = "-m celery --quiet --app sandboxportal worker --without-mingle"
        with self.log.open("ab") as out:
            self.worker = subprocess.Popen(
                [sys.executable, *command.split()],
                cwd=ROOT,
                env=self.environment,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    def stop_worker(self, number: signal.Signals) -> int:
        assert self.worker
        self.worker.send_signal(number)
        return self.worker.wait(timeout=30)

    def kill_worker(self) -> None:
        assert self.worker
        self.worker.kill()
        self.worker.wait()

    def line(self, word: str) -> str:
        """Return the first line of the worker's log that contains the word, or an empty string."""
        lines = self.log.read_text().splitlines()
        return next((line for line in lines if word in line), "")

    def plant(self, content: bytes) -> None:
        """Put a file into the queue, or an entry into its list in Redis."""
        if broker := self.environment.get("CELERY_BROKER_URL"):
            redis.Redis.from_url(broker).lpush("celery", content)
        else:
            folder = Path(self.environment["VAR_DIR"]) / "queue" / "celery"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"0-{uuid4().hex}").write_bytes(content)

    def plant_pickle_in_cache(self, pickled: bytes) -> None:
        """Store a pickle, as Django's own cache would, as the result of a task, and run it."""
        task = uuid4().hex
        if url := self.environment.get("CACHE_URL"):
            store = redis.Redis.from_url(url.replace("rediscache:", "redis:"))
            store.set(f":1:celery-task-meta-{task}", pickled)
        else:
            self.console.run(
                "from django.db import connection\n"
                "connection.cursor().execute('INSERT INTO portal_cache VALUES (%s, %s, %s)', "
                f"[':1:celery-task-meta-{task}', {b64encode(pickled).decode()!r}, "
                "'2100-01-01 00:00:00'])",
            )
        self.plant(message(ARGUMENTS, {"id": task}))

    def ask(self, times: int = 1) -> str:
        """Ask the worker for the logs of a sandbox that doesn't exist."""
        return self.console.run(
            "from sandboxes.worker.tasks import read_logs\n"
            f"for _ in range({times}):\n"
            "    print(read_logs.delay('sbx_unknown', 'api', 10).get(timeout=30))",
        )


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    var = tmp_path_factory.mktemp("var")
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "sandboxportal.settings",
        "VAR_DIR": str(var),
        "SANDBOX_RUNTIME": "memory",
    }
    with own_stores() as stores:
        created = Installation({**environment, **stores}, var / "worker.log")
        created.console.run(CREATE_TABLES)
        created.start_worker()
        yield created
        created.stop_worker(signal.SIGTERM)
        created.console.close()


@pytest.mark.slow
def test_the_worker_answers_over_the_queue(installation: Installation) -> None:
    assert "no longer exists" in installation.ask()


@pytest.mark.slow
def test_log_lines_of_a_task_name_its_sandbox(installation: Installation) -> None:
    installation.console.run(
        "from sandboxes.worker.tasks import tear_down\ntear_down.delay('sbx_unheard_of')",
    )
    line = wait_for(lambda: installation.line("raised"), "the task has failed")
    assert "sandbox=sbx_unheard_of" in line


@pytest.mark.slow
def test_the_worker_keeps_no_connection_to_the_database(installation: Installation) -> None:
    installation.ask(times=20)
    assert installation.worker
    descriptors = Path(f"/proc/{installation.worker.pid}/fd")

    def holds_none() -> bool:
        with suppress(FileNotFoundError):  # A file was closed meanwhile.
            return not any("portal.sqlite3" in one.readlink().name for one in descriptors.iterdir())
        return False

    # A thread may be at a query.
    wait_for(holds_none, "no file of the database is open", 5)


def message(
    body: object = None, headers: object = None, content_type: str = "application/json"
) -> bytes:
    """Return a message of the task `read_logs`, with these changes to its headers."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    task = {"task": "sandboxes.tasks.read_logs", "id": uuid4().hex, "lang": "py", "retries": 0}
    return json.dumps(
        {
            "body": b64encode(text).decode(),
            "content-type": content_type,
            "content-encoding": "utf-8",
            "headers": task | headers if isinstance(headers, dict) else headers,
            "properties": {
                "delivery_tag": uuid4().hex,
                "delivery_info": {"exchange": "", "routing_key": "celery"},
                "body_encoding": "base64",
            },
        }
    ).encode()


CREATE_TABLES = """
from django.core.management import call_command
for command in ("migrate", "createcachetable"):
    call_command(command, verbosity=0)
"""
ARGUMENTS = [["sbx_unknown", "api", 10], {}, {}]


@pytest.mark.slow
def test_no_message_and_no_cached_result_ends_the_worker_or_runs_code(
    installation: Installation, tmp_path: Path
) -> None:
    planted = tmp_path / "planted"

    class Payload:
        def __reduce__(self) -> tuple[object, ...]:
            return os.system, (f"touch {planted}",)

    pickled = pickle.dumps([[Payload()], {}, {}])
    foreign = [
        b"",
        b"\xff",
        pickled,
        b"null",
        b"{}",
        b64encode(pickled),
        message(pickled, {}, "application/x-python-serialize"),
        message(pickled, {}),
        message(ARGUMENTS, {"task": "os.system"}),
        message(ARGUMENTS, {"task": ["a", "list"]}),
        message(ARGUMENTS, {"task": "sandboxes.tasks.unknown"}),
        message(ARGUMENTS, {"id": None}),
        message(ARGUMENTS, {"id": {"a": "mapping"}}),
        message(ARGUMENTS, {"eta": "yesterday", "expires": [1]}),
        message(ARGUMENTS, {"timelimit": "never", "retries": "many"}),
        message(ARGUMENTS, {"argsrepr": 5, "group": [1], "root_id": {}, "stamps": 3}),
        message(ARGUMENTS, None),
        message(ARGUMENTS, {"compression": "application/x-gzip"}),
        message(None, {}),
        message([1, 2], {}),
        message("text", {}),
        message([["sbx_unknown"] * 9, {}, {}], {}),
        message([[{}, [], None], {}, {}], {}),
        message([[], [], []], {}),
        message([["sbx", "api", 10], {}, {"callbacks": [{"task": "os.system"}]}], {}),
        message({"task": "sandboxes.tasks.read_logs", "args": 5}, {}),
    ]
    for one in foreign:
        installation.plant(one)
    results = [pickled, b"not JSON", b"[]", b'"text"', b'{"status": 5}', b'{"status": "FAILURE"}']
    texts = {uuid4().hex: result.decode("latin-1") for result in results}
    installation.console.run(
        "from django.core.cache import cache\n"
        f"for task, text in {texts!r}.items(): cache.set(f'celery-task-meta-{{task}}', text, 60)",
    )
    for task in texts:
        installation.plant(message(ARGUMENTS, {"id": task}))
    installation.plant_pickle_in_cache(pickled)
    assert "no longer exists" in installation.ask()
    assert installation.worker
    assert installation.worker.poll() is None
    assert not planted.exists()


@pytest.mark.slow
def test_the_next_worker_handles_messages_sent_while_none_was_running(
    installation: Installation,
) -> None:
    installation.stop_worker(signal.SIGKILL)
    sent = installation.console.run(
        "from sandboxes.worker.tasks import read_logs\n"
        "print(read_logs.delay('sbx_unknown', 'api', 10).id)",
    )
    installation.start_worker()
    received = installation.console.run(
        "from celery.result import AsyncResult\n"
        f"print(AsyncResult({sent.strip()!r}).get(timeout=30))",
    )
    assert "no longer exists" in received


@pytest.mark.slow
def test_the_worker_exits_on_sigterm(installation: Installation) -> None:
    installation.ask()
    assert installation.stop_worker(signal.SIGTERM) == 0
    installation.start_worker()
