"""The interface to the engines that run sandboxes: create, observe, destroy.

A runtime knows nothing of users, database rows or deadlines. It takes a frozen `SandboxSpec` and
returns the facts that it observed. Three methods are essential (as in JupyterHub's `Spawner`:
start, stop, poll); the others inspect one sandbox. Every runtime guarantees:

* Every method can be repeated, even after the process was killed at any point in it.
* Objects are found by their labels; the runtime stores no list of them.
* `EngineUnreachable` means that the engine didn't respond, never that an object doesn't exist.
* Every call to the outside has a time limit.
"""

from sandboxes.runtime.connection import EngineConnection
from sandboxes.runtime.contract import (
    Capabilities,
    ProbeResult,
    Published,
    Repair,
    Report,
    Runtime,
    SandboxFacts,
    Saved,
    ServiceFacts,
    ServiceState,
    Usage,
)
from sandboxes.runtime.engine_calls import DEFAULT_ENGINE, call_engines
from sandboxes.runtime.errors import (
    CapacityExhausted,
    EngineDenied,
    EngineRefused,
    EngineUnreachable,
    ImageMissing,
    NotReady,
    PortTaken,
    RuntimeFailure,
    ServiceNotFound,
)
from sandboxes.runtime.image_recipes import Bind, ImageBuild, ImageRecipe, image_name
from sandboxes.runtime.line_count import LineCount
from sandboxes.runtime.network_bytes import NetworkBytes
from sandboxes.runtime.registry import RUNTIMES, forget_runtimes, get_runtime, is_isolated
from sandboxes.runtime.specs import (
    CommandCheck,
    File,
    HealthCheck,
    HealthyCheck,
    HostPorts,
    HttpCheck,
    ProcessSpec,
    ReadyCheck,
    SandboxSpec,
    ServiceSpec,
    StartCondition,
    TcpCheck,
    needs_containers,
    without_rekey,
)

__all__ = [
    "DEFAULT_ENGINE",
    "RUNTIMES",
    "Bind",
    "Capabilities",
    "CapacityExhausted",
    "CommandCheck",
    "EngineConnection",
    "EngineDenied",
    "EngineRefused",
    "EngineUnreachable",
    "File",
    "HealthCheck",
    "HealthyCheck",
    "HostPorts",
    "HttpCheck",
    "ImageBuild",
    "ImageMissing",
    "ImageRecipe",
    "LineCount",
    "NetworkBytes",
    "NotReady",
    "PortTaken",
    "ProbeResult",
    "ProcessSpec",
    "Published",
    "ReadyCheck",
    "Repair",
    "Report",
    "Runtime",
    "RuntimeFailure",
    "SandboxFacts",
    "SandboxSpec",
    "Saved",
    "ServiceFacts",
    "ServiceNotFound",
    "ServiceSpec",
    "ServiceState",
    "StartCondition",
    "TcpCheck",
    "Usage",
    "call_engines",
    "forget_runtimes",
    "get_runtime",
    "image_name",
    "is_isolated",
    "needs_containers",
    "without_rekey",
]
