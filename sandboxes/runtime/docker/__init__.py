"""Sandboxes as Docker containers. Only this package imports `docker`."""

from sandboxes.runtime.docker.runtime import DockerRuntime

__all__ = ["DockerRuntime"]
