"""The subset of the Compose Specification that blueprints may use, as typed models.

https://github.com/compose-spec/compose-spec/blob/main/spec.md without the keys that would weaken
the confinement of a sandbox or that the runtime doesn't support. `x-sandbox` is our extension.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
)

from sandboxes.blueprints.fields import (
    BlueprintName,
    Command,
    Megabytes,
    PositiveInt,
    RegularExpression,
    SecretName,
    ServiceName,
    UrlPath,
    confining_options,
    environment_variables,
    no_restart,
    no_root,
    only,
    port_numbers,
    service_names,
    tmpfs_sizes,
)

DEFAULT_PIDS = 128


class StrictModel(BaseModel):
    """An immutable model that rejects unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Build(StrictModel):
    """Where the image of a service is built from."""

    context: str = "."
    dockerfile: str = "Dockerfile"


class Service(StrictModel):
    """One container. Its memory and CPUs count towards the limits of the sandbox."""

    image: Annotated[str, Field(pattern=r"^[a-z0-9][\w./:@-]*$")]
    memory_mb: Megabytes = Field(alias="mem_limit")
    cpus: Annotated[float, Field(gt=0)]
    pids_limit: PositiveInt = DEFAULT_PIDS
    build: Build | None = None
    environment: Annotated[dict[str, str], BeforeValidator(environment_variables)] = {}
    command: Command = ()
    entrypoint: Command = ()
    user: Annotated[str, BeforeValidator(str), AfterValidator(no_root)] = ""
    working_dir: str = ""
    ports: Annotated[tuple[int, ...], BeforeValidator(port_numbers)] = ()
    tmpfs: Annotated[dict[str, int], BeforeValidator(tmpfs_sizes)] = {}
    read_only: bool = False
    stop_signal: str = ""
    ulimits: dict[str, int] = {}
    shm_size: Megabytes = 0
    depends_on: Annotated[list[str], BeforeValidator(service_names)] = []
    init: Annotated[bool, only(True, "Every container has an init process.")] = True
    cap_drop: Annotated[list[str], only(["ALL"], "Containers run without any capability.")] = [
        "ALL"
    ]
    security_opt: Annotated[list[str], AfterValidator(confining_options)] = []
    restart: Annotated[Any, AfterValidator(no_restart)] = "no"


class Secret(StrictModel):
    """A random value, different in each sandbox; 22 letters and digits are 130 bits."""

    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{0,20}$")] = ""
    length: Annotated[int, Field(ge=22, le=128)] = 32


class Endpoint(StrictModel):
    """A published port that developers see."""

    service: str
    port: PositiveInt
    url: str = "http://{host}:{port}"
    openapi: UrlPath = ""
    bearer: str = ""
    identity: UrlPath = ""


class Credential(StrictModel):
    """A value that gives developers access."""

    value: str
    endpoint: str = ""


class Ready(StrictModel):
    """A path that answers 200 once the sandbox is ready."""

    endpoint: str
    path: UrlPath


class Reset(StrictModel):
    """The service and command that restore the seed data."""

    service: str
    command: Command
    process: Command = ()


class Requests(StrictModel):
    """Lines of a service's log that record a request: those that begin with this expression."""

    service: str
    line: RegularExpression


class Example(StrictModel):
    """A first call of the API, and an excerpt of its answer on fresh data."""

    path: UrlPath
    answer: dict[str, JsonValue] = {}


class Process(StrictModel):
    """How a service runs as a process; paths are relative to the blueprint's folder."""

    command: Annotated[Command, Field(min_length=1)]
    environment: Annotated[dict[str, str], BeforeValidator(environment_variables)] = {}
    files: list[str] = []
    requirements: str = ""
    prepare: Command = ()


class SandboxSection(StrictModel):
    """`x-sandbox`: the information that the portal needs in addition to Compose's keys."""

    title: Annotated[str, Field(min_length=1, max_length=60)]
    description: str = ""
    secrets: dict[SecretName, Secret] = {}
    endpoints: dict[str, Endpoint]
    credentials: dict[str, Credential] = {}
    ready: Annotated[list[Ready], Field(min_length=1)]
    reset: Reset
    requests: Requests | None = None
    example: Example | None = None
    process: dict[str, Process] = {}
    seed: dict[str, Annotated[int, Field(ge=0)]] = {}
    egress: bool = False


class ComposeFile(StrictModel):
    """A whole `compose.yaml`."""

    name: BlueprintName
    services: Annotated[dict[ServiceName, Service], Field(min_length=1)]
    sandbox: SandboxSection = Field(alias="x-sandbox")
