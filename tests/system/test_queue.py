"""The embedded queue delivers each message exactly once, without a server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from queue import Empty

import pytest
from kombu import Connection

from sandboxportal.celery_filesystem_broker import Transport
from tests.harness.servers import own_stores
from tests.helpers.wait import wait_for

pytestmark = pytest.mark.store

ROOT = Path(__file__).resolve().parents[2]
PUBLISHERS, MESSAGES = 4, 300
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


def test_parallel_publishers_and_readers_lose_and_duplicate_no_message(tmp_path: Path) -> None:
    context = get_context("spawn")
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


@dataclass
class Installation:
    """A separate database and queue, with a worker that can be killed."""

    environment: dict[str, str]
    log: Path
    worker: subprocess.Popen[bytes] | None = None

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

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

    def ask(self, times: int = 1) -> str:
        """Ask the worker for the logs of a sandbox that doesn't exist."""
        return self.run(
            "-c",
            "import django; django.setup(); from sandboxes.worker.tasks import read_logs\n"
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
        created.run("manage.py", "migrate", "--verbosity", "0")
        created.run("manage.py", "createcachetable")
        created.start_worker()
        yield created
        created.stop_worker(signal.SIGTERM)


def test_the_worker_answers_over_the_queue(installation: Installation) -> None:
    assert "no longer exists" in installation.ask()


def test_log_lines_of_a_task_name_its_sandbox(installation: Installation) -> None:
    installation.run(
        "-c",
        "import django; django.setup(); from sandboxes.worker.tasks import tear_down\n"
        "tear_down.delay('sbx_unheard_of')",
    )
    line = wait_for(lambda: installation.line("raised"), "the task has failed")
    assert "sandbox=sbx_unheard_of" in line


def test_the_worker_keeps_no_connection_to_the_database(installation: Installation) -> None:
    installation.ask(times=20)
    assert installation.worker
    open_files = [file.readlink() for file in Path(f"/proc/{installation.worker.pid}/fd").iterdir()]
    assert [file for file in open_files if "portal.sqlite3" in file.name] == []


def test_the_next_worker_handles_messages_sent_while_none_was_running(
    installation: Installation,
) -> None:
    installation.stop_worker(signal.SIGKILL)
    sent = installation.run(
        "-c",
        "import django; django.setup(); from sandboxes.worker.tasks import read_logs\n"
        "print(read_logs.delay('sbx_unknown', 'api', 10).id)",
    )
    installation.start_worker()
    received = installation.run(
        "-c",
        "import django; django.setup(); from celery.result import AsyncResult\n"
        f"print(AsyncResult({sent.strip()!r}).get(timeout=30))",
    )
    assert "no longer exists" in received


def test_the_worker_exits_on_sigterm(installation: Installation) -> None:
    installation.ask()
    assert installation.stop_worker(signal.SIGTERM) == 0
    installation.start_worker()
