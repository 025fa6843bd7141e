"""The port to what runs sandboxes: create, observe, destroy.

A runtime knows nothing of users, rows or deadlines. It takes a frozen `SandboxSpec` and gives back
what it observed. Three verbs carry it (the idea is JupyterHub's `Spawner`: start, stop, poll); the
rest looks inside one sandbox. What holds for every runtime:

* every verb may be repeated, also after the process was killed at any point in it;
* an object is found by its labels, never by remembering it;
* "cannot reach" is `EngineUnreachable` and is never told as "is not there";
* every outside call has a time limit.
"""

from sandboxes.runtime.contract import (
    Capabilities,
    Published,
    Report,
    Runtime,
    SandboxFacts,
    ServiceFacts,
    ServiceState,
    Usage,
)
from sandboxes.runtime.errors import (
    CapacityExhausted,
    EngineRefused,
    EngineUnreachable,
    ImageMissing,
    NotReady,
    RuntimeFailure,
    ServiceNotFound,
)
from sandboxes.runtime.line_count import LineCount
from sandboxes.runtime.registry import RUNTIMES, get_runtime, is_isolated
from sandboxes.runtime.specs import ProcessSpec, ReadyCheck, SandboxSpec, ServiceSpec

__all__ = [
    "RUNTIMES",
    "Capabilities",
    "CapacityExhausted",
    "EngineRefused",
    "EngineUnreachable",
    "ImageMissing",
    "LineCount",
    "NotReady",
    "ProcessSpec",
    "Published",
    "ReadyCheck",
    "Report",
    "Runtime",
    "RuntimeFailure",
    "SandboxFacts",
    "SandboxSpec",
    "ServiceFacts",
    "ServiceNotFound",
    "ServiceSpec",
    "ServiceState",
    "Usage",
    "get_runtime",
    "is_isolated",
]
