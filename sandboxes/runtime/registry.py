"""The runtime selected by `SANDBOX_RUNTIME`."""

from __future__ import annotations

from functools import cache

from sandboxes.runtime.contract import Runtime

RUNTIMES = {
    "docker": "sandboxes.runtime.docker.DockerRuntime",
    "process": "sandboxes.runtime.process.runtime.ProcessRuntime",
    "memory": "sandboxes.runtime.memory.MemoryRuntime",
}


@cache
def get_runtime() -> Runtime:
    """Return the runtime that `SANDBOX_RUNTIME` names; one per process."""
    # The supervisor of process sandboxes imports this package; without Django it stays small.
    from django.conf import settings
    from django.utils.module_loading import import_string

    runtime: Runtime = import_string(RUNTIMES[settings.SANDBOX_RUNTIME]).from_settings()
    return runtime


def is_isolated() -> bool:
    """Return whether sandboxes are isolated from each other and from the machine."""
    from django.conf import settings

    return bool(settings.SANDBOX_RUNTIME != "process")
