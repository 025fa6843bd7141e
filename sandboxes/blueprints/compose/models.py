"""The subset of the Compose Specification that blueprints may use, as typed models.

https://github.com/compose-spec/compose-spec/blob/main/spec.md without the keys that would weaken
the confinement of a sandbox or that the runtime doesn't support.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from sandboxes.blueprints.fields import (
    BlueprintName,
    Command,
    Megabytes,
    PositiveInt,
    ServiceName,
    confining_options,
    environment_variables,
    no_restart,
    no_root,
    only,
    port_numbers,
    service_names,
    tmpfs_sizes,
)
from sandboxes.blueprints.sandbox_section import SandboxSection

DEFAULT_PIDS = 128


class ComposeModel(BaseModel):
    """An immutable model that rejects unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class OfflineBuild(ComposeModel):
    """What a build needs where the engine has no access to a registry or a package index.

    `debian` is the build argument that receives the name of a Debian image, `wheels` a
    requirements.txt with hashes, relative to the context.
    """

    debian: str = ""
    wheels: str = ""


class Build(ComposeModel):
    """Where the image of a service is built from."""

    context: str = "."
    dockerfile: str = "Dockerfile"
    offline: OfflineBuild = Field(alias="x-sandbox", default=OfflineBuild())


class Service(ComposeModel):
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


class ComposeFile(ComposeModel):
    """A whole `compose.yaml`."""

    name: BlueprintName
    services: Annotated[dict[ServiceName, Service], Field(min_length=1)]
    sandbox: SandboxSection = Field(alias="x-sandbox")
