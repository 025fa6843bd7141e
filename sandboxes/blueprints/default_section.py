"""The section of a Compose file that has none: its published ports become endpoints."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from sandboxes.blueprints.blueprint import url_variable_name
from sandboxes.blueprints.compose.stack import Stack
from sandboxes.blueprints.sandbox_section import Endpoint, SandboxSection

SCHEMES = {
    443: "https",
    1883: "mqtt",
    3306: "mysql",
    4222: "nats",
    5432: "postgresql",
    5672: "amqp",
    6379: "redis",
    8443: "https",
    9042: "cassandra",
    9092: "kafka",
    27017: "mongodb",
}
"""By the port inside the container, where that is registered or customary; `http` otherwise."""
MAX_NAME_LENGTH = 20
"""Leaves room for a port and a number."""


def default_section(stack: Stack) -> SandboxSection:
    """Return a section with an endpoint for each published port, named after its service.

    A service with several ports gets the port appended to the names of all but the first.
    """
    endpoints: dict[str, Endpoint] = {}
    for name, service in stack.services.items():
        if name in stack.one_shot:
            continue
        for port in dict.fromkeys(service.published):
            url = f"{SCHEMES.get(port, 'http')}://{{host}}:{{port}}"
            taken = {url_variable_name(one) for one in endpoints}
            key = next(key for key in _names(name, port) if url_variable_name(key) not in taken)
            endpoints[key] = Endpoint(service=name, port=port, url=url)
    return SandboxSection(endpoints=endpoints)


def _names(service: str, port: int) -> Iterator[str]:
    """Yield names for an endpoint, the best one first. Services have longer and other names."""
    name = re.sub(r"[^A-Za-z0-9_-]", "-", service)[:MAX_NAME_LENGTH]
    name = name if name[0].isalpha() else f"service-{name}"
    yield name
    yield f"{name}-{port}"
    yield from (f"{name}-{port}-{number}" for number in itertools.count(2))
