"""Assemble a `Blueprint` from a validated Compose stack and its `x-sandbox` section."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandboxes.blueprints import sandbox_section
from sandboxes.blueprints.auth import Auth, AuthType
from sandboxes.blueprints.blueprint import (
    Blueprint,
    ClockControl,
    Credential,
    Endpoint,
    EventSource,
    FirstCall,
    Preparation,
    RequestLog,
    Reset,
    Secret,
    Transfers,
    default_endpoint,
)
from sandboxes.blueprints.compose.contents import Contents, is_secret
from sandboxes.blueprints.compose.findings import Findings, Malformed
from sandboxes.blueprints.compose.launchable import check_service
from sandboxes.blueprints.compose.limits import (
    MAX_PIDS,
    MIN_MEMORY_MB,
    ULIMITS,
    bounded_ulimit,
    share,
)
from sandboxes.blueprints.compose.models import (
    DEFAULT_CHECK_SECONDS,
    MIN_CPUS,
    Build,
    Condition,
    Service,
)
from sandboxes.blueprints.compose.mounts import Mounts
from sandboxes.blueprints.compose.reading.source_files import SourceFiles
from sandboxes.blueprints.compose.reading.variables import Variables
from sandboxes.blueprints.compose.stack import ROOT_USERS, Stack
from sandboxes.blueprints.compose.tree import KeyPath
from sandboxes.blueprints.compose.values import MB
from sandboxes.blueprints.limits import Limits
from sandboxes.blueprints.sandbox_section import Events, Process, Requests, SandboxSection
from sandboxes.runtime import (
    CommandCheck,
    File,
    HealthCheck,
    HealthyCheck,
    HttpCheck,
    ImageBuild,
    ImageRecipe,
    LineCount,
    ProcessSpec,
    ReadyCheck,
    ServiceSpec,
    StartCondition,
    TcpCheck,
    image_name,
)
from sandboxes.runtime.specs import SECRETS_DIRECTORY

ROOT = "0"
MEMORY_UNIT = " MB"
MAX_SECONDS = 300
"""For stopping a service, or for a health check."""
IGNORE_FILE = ".dockerignore"
OTHER_TARGET = "Choose another target."
CONDITIONS = {
    Condition.STARTED: StartCondition.STARTED,
    Condition.HEALTHY: StartCondition.HEALTHY,
    Condition.COMPLETED: StartCondition.COMPLETED,
}


@dataclass(frozen=True)
class Plan:
    """All that a blueprint is assembled from."""

    folder: Path
    name: str
    stack: Stack
    section: SandboxSection
    ports: Mapping[str, Sequence[int]]
    mounts: Mapping[str, Mounts]
    contents: Contents
    variables: Variables


def published_ports(stack: Stack, section: SandboxSection) -> dict[str, tuple[int, ...]]:
    """Return the ports of all services: those that they list, and those of endpoints."""
    ports: dict[str, dict[int, None]] = {name: {} for name in stack.names}
    for name, service in stack.services.items():
        if name not in stack.one_shot:
            ports[name] |= dict.fromkeys(service.published)
    for endpoint in section.endpoints.values():
        if endpoint.service in ports:
            ports[endpoint.service].setdefault(endpoint.port)
    for check in section.ready:
        if check.port and check.service in ports:
            ports[check.service].setdefault(check.port)
    return {name: tuple(own) for name, own in ports.items()}


def assemble(
    plan: Plan, memory_mb: int, cpus: float, files: SourceFiles, findings: Findings
) -> Blueprint | None:
    """Return the blueprint, or None if there are problems."""
    assembler = _Assembler(plan, files, findings)
    recipes = {name: assembler.recipe(name) for name in plan.stack.services}
    limits = own_limits(plan.section)
    services = assembler.services(limits.memory_mb or memory_mb, limits.cpus or cpus)
    if findings.problems:
        return None
    section = plan.section
    endpoints = {name: _endpoint(item) for name, item in section.endpoints.items()}
    generated = {name: Secret("", 32) for name in sorted(plan.contents.generated)}
    declared = {name: Secret(item.prefix, item.length) for name, item in section.secrets.items()}
    return Blueprint(
        name=plan.name,
        title=section.title or plan.name,
        description=section.description,
        path=plan.folder,
        services=services,
        endpoints=endpoints,
        secrets={**generated, **declared},
        credentials={
            name: Credential(item.value, item.endpoint)
            for name, item in section.credentials.items()
        },
        ready=tuple(_ready_checks(plan, endpoints)),
        reset=_reset(section.reset),
        requests=_line_count(section.requests),
        request_log=_request_log(section.requests),
        transfers=_transfers(section),
        events=_events(section.events),
        clock=ClockControl(**section.clock.model_dump()) if section.clock else None,
        first_call=_first_call(section, endpoints),
        seed=section.seed,
        egress=section.egress,
        access=section.access,
        engine_selector=section.engine_selector,
        stellar=section.stellar,
        preparations=dict(_preparations(plan)),
        version=files.digest(),
        parameters={name: item.definition(name) for name, item in section.parameters.items()},
        recipes={name: recipe for name, recipe in recipes.items() if recipe},
        limits=limits,
    )


def own_limits(section: SandboxSection) -> Limits:
    """Return the limits that the section states."""
    stated = section.limits
    return Limits(
        memory_mb=stated.memory,
        cpus=stated.cpus,
        disk_mb=stated.disk,
        ttl_minutes=stated.lifetime.default,
        ttl_max_minutes=stated.lifetime.max,
        idle_minutes=stated.idle_timeout,
        max_active=stated.active_per_user,
    )


@dataclass(frozen=True)
class _Assembler:
    plan: Plan
    files: SourceFiles
    findings: Findings

    # --- services ------------------------------------------------------------------------------

    def services(self, memory_mb: int, cpus: float) -> tuple[ServiceSpec, ...]:
        services = self.plan.stack.services
        memory = self._memory(services, memory_mb)
        processors = self._cpus(services, cpus)
        return tuple(
            self._service(name, service, int(memory[name]), processors[name])
            for name, service in services.items()
            if name in memory and name in processors
        )

    def _memory(self, services: Mapping[str, Service], total_mb: int) -> dict[str, float]:
        """Return the memory of each service in MB; none if there isn't enough."""
        fixed = {n: one.mem_limit // MB for n, one in services.items() if one.mem_limit}
        at_most = {n: one.deploy.resources.limits.memory for n, one in services.items()}
        soft = {n: limit and limit / MB for n, limit in at_most.items() if n not in fixed}
        needed = sum(fixed.values()) + MIN_MEMORY_MB * len(soft)
        if needed > total_mb:
            message = f"The services use up to {needed} MB together; a sandbox has {total_mb} MB."
            remedy = (
                "Lower mem_limit of a service, raise x-sandbox.limits.memory, or raise "
                "SANDBOX_MEMORY_MB."
            )
            self._problem(("services",), message, remedy)
            return {}
        shares = share(fixed, soft, total_mb)
        for name, limit in soft.items():
            if limit and shares[name] < limit:
                message = f"The service gets {shares[name]:.0f} MB, its share of {total_mb} MB."
                self._note(("services", name, "deploy"), message)
        return shares

    def _cpus(self, services: Mapping[str, Service], total: float) -> dict[str, float]:
        """Return the CPUs of each service, in steps of 1/1000; none if there aren't enough."""
        fixed = {name: one.cpus for name, one in services.items() if one.cpus}
        soft = {
            n: one.deploy.resources.limits.cpus for n, one in services.items() if n not in fixed
        }
        needed = sum(fixed.values())
        if needed + MIN_CPUS * len(soft) > total + 1e-9:
            message = f"The services use up to {needed:g} CPUs together; a sandbox has {total:g}."
            remedy = "Lower cpus of a service, raise x-sandbox.limits.cpus, or raise SANDBOX_CPUS."
            self._problem(("services",), message, remedy)
            return {}
        shares = share(fixed, soft, total)
        return {name: int(amount * 1000 + 1e-6) / 1000 for name, amount in shares.items()}

    def _problem(self, path: KeyPath, message: str, remedy: str) -> None:
        self.findings.problem(self.plan.stack.place(path), path, message, remedy)

    def _note(self, path: KeyPath, message: str) -> None:
        self.findings.note(self.plan.stack.place(path), path, message)

    def _service(self, name: str, service: Service, memory_mb: int, cpus: float) -> ServiceSpec:
        plan, stack = self.plan, self.plan.stack
        mounts, process = plan.mounts[name], plan.section.process.get(name)
        rekey = plan.section.rekey.get(name)
        shared_memory = mounts.shared_memory or service.shm_size
        spec = ServiceSpec(
            name=name,
            image=image_name(plan.name, name),
            memory_mb=memory_mb,
            cpus=cpus,
            pids=self._bounded(name, "pids_limit", service.pids, MAX_PIDS),
            environment=self._environment(name, service),
            command=service.command,
            entrypoint=service.entrypoint,
            user=_user(service),
            working_dir=service.working_dir,
            ports=plan.ports[name],
            tmpfs={
                path: self._bounded(name, "tmpfs", max(size // MB, 1), memory_mb, MEMORY_UNIT)
                for path, size in mounts.tmpfs.items()
            },
            read_only=self._read_only(name, service),
            stop_signal=service.stop_signal,
            ulimits=dict(self._ulimits(name, service)),
            shm_mb=self._bounded(name, "shm_size", -(-shared_memory // MB), memory_mb, MEMORY_UNIT),
            hostname=service.hostname,
            aliases=stack.aliases(name),
            stop_seconds=self._seconds(name, "stop_grace_period", service.stop_grace_period),
            depends_on={
                other: CONDITIONS[condition]
                for other, condition in stack.dependencies(name).items()
            },
            one_shot=name in stack.one_shot,
            healthcheck=self._health_check(name, service),
            volumes=mounts.volumes,
            files=self._files(name, mounts),
            root=name in plan.section.root,
            rekey=rekey.command if rekey else (),
            process=ProcessSpec(
                process.command, process.environment, rekey.process if rekey else ()
            )
            if process
            else None,
        )
        for path, message, remedy in check_service(spec, plan.variables):
            self._problem(("services", name, *path), message, remedy)
        return spec

    def _bounded(self, name: str, key: str, wanted: int, most: int, unit: str = "") -> int:
        """Return what a service gets of a limit."""
        if wanted > most:
            message = f"The service gets {most}{unit}, the highest value that it can have."
            if unit == MEMORY_UNIT:
                message = f"The service gets {most} MB, its limit of memory, which this counts as."
            self._note(("services", name, key), message)
        return min(wanted, most)

    def _seconds(self, name: str, key: str, wanted: float) -> int:
        return max(self._bounded(name, key, math.ceil(wanted), MAX_SECONDS, " s"), 1)

    def _health_check(self, name: str, service: Service) -> HealthCheck | None:
        check = service.healthcheck
        if not check or not check.command:
            return None
        timeout = check.timeout or DEFAULT_CHECK_SECONDS
        if timeout > MAX_SECONDS:
            timeout = float(self._seconds(name, "healthcheck", timeout))
        return HealthCheck(check.command, timeout)

    def _ulimits(self, name: str, service: Service) -> Iterator[tuple[str, tuple[int, int]]]:
        for key, limit in service.ulimits.items():
            path = ("services", name, "ulimits", key)
            if reason := ULIMITS[key]:
                self._note(path, f"This has no effect. {reason}")
                continue
            soft, hard = bounded_ulimit(key, limit.soft, limit.hard)
            if key == "nofile" and hard != limit.hard:
                self._note(path, f"The service gets {hard}, the highest value that it can have.")
            yield key, (soft, hard)

    def _environment(self, name: str, service: Service) -> dict[str, str]:
        """Return the environment; a name without a value takes that of the variable, if set."""
        found = {}
        for variable, text in service.variables.items():
            value = self.plan.variables.lookup(variable) if text is None else text
            if value is not None:
                found[variable] = value
                continue
            path = ("services", name, "environment", variable)
            message = f"The variable {variable} is not set, so the service doesn't get it."
            self._note(path, message)
        return found

    def _read_only(self, name: str, service: Service) -> bool:
        if service.read_only and self._writes_to_layer(name):
            message = "This has no effect, since data or files are put into the file system."
            self._note(("services", name, "read_only"), message)
        return service.read_only and not self._writes_to_layer(name)

    def _writes_to_layer(self, name: str) -> bool:
        return self.plan.mounts[name].writable_layer or bool(self.plan.contents.files[name])

    def _files(self, name: str, mounts: Mounts) -> dict[str, File]:
        """Return configs and secrets; the former are put into the layer, which must be visible."""
        hidden = [*mounts.tmpfs, *mounts.volumes]
        files = {}
        for path, file in self.plan.contents.files[name].items():
            key = "secrets" if is_secret(path) else "configs"
            if key == "configs" and any(path.startswith(f"{mount}/") for mount in hidden):
                message = f"The config {path} is below a tmpfs or a shared volume, which hides it."
                self._problem(("services", name, key), message, OTHER_TARGET)
            elif any(mount == path or mount.startswith(f"{path}/") for mount in mounts.targets):
                message = f"Something else is mounted at {path}, or below it."
                self._problem(("services", name, key), message, OTHER_TARGET)
            files[path] = File(file.content, file.mode)
        if any(map(is_secret, files)):
            self._check_hidden_by_secrets(name, mounts)
        return files

    def _check_hidden_by_secrets(self, name: str, mounts: Mounts) -> None:
        in_layer = {*mounts.directories, *mounts.binds}
        for target in sorted(mounts.targets - set(mounts.tmpfs)):
            if target == SECRETS_DIRECTORY or (target in in_layer and is_secret(target)):
                message = f"{target} is hidden by the service's secrets, which are in memory."
                remedy = f"Mount it outside of {SECRETS_DIRECTORY}, or write all as `secrets`."
                self._problem(("services", name, "volumes"), message, remedy)

    # --- images --------------------------------------------------------------------------------

    def recipe(self, name: str) -> ImageRecipe | None:
        service, mounts = self.plan.stack.services[name], self.plan.mounts[name]
        try:
            build = self._build(service.build) if service.build else None
        except Malformed as error:
            path = ("services", name, "build")
            self.findings.malformed(self.plan.stack.place((*path, *error.parts)), path, error)
            return None
        return ImageRecipe(
            image=service.image or image_name(self.plan.name, name),
            build=build,
            user=_user(service),
            root=name in self.plan.section.root,
            directories=tuple(mounts.directories),
            shared_directories=tuple(mounts.volumes),
            tmpfs=tuple(mounts.tmpfs),
            binds=mounts.binds,
            read_only=service.read_only and not self._writes_to_layer(name),
            needs_shell=any(map(is_secret, self.plan.contents.files[name])),
            pull_always=service.pull_policy == "always",
        )

    def _build(self, build: Build) -> ImageBuild:
        context = self.files.resolve(Path(build.context))
        if not context.is_dir():
            raise Malformed("The build context is not a folder.", "Correct the path.", "context")
        dockerfile = self.files.resolve(context / build.dockerfile)
        ignored = (context / IGNORE_FILE, Path(f"{dockerfile}{IGNORE_FILE}"))
        for file in (*ignored, *(() if build.dockerfile_inline else (dockerfile,))):
            if self.files.resolve(file).is_file():
                self.files.check_size(file)
        if not build.dockerfile_inline and not dockerfile.is_file():
            raise Malformed(
                f"File not found: {dockerfile}.",
                "Write `context` relative to this file, and `dockerfile` relative to `context`.",
            )
        wheels = build.offline.wheels
        return ImageBuild(
            context=context,
            dockerfile=dockerfile,
            dockerfile_inline=build.dockerfile_inline,
            args=dict(self._arguments(build)),
            target=build.target,
            debian_arg=build.offline.debian,
            wheels=self.files.resolve(context / wheels) if wheels else None,
        )

    def _arguments(self, build: Build) -> Iterator[tuple[str, str]]:
        """Yield build arguments; a name without a value takes that of the variable, if set."""
        for name, text in build.args.items():
            value = self.plan.variables.fixed.get(name) if text is None else text
            if value is not None:
                yield name, value


def _user(service: Service) -> str:
    """Return the user of a service, by number if it is root; empty for the image's own."""
    return ROOT if service.user.partition(":")[0] in ROOT_USERS else service.user


def _ready_checks(plan: Plan, endpoints: Mapping[str, Endpoint]) -> Iterator[ReadyCheck]:
    """Yield the section's checks; by default, health checks and ports of the other services."""
    if plan.section.ready:
        yield from (_ready_check(check, endpoints) for check in plan.section.ready)
        return
    for name, service in plan.stack.services.items():
        if name in plan.stack.one_shot:
            continue
        if service.health_command:
            yield HealthyCheck(name)
        else:
            yield from (TcpCheck(name, port) for port in plan.ports[name])


def _ready_check(check: sandbox_section.Ready, endpoints: Mapping[str, Endpoint]) -> ReadyCheck:
    service, port = check.service, check.port
    if check.endpoint:
        service, port = endpoints[check.endpoint].service, endpoints[check.endpoint].port
    if port is None:
        return CommandCheck(service, check.command) if check.command else HealthyCheck(service)
    return HttpCheck(service, port, check.path) if check.path else TcpCheck(service, port)


def _endpoint(item: sandbox_section.Endpoint) -> Endpoint:
    auth = item.auth
    return Endpoint(
        service=item.service,
        port=item.port,
        url=item.url,
        openapi=item.openapi,
        auth=Auth(AuthType.BEARER, item.bearer)
        if item.bearer
        else Auth(auth.type, auth.credential, auth.name, auth.username),
        identity=item.identity,
    )


def _first_call(section: SandboxSection, endpoints: Mapping[str, Endpoint]) -> FirstCall | None:
    if not (found := section.first_call):
        return None
    return FirstCall(
        found.endpoint or default_endpoint(endpoints),
        found.method,
        found.path,
        found.body,
        found.answer,
    )


def _events(events: Events | None) -> EventSource | None:
    return EventSource(**events.model_dump()) if events else None


def _line_count(requests: Requests | None) -> LineCount | None:
    return LineCount(requests.service, requests.line) if requests else None


def _request_log(requests: Requests | None) -> RequestLog | None:
    return RequestLog(**requests.log.model_dump()) if requests and requests.log else None


def _transfers(section: SandboxSection) -> Transfers | None:
    found = section.transfers
    return Transfers(**found.model_dump()) if found else None


def _reset(reset: sandbox_section.Reset | None) -> Reset | None:
    return Reset(reset.service, reset.command, reset.process) if reset else None


def _preparations(plan: Plan) -> Iterator[tuple[str, Preparation]]:
    def preparation(process: Process) -> Preparation:
        return Preparation(
            files=[(plan.folder / file).resolve() for file in process.files],
            requirements=plan.folder / process.requirements if process.requirements else None,
            command=process.prepare,
        )

    for name, process in plan.section.process.items():
        yield image_name(plan.name, name), preparation(process)
