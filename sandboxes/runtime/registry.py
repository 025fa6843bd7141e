"""The runtimes of the engines, of the kind that `SANDBOX_RUNTIME` names."""

from __future__ import annotations

from functools import cache

from sandboxes.runtime.connection import EngineConnection
from sandboxes.runtime.contract import Runtime

RUNTIMES = {
    "docker": "sandboxes.runtime.docker.DockerRuntime",
    "process": "sandboxes.runtime.process.runtime.ProcessRuntime",
    "memory": "sandboxes.runtime.memory.MemoryRuntime",
}


def get_runtime(engine: EngineConnection | None = None) -> Runtime:
    """Return the runtime of an engine, by default that of the environment; one per process."""
    return _runtime(engine)


@cache
def _runtime(engine: EngineConnection | None) -> Runtime:
    # The supervisor of process sandboxes imports this package; without Django it stays small.
    from django.conf import settings
    from django.utils.module_loading import import_string

    kind = import_string(RUNTIMES[settings.SANDBOX_RUNTIME])
    runtime: Runtime = kind.from_settings(engine=engine) if engine else kind.from_settings()
    return runtime


def forget_runtimes() -> None:
    """Create runtimes again when they are needed next, after a change of the settings."""
    _runtime.cache_clear()


def is_isolated() -> bool:
    """Return whether sandboxes are isolated from each other and from the machine."""
    from django.conf import settings

    return bool(settings.SANDBOX_RUNTIME != "process")
