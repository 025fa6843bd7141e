"""The embedded queue: loses nothing, doubles nothing, and needs no server."""

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
from tests.servers import own_stores
from tests.waiting import until

pytestmark = pytest.mark.store

ROOT = Path(__file__).resolve().parent.parent
PUBLISHERS, MESSAGES = 4, 300
PADDING = "x" * 100_000
"""Big enough that a message takes several writes' time to appear."""


def connect(folder: Path) -> Connection:
    return Connection(transport=Transport, transport_options={"folder": str(folder)})


def publish(folder: Path, publisher: int) -> None:
    with connect(folder) as connection:
        queue = connection.SimpleQueue("work")
        for number in range(MESSAGES):
            queue.put({"id": [publisher, number], "padding": PADDING})


def consume(folder: Path) -> list[tuple[int, int]]:
    """What a reader got until all was published and nothing was left."""
    got: list[tuple[int, int]] = []
    with connect(folder) as connection:
        queue = connection.SimpleQueue("work")
        while True:
            last_look = (folder / "published").exists()
            try:
                message = queue.get_nowait()
            except Empty:
                if last_look:
                    return got
                time.sleep(0.001)
                continue
            assert message.payload["padding"] == PADDING
            got.append(tuple(message.payload["id"]))
            message.ack()


def test_many_publishers_and_readers_lose_and_double_nothing(tmp_path: Path) -> None:
    context = get_context("spawn")
    with context.Pool(PUBLISHERS + 3) as pool:
        readers = [pool.apply_async(consume, [tmp_path]) for _ in range(3)]
        pool.starmap(publish, [(tmp_path, number) for number in range(PUBLISHERS)])
        (tmp_path / "published").touch()
        got = [one for reader in readers for one in reader.get(timeout=120)]
    assert sorted(got) == [(p, n) for p in range(PUBLISHERS) for n in range(MESSAGES)]


def test_messages_come_in_the_order_in_which_they_were_sent(tmp_path: Path) -> None:
    with connect(tmp_path) as connection:
        queue = connection.SimpleQueue("work")
        for number in range(20):
            queue.put(number)
        assert [queue.get_nowait().payload for _ in range(20)] == list(range(20))


def test_a_message_that_is_still_being_written_is_not_seen(tmp_path: Path) -> None:
    with connect(tmp_path) as connection:
        queue = connection.SimpleQueue("work")
        queue.put("whole")
        [whole] = (tmp_path / "work").iterdir()
        (tmp_path / "work" / f".{whole.name}").write_bytes(whole.read_bytes()[:10])
        assert queue.get_nowait().payload == "whole"
        with pytest.raises(Empty):
            queue.get_nowait()


def test_a_reader_whose_listing_is_stale_takes_nothing_twice(tmp_path: Path) -> None:
    with connect(tmp_path) as one, connect(tmp_path) as other:
        mine, theirs = one.SimpleQueue("work"), other.SimpleQueue("work")
        for word in ("first", "second", "third"):
            mine.put(word)
        assert mine.get_nowait().payload == "first"
        assert theirs.get_nowait().payload == "second"
        assert mine.get_nowait().payload == "third"
        with pytest.raises(Empty):
            theirs.get_nowait()


def test_a_queue_whose_directory_is_removed_goes_on(tmp_path: Path) -> None:
    with connect(tmp_path / "queue") as connection:
        queue = connection.SimpleQueue("work")
        queue.put("lost")
        subprocess.run(["rm", "-r", tmp_path / "queue"], check=True)
        with pytest.raises(Empty):
            queue.get_nowait()
        queue.put("found")
        assert queue.get_nowait().payload == "found"


def test_purging_empties_the_queue_and_says_how_much_was_in_it(tmp_path: Path) -> None:
    with connect(tmp_path) as connection:
        queue = connection.SimpleQueue("work")
        queue.put("one")
        queue.put("two")
        assert queue.qsize() == 2
        assert queue.clear() == 2
        assert queue.qsize() == 0


@dataclass
class Installation:
    """A database and a queue of their own, with workers that can be killed."""

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
        command = "-m celery --quiet --app sandboxportal worker --concurrency 4 --without-mingle"
        with self.log.open("ab") as out:
            self.worker = subprocess.Popen(
                [sys.executable, *command.split()],
                cwd=ROOT,
                env=self.environment,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    def stop_worker(self, how: signal.Signals) -> int:
        assert self.worker
        self.worker.send_signal(how)
        return self.worker.wait(timeout=30)

    def line(self, word: str) -> str:
        """The first line of the worker's log that has the word in it."""
        lines = self.log.read_text().splitlines()
        return next((line for line in lines if word in line), "")

    def ask(self, times: int = 1) -> str:
        """Have the worker look for the logs of a sandbox that is not there."""
        return self.run(
            "-c",
            "import django; django.setup(); from sandboxes.tasks import read_logs\n"
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
        made = Installation({**environment, **stores}, var / "worker.log")
        made.run("manage.py", "migrate", "--verbosity", "0")
        made.run("manage.py", "createcachetable")
        made.start_worker()
        yield made
        made.stop_worker(signal.SIGTERM)


def test_the_worker_answers_over_the_queue(installation: Installation) -> None:
    assert "no such sandbox" in installation.ask()


def test_what_a_task_logs_names_its_sandbox(installation: Installation) -> None:
    installation.run(
        "-c",
        "import django; django.setup(); from sandboxes.tasks import tear_down\n"
        "tear_down.delay('sbx_unheard_of')",
    )
    line = until(lambda: installation.line("raised"), "the task has failed")
    assert "sandbox=sbx_unheard_of" in line


def test_the_worker_keeps_no_connection_to_the_database(installation: Installation) -> None:
    installation.ask(times=20)
    assert installation.worker
    open_files = [file.readlink() for file in Path(f"/proc/{installation.worker.pid}/fd").iterdir()]
    assert [file for file in open_files if "portal.sqlite3" in file.name] == []


def test_after_a_killed_worker_the_next_one_takes_up_what_was_sent(
    installation: Installation,
) -> None:
    installation.stop_worker(signal.SIGKILL)
    sent = installation.run(
        "-c",
        "import django; django.setup(); from sandboxes.tasks import read_logs\n"
        "print(read_logs.delay('sbx_unknown', 'api', 10).id)",
    )
    installation.start_worker()
    received = installation.run(
        "-c",
        "import django; django.setup(); from celery.result import AsyncResult\n"
        f"print(AsyncResult({sent.strip()!r}).get(timeout=30))",
    )
    assert "no such sandbox" in received


def test_the_worker_ends_when_it_is_told_to(installation: Installation) -> None:
    installation.ask()
    assert installation.stop_worker(signal.SIGTERM) == 0
    installation.start_worker()
