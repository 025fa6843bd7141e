"""Failures of a runtime. Messages are fit for owners to read."""

from __future__ import annotations


class RuntimeFailure(Exception):
    """A runtime could not do what it was asked; the message is fit for the owner's eyes."""


class EngineUnreachable(RuntimeFailure):
    """No answer, so nothing is known: neither that an object is there nor that it is gone."""


class EngineRefused(RuntimeFailure):
    """The engine answered, and the answer was no."""


class ImageMissing(EngineRefused):
    """An image of the blueprint is not on the engine; nothing is pulled during a launch."""


class CapacityExhausted(EngineRefused):
    """The subnets or ports that sandboxes may use are all taken."""


class NotReady(RuntimeFailure):
    """A service stopped, or did not become ready in time."""

    def __init__(self, message: str, *, service: str = "", exit_code: int | None = None) -> None:
        super().__init__(message)
        self.service = service
        self.exit_code = exit_code


class ServiceNotFound(RuntimeFailure):
    """The sandbox has no service of that name, or the service's container is gone."""
