"""Gunicorn's settings for the web process; `docs/operations.md` lists the variables."""

from __future__ import annotations

import gc
import os
import shutil
from pathlib import Path
from typing import Any

_host, _port = os.environ.get("HOST", "127.0.0.1"), os.environ.get("PORT", "8000")
bind = f"[{_host}]:{_port}" if ":" in _host else f"{_host}:{_port}"

# Most threads wait, mainly for `Prefer: wait`. Workers share the modules loaded before the fork.
worker_class = "gthread"
workers = int(os.environ.get("WEB_WORKERS", "2"))
threads = int(os.environ.get("WEB_THREADS", "24"))
preload_app = True
keepalive = 15
graceful_timeout = int(os.environ.get("WEB_GRACEFUL_SECONDS", "4"))

# Heartbeat files on a busy disk would block workers. Their names can't be guessed.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
control_socket_disable = True
accesslog = "-" if os.environ.get("ACCESS_LOG") else None

if workers > 1:
    # Each worker writes its own metrics files; Prometheus gets their sum.
    _metrics = Path(os.environ.get("VAR_DIR", "var")) / "metrics"
    shutil.rmtree(_metrics, ignore_errors=True)
    _metrics.mkdir(parents=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(_metrics)


def when_ready(server: Any) -> None:  # noqa: ARG001 - gunicorn's signature
    """Load before the fork what each worker would otherwise load on its first request."""
    from django.urls import get_resolver

    get_resolver().url_patterns  # noqa: B018 - imports all views
    gc.collect()
    gc.freeze()


def child_exit(server: Any, worker: Any) -> None:  # noqa: ARG001 - gunicorn's signature
    """Keep the counters of a dead worker, but not its gauge of requests in progress."""
    if workers > 1:
        from prometheus_client import multiprocess

        multiprocess.mark_process_dead(worker.pid)
