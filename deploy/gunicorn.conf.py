"""How gunicorn serves the web process; `docs/operations.md` lists the variables."""

from __future__ import annotations

import gc
import os
import shutil
from pathlib import Path
from typing import Any

_host, _port = os.environ.get("HOST", "127.0.0.1"), os.environ.get("PORT", "8000")
bind = f"[{_host}]:{_port}" if ":" in _host else f"{_host}:{_port}"

# Threads mostly wait, for `Prefer: wait` above all; workers share what is loaded before the fork.
worker_class = "gthread"
workers = int(os.environ.get("WEB_WORKERS", "2"))
threads = int(os.environ.get("WEB_THREADS", "24"))
preload_app = True
keepalive = 15
graceful_timeout = int(os.environ.get("WEB_GRACEFUL_SECONDS", "4"))

# Heartbeats in memory: on a busy disk they would stall. The files there have no names to guess.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
control_socket_disable = True
accesslog = "-" if os.environ.get("ACCESS_LOG") else None

if workers > 1:
    # Each worker counts for itself; Prometheus gets the sum of these files.
    _metrics = Path(os.environ.get("VAR_DIR", "var")) / "metrics"
    shutil.rmtree(_metrics, ignore_errors=True)
    _metrics.mkdir(parents=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(_metrics)


def when_ready(server: Any) -> None:  # noqa: ARG001 - gunicorn's signature
    """Before the fork, load what the first request would make each worker load for itself."""
    from django.urls import get_resolver

    get_resolver().url_patterns  # noqa: B018 - looking at them imports all views
    gc.collect()
    gc.freeze()


def child_exit(server: Any, worker: Any) -> None:  # noqa: ARG001 - gunicorn's signature
    """What a dead worker counted is kept; that it has so many requests in hand is not."""
    if workers > 1:
        from prometheus_client import multiprocess

        multiprocess.mark_process_dead(worker.pid)
