"""Private, disposable copies of an API for development and tests: the client of a sandbox portal.

    from sandbox_client import Sandbox

    with Sandbox.launch() as sandbox:
        print(sandbox.endpoints, sandbox.credentials())

`AsyncSandbox` does the same with `async with`.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

try:
    __version__ = version("sandbox-client")
except PackageNotFoundError:  # Run from a checkout.
    __version__ = "0"

if TYPE_CHECKING:
    from sandbox_client.asynchronous import AsyncClient as AsyncClient
    from sandbox_client.asynchronous import AsyncSandbox as AsyncSandbox
    from sandbox_client.event_stream import PortalEvent as PortalEvent
    from sandbox_client.synchronous import Client as Client
    from sandbox_client.synchronous import Sandbox as Sandbox

__all__ = ["AsyncClient", "AsyncSandbox", "Client", "PortalEvent", "Sandbox", "__version__"]

_MODULES = {
    "AsyncClient": "asynchronous",
    "AsyncSandbox": "asynchronous",
    "Client": "synchronous",
    "PortalEvent": "event_stream",
    "Sandbox": "synchronous",
}


def __getattr__(name: str) -> Any:
    # The HTTP library takes longer to import than `sandbox --help` may.
    if name in _MODULES:
        from importlib import import_module

        return getattr(import_module(f"sandbox_client.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
