"""The part of the Compose Specification that a blueprint may use, as typed models.

https://github.com/compose-spec/compose-spec/blob/main/spec.md, less all that would weaken the
confinement of a sandbox or that the runtime does not do. `x-sandbox` is ours.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from sandboxes.blueprints.fields import (
    BlueprintName,
    Expression,
    Positive,
    SecretName,
    ServiceName,
    Size,
    UrlPath,
    Words,
    confined,
    container_ports,
    dependencies,
    exactly,
    mounts,
    never,
    no_root,
    variables,
)

DEFAULT_PIDS = 128


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Build(Part):
    context: str = "."
    dockerfile: str = "Dockerfile"


class Service(Part):
    """One container. `memory`, `cpus` count towards what a sandbox may have in all."""

    image: Annotated[str, Field(pattern=r"^[a-z0-9][\w./:@-]*$")]
    memory_mb: Size = Field(alias="mem_limit")
    cpus: Annotated[float, Field(gt=0)]
    pids_limit: Positive = DEFAULT_PIDS
    build: Build | None = None
    environment: Annotated[dict[str, str], BeforeValidator(variables)] = {}
    command: Words = ()
    entrypoint: Words = ()
    user: Annotated[str, BeforeValidator(str), AfterValidator(no_root)] = ""
    working_dir: str = ""
    ports: Annotated[tuple[int, ...], BeforeValidator(container_ports)] = ()
    tmpfs: Annotated[dict[str, int], BeforeValidator(mounts)] = {}
    read_only: bool = False
    stop_signal: str = ""
    ulimits: dict[str, int] = {}
    shm_size: Size = 0
    depends_on: Annotated[list[str], BeforeValidator(dependencies)] = []
    init: Annotated[bool, exactly(True, "Every container has an init process.")] = True
    cap_drop: Annotated[list[str], exactly(["ALL"], "Containers run without any capability.")] = [
        "ALL"
    ]
    security_opt: Annotated[list[str], AfterValidator(confined)] = []
    restart: Annotated[Any, AfterValidator(never)] = "no"


class Secret(Part):
    """A random value of a sandbox's own; 22 letters and digits are 130 bits."""

    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{0,20}$")] = ""
    length: Annotated[int, Field(ge=22, le=128)] = 32


class Endpoint(Part):
    service: str
    port: Positive
    url: str = "http://{host}:{port}"
    openapi: UrlPath = ""
    bearer: str = ""


class Credential(Part):
    value: str
    endpoint: str = ""


class Ready(Part):
    endpoint: str
    path: UrlPath


class Reset(Part):
    service: str
    command: Words
    process: Words = ()


class Requests(Part):
    """Which lines of a service's log are requests: those that begin like this."""

    service: str
    line: Expression


class Process(Part):
    """How a service runs as a process; paths are relative to the blueprint's folder."""

    command: Annotated[Words, Field(min_length=1)]
    environment: Annotated[dict[str, str], BeforeValidator(variables)] = {}
    files: list[str] = []
    requirements: str = ""
    prepare: Words = ()


class Presentation(Part):
    """`x-sandbox`: what the portal must know of the stack, besides what Compose knows."""

    title: Annotated[str, Field(min_length=1, max_length=60)]
    description: str = ""
    secrets: dict[SecretName, Secret] = {}
    endpoints: dict[str, Endpoint]
    credentials: dict[str, Credential] = {}
    ready: Annotated[list[Ready], Field(min_length=1)]
    reset: Reset
    requests: Requests | None = None
    process: dict[str, Process] = {}
    seed: dict[str, Annotated[int, Field(ge=0)]] = {}
    egress: bool = False


class ComposeFile(Part):
    name: BlueprintName
    services: Annotated[dict[ServiceName, Service], Field(min_length=1)]
    sandbox: Presentation = Field(alias="x-sandbox")
