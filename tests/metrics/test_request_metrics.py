"""Damaged metrics files don't prevent a scrape."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from sandboxes.metrics.request_metrics import RequestMetricsCollector

WRITE = """
from prometheus_client import Counter, Gauge, Histogram
Counter("answers", "Answers.", ["status"]).labels("200").inc(3)
Gauge("open", "Open.", multiprocess_mode="livesum").set(2)
Histogram("seconds", "Seconds.").observe(0.2)
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the metrics files of a process that has ended."""
    directory = tmp_path_factory.mktemp("metrics")
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(directory)}
    subprocess.run([sys.executable, "-c", WRITE], env=environment, check=True)
    assert list(directory.glob("*.db"))
    return directory


@pytest.fixture
def directory(written: Path, tmp_path: Path) -> Path:
    """Return a copy of the metrics files."""
    return shutil.copytree(written, tmp_path / "metrics")


def scrape(directory: Path) -> str:
    registry = CollectorRegistry()
    registry.register(RequestMetricsCollector(directory))
    return generate_latest(registry).decode()


def entry(key: bytes, length: int | None = None) -> bytes:
    padding = b" " * (8 - (len(key) + 4) % 8)
    return struct.pack("i", len(key) if length is None else length) + key + padding + bytes(16)


def of(entries: bytes, used: int | None = None) -> bytes:
    return struct.pack("ii", 8 + len(entries) if used is None else used, 0) + entries


KEY = b'["m", "m", {}, "M."]'
DAMAGED = {
    "empty": b"",
    "short": b"\x01",
    "random": bytes(range(256)) * 256,
    "text": b"not a metrics file, but a text",
    "used beyond the end": of(entry(KEY), used=10**6),
    "negative used": of(entry(KEY), used=-1),
    "negative length, which reads in circles": of(entry(KEY, length=-20)),
    "zero length": of(entry(KEY, length=0)),
    "length beyond the end": of(entry(KEY, length=10**6)),
    "key isn't JSON": of(entry(b"{{{{")),
    "key isn't text": of(entry(b"\xff\xfe")),
    "key of another shape": of(entry(b'["m", 5]')),
    "labels aren't a mapping": of(entry(b'["m", "m", [1], "M."]')),
    "name of a metric isn't valid": of(entry(b'["m m\\n", "m", {}, "M."]')),
}


@pytest.mark.parametrize("kind", ["counter", "histogram", "gauge_livesum"])
@pytest.mark.parametrize("content", DAMAGED.values(), ids=list(DAMAGED))
def test_a_damaged_file_is_skipped_and_deleted(directory: Path, content: bytes, kind: str) -> None:
    before = scrape(directory)
    assert 'answers_total{status="200"} 3.0' in before
    damaged = directory / f"{kind}_4194305.db"  # More than the largest process id.
    damaged.write_bytes(content)
    assert scrape(directory) == before
    assert not damaged.exists()


def test_the_damaged_file_of_a_running_process_is_kept(directory: Path) -> None:
    before = scrape(directory)
    damaged = directory / f"counter_{os.getpid()}.db"
    damaged.touch()
    assert scrape(directory) == before
    assert damaged.exists()


def test_directories_and_other_files_are_skipped(directory: Path) -> None:
    before = scrape(directory)
    (directory / "counter_1.db").mkdir()
    (directory / "surprise.db").write_bytes(b"?")
    (directory / "link_5.db").symlink_to("/nowhere")
    assert scrape(directory) == before


def test_a_file_that_has_just_been_created_is_complete(directory: Path) -> None:
    before = scrape(directory)
    new = directory / "counter_4194305.db"
    new.write_bytes(bytes(1 << 16))
    assert scrape(directory) == before
    assert new.exists()


def test_a_missing_directory_has_no_metrics(tmp_path: Path) -> None:
    assert scrape(tmp_path / "missing") == ""
