"""A blueprint: what a sandbox is made of, and how developers are told of it."""

from __future__ import annotations

import secrets
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sandboxes.blueprints.interpolation import SANDBOX_ID, interpolate
from sandboxes.runtime import (
    LineCount,
    ProcessSpec,
    ReadyCheck,
    SandboxFacts,
    SandboxSpec,
    ServiceSpec,
)

ALPHABET = string.ascii_letters + string.digits

Addresses = Mapping[str, str]
"""Where the ports of a sandbox are published: `"api:8080"` to `"127.0.0.1:49153"`."""


@dataclass(frozen=True)
class Secret:
    """A random value that each sandbox has for itself: a prefix and `length` letters or digits."""

    prefix: str
    length: int

    def generate(self) -> str:
        return self.prefix + "".join(secrets.choice(ALPHABET) for _ in range(self.length))


@dataclass(frozen=True)
class Endpoint:
    """A port that developers are told of, as a URL with `{host}` and `{port}` in it.

    An API may say below which path its OpenAPI document is, and which credential opens it.
    """

    service: str
    port: int
    url: str
    openapi: str = ""
    bearer: str = ""

    @property
    def address_key(self) -> str:
        """What it is called among a sandbox's addresses."""
        return f"{self.service}:{self.port}"


@dataclass(frozen=True)
class Credential:
    """What a developer signs in with; one that names an endpoint has its address in it."""

    value: str
    endpoint: str


@dataclass(frozen=True)
class Reset:
    """The command that puts the seed data back; another one where services are processes."""

    service: str
    command: Sequence[str]
    process: Sequence[str] = ()

    def command_for(self, runtime: str) -> Sequence[str]:
        """The command, as the runtime of that name has to be told it."""
        return self.process if runtime == "process" else self.command


@dataclass(frozen=True)
class BuildSpec:
    """What an image is built from."""

    context: Path
    dockerfile: Path


@dataclass(frozen=True)
class Preparation:
    """What a service that runs as a process is prepared from, in place of an image."""

    files: Sequence[Path]
    requirements: Path | None
    command: Sequence[str]


@dataclass(frozen=True)
class Blueprint:
    """A valid blueprint. Its services still have their variables in them; `spec` fills them in."""

    name: str
    title: str
    description: str
    path: Path
    services: Sequence[ServiceSpec]
    endpoints: Mapping[str, Endpoint]
    secrets: Mapping[str, Secret]
    credentials: Mapping[str, Credential]
    ready: Sequence[ReadyCheck]
    reset: Reset
    requests: LineCount | None
    """How they are counted, from none on; None: they are not."""
    seed: Mapping[str, int]
    """How many objects of each kind a fresh sandbox holds."""
    egress: bool
    builds: Mapping[str, BuildSpec]
    preparations: Mapping[str, Preparation]
    """By image, for services that can run as processes."""
    version: str = ""
    """Changes when the file that describes it does."""

    def supports_runtime(self, runtime: str) -> bool:
        """Whether a runtime of that name can launch it."""
        return runtime != "process" or all(service.process for service in self.services)

    @property
    def openapi_endpoint(self) -> str:
        """The name of the endpoint whose API describes itself; empty if none does."""
        return next((name for name, one in self.endpoints.items() if one.openapi), "")

    @property
    def images(self) -> Sequence[str]:
        return sorted({service.image for service in self.services})

    @property
    def memory_mb(self) -> int:
        """Of all its services together, in MB."""
        return sum(service.memory_mb for service in self.services)

    @property
    def cpus(self) -> float:
        """Of all its services together."""
        return round(sum(service.cpus for service in self.services), 3)

    def new_secrets(self) -> dict[str, str]:
        """Fresh values for every secret that it declares; each has 130 random bits or more."""
        return {name: secret.generate() for name, secret in self.secrets.items()}

    def spec(self, sandbox_id: str, variables: Mapping[str, str], disk_mb: int) -> SandboxSpec:
        """What the runtime makes of it. More variables than needed are no error.

        Raises KeyError with the name of a variable that is missing.
        """
        values = {**variables, SANDBOX_ID: sandbox_id}
        return SandboxSpec(
            id=sandbox_id,
            blueprint=self.name,
            services=[interpolate_service(service, values) for service in self.services],
            ready=self.ready,
            disk_mb=disk_mb,
            egress=self.egress,
        )

    def endpoint_urls(self, addresses: Addresses) -> dict[str, str]:
        """The URL of every endpoint that has an address now."""
        return {
            name: substitute_address(endpoint.url, addresses[endpoint.address_key])
            for name, endpoint in self.endpoints.items()
            if endpoint.address_key in addresses
        }

    def fill_credentials(self, secrets: Mapping[str, str], addresses: Addresses) -> dict[str, str]:
        """Every credential, with its secrets and its endpoint's address filled in.

        One whose endpoint has no address now is left out. Raises KeyError with the name of a
        secret that is missing.
        """
        found = {}
        for name, credential in self.credentials.items():
            text = credential.value
            if credential.endpoint:
                address = addresses.get(self.endpoints[credential.endpoint].address_key)
                if address is None:
                    continue
                text = substitute_address(text, address)
            found[name] = interpolate(text, secrets)
        return found


def interpolate_service(service: ServiceSpec, values: Mapping[str, str]) -> ServiceSpec:
    """The service with its variables filled in. Raises KeyError with the name of a missing one."""
    return replace(
        service,
        environment={name: interpolate(text, values) for name, text in service.environment.items()},
        command=[interpolate(word, values) for word in service.command],
        entrypoint=[interpolate(word, values) for word in service.entrypoint],
        process=service.process and interpolate_process(service.process, values),
    )


def interpolate_process(process: ProcessSpec, values: Mapping[str, str]) -> ProcessSpec:
    """The same for how it runs as a process."""
    environment = {name: interpolate(text, values) for name, text in process.environment.items()}
    return replace(process, environment=environment)


def substitute_address(text: str, address: str) -> str:
    """The text with `{host}` and `{port}` replaced by those of an address."""
    host, _, port = address.rpartition(":")
    return text.replace("{host}", host).replace("{port}", port)


def addresses(facts: SandboxFacts) -> dict[str, str]:
    """Where the ports of a sandbox are published now, in a form that can be kept as JSON."""
    return {
        f"{name}:{port}": f"{url_host(published.host)}:{published.port}"
        for name, service in sorted(facts.services.items())
        for port, published in sorted(service.ports.items())
    }


def url_host(host: str) -> str:
    """An IPv6 address as URLs want it."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
