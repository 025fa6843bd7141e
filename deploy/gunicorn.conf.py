"""Gunicorn's settings for the web process; `docs/operations.md` lists the variables."""

from __future__ import annotations

import gc
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

MEMORY_DIRECTORIES = (os.environ.get("RUNTIME_DIRECTORY", ""), "/dev/shm")  # noqa: S108 - a private directory is created in it
"""Directories in memory: that of the systemd unit, and Linux's for everyone."""
TEMPLATES = Path(__file__).resolve().parents[1] / "templates"
METRICS_PREFIX = "sandbox-portal-metrics-"
METRICS_BYTES = 32 * 1024 * 1024
"""Free space that the metrics files of all workers need at most."""


def memory_directory() -> Path | None:
    """Return a writable directory in memory with enough free space."""
    for name in MEMORY_DIRECTORIES:
        if not name or not os.access(name, os.W_OK | os.X_OK):
            continue
        space = os.statvfs(name)
        if space.f_bavail * space.f_frsize >= METRICS_BYTES:
            return Path(name)
    return None


def metrics_directory(memory: Path) -> Path:
    """Return a new directory for the metrics files; remove those of processes that were killed."""
    for left in memory.glob(f"{METRICS_PREFIX}*"):
        pid = left.name.removeprefix(METRICS_PREFIX).partition("-")[0]
        if left.lstat().st_uid == os.geteuid() and not Path("/proc", pid).exists():
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{METRICS_PREFIX}{os.getpid()}-", dir=memory))


_host, _port = os.environ.get("HOST", "127.0.0.1"), os.environ.get("PORT", "8000")
bind = [f"[{_host}]:{_port}" if ":" in _host else f"{_host}:{_port}"]
if _monitoring := os.environ.get("MONITORING_PORT", ""):
    # Health checks and metrics for this machine; see sandboxportal/monitoring.py.
    bind.append(f"127.0.0.1:{_monitoring}")

# Most threads wait, mainly for `Prefer: wait`. Workers share the modules loaded before the fork.
worker_class = "gthread"
# Shorter than in the worker and the reaper, whose statements take longer.
os.environ.setdefault("DATABASE_TIMEOUT_SECONDS", "10")
os.environ.setdefault("DATABASE_CONN_MAX_AGE", "60")
workers = int(os.environ.get("WEB_WORKERS", "2"))
threads = int(os.environ.get("WEB_THREADS", "24"))
preload_app = True
keepalive = 15
graceful_timeout = int(os.environ.get("WEB_GRACEFUL_SECONDS", "4"))

_memory = memory_directory()
# Heartbeat files on a busy disk would block workers. Their names can't be guessed.
worker_tmp_dir = str(_memory) if _memory else None
control_socket_disable = True
accesslog = "-" if os.environ.get("ACCESS_LOG") else None
if os.environ.get("LOG_FORMAT") == "json":
    from sandboxportal.logs import JSONAccessLogger, gunicorn_logging

    logger_class = JSONAccessLogger
    logconfig_dict = gunicorn_logging(os.environ.get("LOG_LEVEL", "INFO"))

# Each worker writes its own metrics files; Prometheus gets their sum. The files are mapped into
# memory, so on a disk, a worker would be killed when the disk is full.
_metrics: Path | None = None
if workers > 1 and "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
    if _memory:
        _metrics = metrics_directory(_memory)
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(_metrics)
    else:
        print(
            "No directory in memory has 32 MB of free space (/dev/shm), so /metrics returns the "
            "request metrics of one worker process only.",
            file=sys.stderr,
        )


def when_ready(server: Any) -> None:  # noqa: ARG001 - gunicorn's signature
    """Load before the fork what each worker would otherwise load on its first request."""
    from django.template.loader import get_template
    from django.urls import get_resolver

    get_resolver().url_patterns  # noqa: B018 - imports all views
    for template in sorted(TEMPLATES.rglob("*.html")):
        get_template(str(template.relative_to(TEMPLATES)))
    gc.collect()
    gc.freeze()


def child_exit(server: Any, worker: Any) -> None:  # noqa: ARG001 - gunicorn's signature
    """Keep the counters of a dead worker, but not its gauge of requests in progress."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        from prometheus_client import multiprocess

        multiprocess.mark_process_dead(worker.pid)


def on_exit(server: Any) -> None:  # noqa: ARG001 - gunicorn's signature
    if _metrics:
        shutil.rmtree(_metrics, ignore_errors=True)
