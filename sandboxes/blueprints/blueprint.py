"""A blueprint: the services of a sandbox, and how the portal presents them to developers."""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from django.conf import settings

from sandboxes.blueprints.auth import Auth
from sandboxes.blueprints.interpolation import SANDBOX_ID, interpolate
from sandboxes.blueprints.limits import Excess, Limits, sizes_above
from sandboxes.blueprints.parameters import Parameter, Value, variable_texts
from sandboxes.runtime import (
    HealthCheck,
    ImageRecipe,
    LineCount,
    ProcessSpec,
    ReadyCheck,
    SandboxFacts,
    SandboxSpec,
    ServiceSpec,
    needs_containers,
)

ALPHABET = string.ascii_letters + string.digits

HTTP_SCHEMES = ("http://", "https://")

Addresses = Mapping[str, str]
"""Published addresses of a sandbox's ports: `"api:8080"` to `"127.0.0.1:49153"`."""


class Access(StrEnum):
    """Who reaches the HTTP endpoints of a sandbox through the gateway."""

    OPEN = "open"
    """Everyone; the sandbox's own credentials protect it."""
    OWNER = "owner"


@dataclass(frozen=True)
class Secret:
    """A random value, different in each sandbox: a prefix and `length` letters or digits."""

    prefix: str
    length: int

    def generate(self) -> str:
        """Return a new random value."""
        return self.prefix + "".join(secrets.choice(ALPHABET) for _ in range(self.length))


@dataclass(frozen=True)
class Endpoint:
    """A port shown to developers, as a URL that contains `{host}` and `{port}`.

    `openapi` is the path of the API's OpenAPI document, `auth` how clients authenticate, and
    `identity` the path at which the API proves that it has its credential; all are optional.
    """

    service: str
    port: int
    url: str
    openapi: str = ""
    auth: Auth = field(default_factory=Auth)
    identity: str = ""

    @property
    def is_http(self) -> bool:
        """Whether the URL is one of a web server."""
        return self.url.startswith(HTTP_SCHEMES)

    @property
    def address_key(self) -> str:
        """The key of this endpoint in a sandbox's addresses."""
        return f"{self.service}:{self.port}"


@dataclass(frozen=True)
class Credential:
    """A value that gives access; with an endpoint, the value contains its address."""

    value: str
    endpoint: str


@dataclass(frozen=True)
class Reset:
    """The command that restores the seed data; `process` replaces it on the process runtime."""

    service: str
    command: Sequence[str]
    process: Sequence[str] = ()

    def command_for(self, runtime: str) -> Sequence[str]:
        """Return the command to run on the named runtime."""
        return self.process if runtime == "process" else self.command


@dataclass(frozen=True)
class FirstCall:
    """The request that snippets show, and an excerpt of its answer on fresh data.

    `body` is sent as JSON, unless it is None.
    """

    endpoint: str
    method: str = "GET"
    path: str = "/"
    body: Any = None
    answer: Any = None


@dataclass(frozen=True)
class EventSource:
    """How a sandbox offers events, which the portal reads and delivers as webhooks.

    All paths are of one endpoint. `secret` names the secret that is sent as a bearer token. Paths
    that are empty aren't offered.
    """

    endpoint: str
    secret: str
    list: str
    """With `{cursor}` and `{limit}`; an empty list is held for `{wait}` seconds, if it is there."""
    first: str
    """The cursor before the first event."""
    endpoints: str = ""
    deliveries: str = ""
    create: str = ""


@dataclass(frozen=True)
class RequestLog:
    """Where a sandbox lists requests to its API; `secret` names the one that is sent."""

    endpoint: str
    secret: str
    path: str


@dataclass(frozen=True)
class Transfers:
    """Where a sandbox says which transfers to its account it waits for, and takes those found."""

    endpoint: str
    secret: str
    expected: str
    report: str


@dataclass(frozen=True)
class ClockControl:
    """Where the clock of a sandbox can be read and moved."""

    endpoint: str
    path: str


@dataclass(frozen=True)
class Preparation:
    """The files and requirements of a service that runs as a process, instead of an image."""

    files: Sequence[Path]
    requirements: Path | None
    command: Sequence[str]


Locate = Callable[[str, str, Endpoint, str], str]
"""Fills an address into a text of the endpoint with this name; the result is for its clients."""


def locate_directly(text: str, _name: str, _endpoint: Endpoint, address: str) -> str:
    """Fill in the published address."""
    return substitute_address(text, address)


@dataclass(frozen=True)
class Blueprint:
    """A valid blueprint. Variables in its services are kept until `spec` interpolates them."""

    name: str
    title: str
    description: str
    path: Path
    services: Sequence[ServiceSpec]
    endpoints: Mapping[str, Endpoint]
    secrets: Mapping[str, Secret]
    credentials: Mapping[str, Credential]
    ready: Sequence[ReadyCheck]
    reset: Reset | None
    """None if the seed data is restored by recreating the services."""
    requests: LineCount | None
    """How requests are counted in a service's log, starting at zero; None if they aren't."""
    seed: Mapping[str, int]
    """Number of seeded objects of each kind in a new sandbox."""
    egress: bool
    preparations: Mapping[str, Preparation]
    """By image, for the services that can run as processes."""
    first_call: FirstCall | None = None
    stellar: bool = False
    """Whether each sandbox gets an account, which the portal funds."""
    version: str = ""
    """Digest of the version; of a blueprint that isn't prepared, the hash of its files."""
    image_ids: Mapping[str, str] = field(default_factory=dict)
    """Id of each image by name, if the blueprint is a prepared version; otherwise empty."""
    recipes: Mapping[str, ImageRecipe] = field(default_factory=dict)
    """By service, how its image is made."""
    limits: Limits = field(default_factory=Limits)
    """Its own limits; they are never above the portal's when a sandbox is launched."""
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    """What a launch may choose, by the name of the variable that it becomes."""
    access: Access = Access.OPEN
    engine_selector: Mapping[str, str] = field(default_factory=dict)
    """Labels of the engines that get its sandboxes."""
    events: EventSource | None = None
    clock: ClockControl | None = None
    request_log: RequestLog | None = None
    transfers: Transfers | None = None

    @property
    def is_prepared(self) -> bool:
        """Whether this is a version that was prepared, which sandboxes can keep."""
        return bool(self.image_ids)

    def supports_runtime(self, runtime: str) -> bool:
        """Return whether the named runtime can launch this blueprint."""
        return runtime != "process" or not needs_containers(self.services, self.ready)

    @property
    def can_rekey(self) -> bool:
        """Whether sandboxes can start with the data of another one, under their own credentials."""
        return not self.secrets or any(service.rekey for service in self.services)

    @property
    def openapi_endpoint(self) -> str:
        """Name of the endpoint that serves an OpenAPI document; empty if none does."""
        return next((name for name, item in self.endpoints.items() if item.openapi), "")

    @property
    def snippet_call(self) -> FirstCall | None:
        """The request that snippets show: the first call, or a GET of `/`.

        None without an endpoint of a web server.
        """
        default = default_endpoint(self.endpoints)
        return self.first_call or (FirstCall(default) if default else None)

    @property
    def default_parameters(self) -> dict[str, Value]:
        """The values of a launch that chooses none, by name."""
        return {name: parameter.default for name, parameter in self.parameters.items()}

    @property
    def images(self) -> Sequence[str]:
        """Names of all images, sorted."""
        return sorted({service.image for service in self.services})

    @property
    def image_references(self) -> Sequence[str]:
        """What the engine finds the images by: their ids if they are pinned, else their names."""
        return [self.image_ids.get(name, name) for name in self.images]

    @property
    def published_ports(self) -> dict[str, Sequence[int]]:
        """The ports that each service publishes."""
        return {service.name: service.ports for service in self.services}

    @property
    def memory_mb(self) -> int:
        """Memory limit of all services together, in MB."""
        return sum(service.memory_mb for service in self.services)

    @property
    def cpus(self) -> float:
        """CPU limit of all services together."""
        return round(sum(service.cpus for service in self.services), 3)

    @property
    def disk_mb(self) -> int:
        """Disk limit of all services together, in MB."""
        return self.limits.disk_mb or settings.SANDBOX_DISK_MB

    @property
    def excesses(self) -> Sequence[Excess]:
        """The resources of which a sandbox would get more than the portal allows now."""
        return tuple(sizes_above(Limits(self.memory_mb, self.cpus, self.disk_mb)))

    def new_secrets(self) -> dict[str, str]:
        """Return new values for all declared secrets, with at least 130 random bits each."""
        return {name: secret.generate() for name, secret in self.secrets.items()}

    def spec(
        self,
        sandbox_id: str,
        variables: Mapping[str, str],
        disk_mb: int,
        save_point: str = "",
    ) -> SandboxSpec:
        """Return the specification of one sandbox; unused variables are ignored.

        Its services start with the data of the save point, if there is one. Parameters without a
        value have their default. Raises KeyError with the name of a missing variable.
        """
        defaults = variable_texts(self.default_parameters)
        values = {**defaults, **variables, SANDBOX_ID: sandbox_id}
        return SandboxSpec(
            id=sandbox_id,
            blueprint=self.name,
            services=[self._pinned(interpolate_service(each, values)) for each in self.services],
            ready=self.ready,
            disk_mb=disk_mb,
            egress=self.egress,
            save_point=save_point,
        )

    def _pinned(self, service: ServiceSpec) -> ServiceSpec:
        return replace(service, image=self.image_ids.get(service.image, service.image))

    def endpoint_urls(
        self, addresses: Addresses, locate: Locate = locate_directly
    ) -> dict[str, str]:
        """Return the URLs of all endpoints that have an address, as `locate` fills it in."""
        return {
            name: locate(endpoint.url, name, endpoint, addresses[endpoint.address_key])
            for name, endpoint in self.endpoints.items()
            if endpoint.address_key in addresses
        }

    def fill_credentials(
        self,
        secrets: Mapping[str, str],
        addresses: Addresses,
        locate: Locate = locate_directly,
    ) -> dict[str, str]:
        """Return all credentials, with secrets and endpoint addresses filled in.

        A credential is omitted while its endpoint has no address. Raises KeyError with the
        name of a missing secret.
        """
        credentials = {}
        for name, credential in self.credentials.items():
            text = credential.value
            if credential.endpoint:
                endpoint = self.endpoints[credential.endpoint]
                address = addresses.get(endpoint.address_key)
                if address is None:
                    continue
                text = locate(text, credential.endpoint, endpoint, address)
            credentials[name] = interpolate(text, secrets)
        return credentials


def host_label(endpoint: str) -> str:
    """Return the name of an endpoint as a part of a host name, where no underscores are valid."""
    return endpoint.replace("_", "-").rstrip("-").lower()


def variable_name(name: str) -> str:
    """Return the name of a credential as an environment variable."""
    return re.sub(r"\W", "_", name).upper()


def url_variable_name(endpoint: str) -> str:
    """Return the name of an endpoint's URL as an environment variable."""
    return f"{variable_name(endpoint).removesuffix('_URL')}_URL"


def default_endpoint(endpoints: Mapping[str, Endpoint]) -> str:
    """Return the name of the API, or of the first web server; empty if there is none."""
    http = [name for name, endpoint in endpoints.items() if endpoint.is_http]
    return next((name for name in http if endpoints[name].openapi), http[0] if http else "")


def interpolate_service(service: ServiceSpec, values: Mapping[str, str]) -> ServiceSpec:
    """Return the service with its variables filled in; KeyError names a missing variable."""
    return replace(
        service,
        environment={name: interpolate(text, values) for name, text in service.environment.items()},
        command=[interpolate(word, values) for word in service.command],
        entrypoint=[interpolate(word, values) for word in service.entrypoint],
        files={
            path: replace(file, content=interpolate(file.content, values))
            for path, file in service.files.items()
        },
        healthcheck=service.healthcheck and interpolate_health_check(service.healthcheck, values),
        process=service.process and interpolate_process(service.process, values),
    )


def interpolate_health_check(check: HealthCheck, values: Mapping[str, str]) -> HealthCheck:
    """Return the check with its variables filled in; KeyError names a missing variable."""
    return replace(check, command=[interpolate(word, values) for word in check.command])


def interpolate_process(process: ProcessSpec, values: Mapping[str, str]) -> ProcessSpec:
    """Return the process with its variables filled in; KeyError names a missing variable."""
    environment = {name: interpolate(text, values) for name, text in process.environment.items()}
    return replace(process, environment=environment)


def substitute_address(text: str, address: str) -> str:
    """Replace `{host}` and `{port}` by the parts of an address."""
    host, _, port = address.rpartition(":")
    return text.replace("{host}", host).replace("{port}", port)


def addresses(facts: SandboxFacts) -> dict[str, str]:
    """Return the currently published ports of a sandbox in a form that can be stored as JSON."""
    return {
        f"{name}:{port}": f"{url_host(published.host)}:{published.port}"
        for name, service in sorted(facts.services.items())
        for port, published in sorted(service.ports.items())
    }


def url_host(host: str) -> str:
    """Return a host as it appears in a URL: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
