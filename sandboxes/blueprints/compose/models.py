"""Compose files in normal form, as typed models.

They describe what `normal_form` and `merge` leave: long forms only, without the keys that have no
effect. https://github.com/compose-spec/compose-spec/blob/main/spec.md
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from sandboxes.blueprints.compose import values
from sandboxes.blueprints.compose.findings import Malformed
from sandboxes.blueprints.compose.limits import ULIMITS
from sandboxes.blueprints.compose.verdicts import DEVICES, EXTENSION
from sandboxes.blueprints.fields import (
    absolute_path,
    host_name,
    image_reference,
    image_user,
    mount_point,
    reject,
    signal_name,
    working_directory,
)

DEFAULT_PIDS = 128
DEFAULT_TMPFS_BYTES = 16 * 1024**2
DEFAULT_STOP_SECONDS = 5.0
DEFAULT_CHECK_SECONDS = 30.0
MAX_MOUNTS = 100
MAX_FILES = 100
"""Configs of a service, and as many secrets."""
MAX_MODE = 0o777
MIN_LIMIT_BYTES = 6 * 1024**2
"""The engine's own minimum for the memory of a container."""
MIN_CPUS = 0.01
"""The kernel's minimum: 1 ms in each period of 100 ms."""
SECTION = "x-sandbox"


def parsed_by(parse: Callable[[Any], Any]) -> BeforeValidator:
    """Return a validator that reports what `parse` raises; null stays null."""

    def validate(value: Any) -> Any:
        try:
            return None if value is None else parse(value)
        except Malformed as error:
            reject(str(error), error.remedy)

    return BeforeValidator(validate)


def few(what: str, most: int, remedy: str = "Remove some.") -> AfterValidator:
    """Return a validator of the length of a list."""

    def check(items: Sequence[Any]) -> Sequence[Any]:
        if len(items) > most:
            reject(f"There are more than {most} {what}.", remedy)
        return items

    return AfterValidator(check)


def _tmpfs(items: Any) -> dict[str, int]:
    sizes = {}
    for item in items:
        path, size = values.tmpfs(item)
        sizes[path] = size or DEFAULT_TMPFS_BYTES
    return sizes


def _limit(value: Any) -> int | None:
    """Return bytes, or None for a limit that means none."""
    if str(value).strip() in ("0", "-1", ""):
        return None
    size = values.size_in_bytes(value)
    if size < MIN_LIMIT_BYTES:
        raise Malformed("This is too little for a container.", "Write at least 6m.")
    return size


def _pids(value: Any) -> Any:
    return None if str(value).strip() in ("0", "-1", "") else value


def _cpus(value: Any) -> Any:
    return None if str(value).strip() in ("0", "0.0", "") else value


def _as_text(value: Any) -> Any:
    return values.text_of(value) if isinstance(value, int | float) else value


Bytes = Annotated[int, parsed_by(values.size_in_bytes)]
MemoryLimit = Annotated[int | None, parsed_by(_limit)]
PidsLimit = Annotated[Annotated[int, Field(gt=0)] | None, parsed_by(_pids)]
Cpus = Annotated[Annotated[float, Field(ge=MIN_CPUS, allow_inf_nan=False)] | None, parsed_by(_cpus)]
Seconds = Annotated[float, parsed_by(values.seconds)]
Text = Annotated[str, BeforeValidator(_as_text)]
AbsolutePath = Annotated[str, AfterValidator(absolute_path)]
MountPoint = Annotated[str, AfterValidator(mount_point)]
HostName = Annotated[Text, AfterValidator(host_name)]


class ComposeModel(BaseModel):
    """An immutable model that rejects unknown keys, but not extensions (`x-…`)."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: Any) -> Any:
        """Drop extensions that are not ours, and keys without a value."""
        if not isinstance(data, dict):
            return data
        return {
            key: value
            for key, value in data.items()
            if value is not None and (key == SECTION or not str(key).startswith(EXTENSION))
        }


class OfflineBuild(ComposeModel):
    """What a build needs where the engine has no access to a registry or a package index.

    `debian` is the build argument that receives the name of a Debian image, `wheels` a
    requirements.txt with hashes, relative to the context.
    """

    debian: str = ""
    wheels: str = ""


class Build(ComposeModel):
    """Where the image of a service is built from."""

    context: str
    dockerfile: Text = "Dockerfile"
    dockerfile_inline: Text = ""
    args: dict[str, str | None] = {}
    target: Text = ""
    offline: OfflineBuild = Field(default=OfflineBuild(), alias="x-sandbox")
    network: Any = None


class Condition(StrEnum):
    """What a service waits for before it starts."""

    STARTED = "service_started"
    HEALTHY = "service_healthy"
    COMPLETED = "service_completed_successfully"


class Dependency(ComposeModel):
    """Another service for which a service waits."""

    condition: Condition = Condition.STARTED
    required: bool = True
    restart: Any = None


def _test(words: tuple[str, ...]) -> tuple[str, ...]:
    kind, *command = words or ("NONE",)
    if kind not in ("NONE", "CMD", "CMD-SHELL") or (kind != "NONE" and not command):
        remedy = "Begin the list with CMD or CMD-SHELL, then the command; or write one line."
        reject("This list isn't a health check.", remedy)
    return words


class HealthCheck(ComposeModel):
    """A command that succeeds if the service is healthy; of its times, `timeout` applies."""

    test: Annotated[tuple[str, ...], AfterValidator(_test)] = ()
    timeout: Seconds = DEFAULT_CHECK_SECONDS
    disable: bool = False
    interval: Seconds = 0
    start_period: Seconds = 0
    start_interval: Seconds = 0
    retries: int = 0

    @property
    def command(self) -> tuple[str, ...]:
        """The command to run; empty if there is none."""
        kind, *rest = self.test or ("NONE",)
        if self.disable or kind == "NONE":
            return ()
        return ("/bin/sh", "-c", *rest[:1]) if kind == "CMD-SHELL" else tuple(rest)


class TmpfsOptions(ComposeModel):
    """Options of a mount in memory."""

    size: Bytes = DEFAULT_TMPFS_BYTES
    mode: Any = None


class VolumeOptions(ComposeModel):
    """Options of a mounted volume; a folder in it can't be chosen."""

    labels: Any = None
    nocopy: Any = None


class Mount(ComposeModel):
    """A volume, a folder of the blueprint or a file system in memory, at a path of the service."""

    type: Literal["volume", "bind", "tmpfs"]
    source: str = ""
    target: AbsolutePath
    read_only: bool = False
    tmpfs: TmpfsOptions = TmpfsOptions()
    volume: VolumeOptions = VolumeOptions()
    bind: Any = None
    consistency: Any = None


def _octal(value: Any) -> Any:
    """Return a file mode; text is octal, as `0440` without quotes is."""
    try:
        return int(value, 8) if isinstance(value, str) else value
    except ValueError:
        reject("Invalid mode.", "Write the mode in octal, for example 0440.")


def _permissions(mode: int) -> int:
    if not 0 <= mode <= MAX_MODE:
        reject("Invalid mode.", "Write permissions in octal, from 0000 to 0777.")
    return mode


class FileUse(ComposeModel):
    """A config or secret that a service uses."""

    source: str
    target: str = ""
    mode: Annotated[int, BeforeValidator(_octal), AfterValidator(_permissions)] = 0o444
    uid: Any = None
    gid: Any = None


class FileSource(ComposeModel):
    """Where the content of a config or secret comes from."""

    file: str = ""
    content: str | None = None
    environment: str = ""
    external: bool = False
    name: Any = None
    labels: Any = None
    driver: Any = None
    driver_opts: Any = None
    template_driver: Any = None


class NetworkUse(ComposeModel):
    """A network that a service joins; there is only one."""

    aliases: tuple[Text, ...] = ()
    interface_name: Any = None
    ipv4_address: Any = None
    ipv6_address: Any = None
    link_local_ips: Any = None
    mac_address: Any = None
    driver_opts: Any = None
    priority: Any = None
    gw_priority: Any = None


class Port(ComposeModel):
    """A port inside the container."""

    target: int
    protocol: str = "tcp"


class Ulimit(ComposeModel):
    """Limits of a resource for processes; -1 stands for no limit."""

    soft: Annotated[int, Field(ge=-1)]
    hard: Annotated[int, Field(ge=-1)]

    @model_validator(mode="after")
    def _in_order(self) -> Ulimit:
        if self.hard != -1 and not 0 <= self.soft <= self.hard:
            reject("The soft limit is higher than the hard one.", "Lower soft, or raise hard.")
        return self


def _resource(name: str) -> str:
    if name not in ULIMITS:
        reject("Unknown limit.", f"Write one of: {', '.join(sorted(ULIMITS))}.")
    return name


class Limits(ComposeModel):
    """Limits of a service, as `deploy` has them."""

    cpus: Cpus = None
    memory: MemoryLimit = None
    pids: PidsLimit = None


def _no_devices(value: list[Any]) -> list[Any]:
    if value:
        reject(f"This would weaken the confinement. {DEVICES}", "Remove it.")
    return value


class Reservations(ComposeModel):
    """What Swarm keeps free for a service; only devices would have an effect."""

    cpus: Any = None
    memory: Any = None
    generic_resources: Any = None
    devices: Annotated[list[Any], AfterValidator(_no_devices)] = []


class Resources(ComposeModel):
    """Limits and reservations of a service."""

    limits: Limits = Limits()
    reservations: Reservations = Reservations()


class Deploy(ComposeModel):
    """The part of `deploy` that has an effect."""

    resources: Resources = Resources()


class Service(ComposeModel):
    """One container."""

    image: Annotated[Text, AfterValidator(image_reference)] = ""
    build: Build | None = None
    pull_policy: Text = ""
    environment: dict[str, str | None] = {}
    env_file: tuple[dict[str, str], ...] = ()
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    user: Annotated[Text, AfterValidator(image_user)] = ""
    working_dir: Annotated[Text, AfterValidator(working_directory)] = ""
    hostname: HostName = ""
    container_name: Text = ""
    ports: Annotated[
        tuple[Port, ...],
        few("ports", values.MAX_PORTS, "List only the ports that developers use."),
    ] = ()
    depends_on: dict[str, Dependency] = {}
    healthcheck: HealthCheck | None = None
    volumes: Annotated[tuple[Mount, ...], few("mounts", MAX_MOUNTS)] = ()
    tmpfs: Annotated[dict[MountPoint, int], parsed_by(_tmpfs)] = {}
    configs: Annotated[tuple[FileUse, ...], few("configs", MAX_FILES)] = ()
    secrets: Annotated[tuple[FileUse, ...], few("secrets", MAX_FILES)] = ()
    networks: dict[str, NetworkUse] = {}
    links: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    mem_limit: MemoryLimit = None
    cpus: Cpus = None
    pids_limit: PidsLimit = None
    deploy: Deploy = Deploy()
    ulimits: dict[Annotated[str, AfterValidator(_resource)], Ulimit] = {}
    shm_size: Bytes = 0
    read_only: bool = False
    stop_signal: Annotated[Text, AfterValidator(signal_name)] = ""
    stop_grace_period: Seconds = DEFAULT_STOP_SECONDS

    @property
    def published(self) -> tuple[int, ...]:
        """The TCP ports to publish."""
        return tuple(port.target for port in self.ports if port.protocol == "tcp")

    @property
    def health_command(self) -> tuple[str, ...]:
        """The command of the health check; empty if there is none."""
        return self.healthcheck.command if self.healthcheck else ()

    @property
    def pids(self) -> int:
        """Maximum number of processes that the file asks for."""
        return self.pids_limit or self.deploy.resources.limits.pids or DEFAULT_PIDS

    @property
    def variables(self) -> dict[str, str | None]:
        """The environment, with that of files below it."""
        merged: dict[str, str | None] = {}
        for variables in self.env_file:
            merged |= variables
        return merged | self.environment
