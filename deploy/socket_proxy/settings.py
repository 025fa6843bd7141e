"""The operator's settings, from the same environment variables as the portal's."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import TypeVar

Value = TypeVar("Value")

INSTANCE = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}"
CLIENT = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"
API_VERSION = r"1\.(4[1-9]|[5-9]\d)"
DEFAULT_SUBNETS = IPv4Network("10.213.0.0/16")
MAX_PORT = 65_535
DEFAULT_PORTS = range(16_384, 32_768)
DEFAULT_IMAGES = "sandboxportal*/* debian:bookworm-slim"


class InvalidSetting(Exception):
    """An environment variable has a value that can't be used."""


@dataclass(frozen=True)
class Settings:
    """What the containers and networks of one instance are held to."""

    instance: str
    subnets: IPv4Network = DEFAULT_SUBNETS
    bind_address: str = "127.0.0.1"
    container_runtime: str = ""
    memory_mb: int = 512
    cpus: float = 1.0
    disk_mb: int = 2048
    max_pids: int = 1024
    max_open_files: int = 65536
    ports: range = DEFAULT_PORTS
    images: tuple[str, ...] = tuple(DEFAULT_IMAGES.split())
    """Names of images that containers may use, besides those that the portal has built."""
    root_services: bool = False
    """Whether containers may run as root, with a few capabilities."""
    api_version: str = "1.41"
    engine: str = "/var/run/docker.sock"
    data_root: str = ""
    """Directory on the file system of the engine's data root; by default where the engine says."""
    client: str = "sandbox-portal"
    """Common name of the client's certificate, for connections over TLS."""

    @property
    def operator(self) -> str:
        """Common name of the certificate of operators' commands."""
        return f"{self.client}-operator"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Return the settings. Raises InvalidSetting."""

        def read(name: str, parse: Callable[[str], Value], default: Value) -> Value:
            given = environment.get(name, "").strip()
            if not given:
                return default
            try:
                return parse(given)
            except ValueError as error:
                raise InvalidSetting(f"{name} is invalid: {error}") from None

        instance = read("SANDBOX_INSTANCE", _matching(INSTANCE), "")
        if not instance:
            raise InvalidSetting("SANDBOX_INSTANCE is missing: set it to the portal's value.")
        return cls(
            instance,
            read("SANDBOX_SUBNETS", IPv4Network, cls.subnets),
            read("SANDBOX_BIND_ADDRESS", _address, cls.bind_address),
            read("SANDBOX_CONTAINER_RUNTIME", _matching(r"[\w.-]+"), ""),
            max(
                read("SANDBOX_MEMORY_MB", _positive, cls.memory_mb),
                read("SANDBOX_MEMORY_MAX_MB", int, 0),
            ),
            max(read("SANDBOX_CPUS", float, cls.cpus), read("SANDBOX_CPUS_MAX", float, 0.0)),
            max(
                read("SANDBOX_DISK_MB", _positive, cls.disk_mb),
                read("SANDBOX_DISK_MAX_MB", int, 0),
            ),
            read("SOCKET_PROXY_MAX_PIDS", _positive, cls.max_pids),
            read("SOCKET_PROXY_MAX_OPEN_FILES", _positive, cls.max_open_files),
            read("SANDBOX_PORTS", _ports, cls.ports),
            read("SOCKET_PROXY_IMAGES", _words, cls.images),
            read("SANDBOX_ROOT_SERVICES", _flag, cls.root_services),
            read("DOCKER_API_VERSION", _matching(API_VERSION), cls.api_version),
            read("ENGINE_SOCKET", str, cls.engine),
            read("SOCKET_PROXY_DATA_ROOT", str, cls.data_root),
            read("SOCKET_PROXY_CLIENT", _matching(CLIENT), cls.client),
        )


def _ports(given: str) -> range:
    first, dash, last = given.partition("-")
    ports = range(int(first), int(last if dash else first) + 1)
    if not ports or ports.start < 1 or ports.stop > MAX_PORT + 1:
        raise ValueError("use the form FIRST-LAST, such as 20000-20999")
    return ports


def _matching(pattern: str) -> Callable[[str], str]:
    def parse(given: str) -> str:
        if not re.fullmatch(pattern, given, re.ASCII):
            raise ValueError(f"it must match {pattern}")
        return given

    return parse


def _address(given: str) -> str:
    return str(ipaddress.ip_address(given))


def _positive(given: str) -> int:
    if int(given) <= 0:
        raise ValueError("it must be above 0")
    return int(given)


def _flag(given: str) -> bool:
    known = dict.fromkeys(("true", "1", "yes", "on"), True)
    known |= dict.fromkeys(("false", "0", "no", "off"), False)
    if given.lower() not in known:
        raise ValueError("it must be true or false")
    return known[given.lower()]


def _words(given: str) -> tuple[str, ...]:
    return tuple(given.split())
