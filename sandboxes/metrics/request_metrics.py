"""The metrics of requests that each process of the web server writes to files.

A file may be damaged, for example if the disk was full when it was created, or foreign. The
scrape skips it, and deletes it once the process that wrote it has ended.
"""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import structlog
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

log = structlog.get_logger(__name__)

FILE_NAME = re.compile(r"(?:counter|histogram|summary|gauge_[a-z]+)_(\d+)\.db")
METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
MAX_FILE_BYTES = 64 * 1024 * 1024
HEADER_BYTES = 8
INTEGER = struct.Struct("i")


def request_registry() -> CollectorRegistry:
    """Return the metrics of all web processes, or of this one if it is the only one."""
    directory = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if not directory:
        return REGISTRY
    registry = CollectorRegistry()
    registry.register(RequestMetricsCollector(Path(directory)))
    return registry


class RequestMetricsCollector(Collector):
    """Collector of the files in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def collect(self) -> Iterable[Metric]:
        return _merge(list(self._readable_files()))

    def _readable_files(self) -> Iterator[str]:
        for file in sorted(self.directory.glob("*.db")):
            try:
                require_readable(file)
                _merge([str(file)])
            except FileNotFoundError:
                continue  # Of a process that has just ended.
            except Exception as error:  # noqa: BLE001 - of any content
                log.warning("metrics_file_unreadable", file=file.name, error=type(error).__name__)
                _delete_unless_in_use(file)
            else:
                yield str(file)


def _merge(files: list[str]) -> Iterable[Metric]:
    merged: Iterable[Metric] = MultiProcessCollector.merge(files)
    return merged


def require_readable(file: Path) -> None:
    """Raise an exception unless the file has the format of `prometheus_client`.

    Its own reader doesn't end for some contents: they make it go backwards.
    """
    if not FILE_NAME.fullmatch(file.name) or not file.is_file():
        raise ValueError("not a metrics file")
    if file.stat().st_size > MAX_FILE_BYTES:
        raise ValueError("too large")
    data = file.read_bytes()
    (used,) = INTEGER.unpack_from(data)
    if not 0 <= used <= len(data):
        raise ValueError("truncated")
    position = HEADER_BYTES
    while position < used:
        (length,) = INTEGER.unpack_from(data, position)
        start, end = position + INTEGER.size, position + INTEGER.size + length
        if length <= 0 or end > used:
            raise ValueError("damaged")
        metric, name, labels, _help = json.loads(data[start:end])
        if not all(map(METRIC_NAME.fullmatch, (metric, name, *labels.keys()))):
            raise ValueError("invalid name")
        # The key is padded so that the value and its time, 8 bytes each, are aligned.
        position = end + 8 - (length + INTEGER.size) % 8 + 16


def _delete_unless_in_use(file: Path) -> None:
    """Delete the file if no process with the id in its name exists."""
    name = FILE_NAME.fullmatch(file.name)
    if name and Path("/proc", name[1]).exists():
        return
    with suppress(OSError):
        file.unlink()
