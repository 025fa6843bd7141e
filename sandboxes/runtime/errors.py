"""Errors of a runtime. Owners see their messages."""

from __future__ import annotations


class RuntimeFailure(Exception):
    """A runtime couldn't do what was requested; the message is shown to the owner."""


class EngineUnreachable(RuntimeFailure):
    """The engine didn't respond, so it is unknown whether an object exists."""


class EngineDenied(EngineUnreachable):
    """The user of the process may not use the engine's socket."""


class EngineRefused(RuntimeFailure):
    """The engine rejected a request."""


class ImageMissing(EngineRefused):
    """An image of the blueprint isn't on the engine; launches don't pull images."""


class CapacityExhausted(EngineRefused):
    """All subnets or ports for sandboxes are taken."""


class PortTaken(EngineRefused):
    """Another program uses a host port that the specification reserves for a service."""

    def __init__(self, service: str) -> None:
        super().__init__(f"Another program uses the port of the service {service}.")
        self.service = service


class NotReady(RuntimeFailure):
    """A service stopped, or didn't become ready in time."""

    def __init__(self, message: str, *, service: str = "", exit_code: int | None = None) -> None:
        super().__init__(message)
        self.service = service
        self.exit_code = exit_code


class ServiceNotFound(RuntimeFailure):
    """The sandbox has no service of that name, or the service's container is gone."""
