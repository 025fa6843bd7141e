"""Load a blueprint from its Compose file, or collect all problems with the file."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from sandboxes.blueprints import sandbox_section
from sandboxes.blueprints.auth import Auth, AuthType
from sandboxes.blueprints.blueprint import (
    Blueprint,
    Credential,
    Endpoint,
    FirstCall,
    Preparation,
    Reset,
    Secret,
)
from sandboxes.blueprints.compose.models import Build, ComposeFile, Service
from sandboxes.blueprints.messages import describe_error
from sandboxes.blueprints.sandbox_section import Process, Requests, SandboxSection
from sandboxes.blueprints.validation import Violation, validate
from sandboxes.runtime import (
    HttpCheck,
    ImageBuild,
    ImageRecipe,
    LineCount,
    ProcessSpec,
    ServiceSpec,
)

COMPOSE_FILE = "compose.yaml"


@dataclass(frozen=True)
class Problem:
    """One problem with a blueprint: its place, a message, and a remedy."""

    file: Path
    key: str
    """Path of the key, with dots: `services.db.mem_limit`; empty for the whole file."""
    message: str
    remedy: str


class UniqueKeyLoader(yaml.SafeLoader):
    """Reject duplicate keys; YAML would silently keep the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        counts = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        for key, count in counts.items():
            if count > 1 and key != "<<":
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key “{key}” occurs {count} times", node.start_mark
                )
        return super().construct_mapping(node, deep)


def load_blueprint(
    folder: Path, memory_mb: int, cpus: float
) -> tuple[Blueprint | None, list[Problem]]:
    """Return the blueprint in a folder, or None and all problems with it."""
    file = folder / COMPOSE_FILE
    try:
        parsed = ComposeFile.model_validate(_parse_yaml(file))
    except (OSError, ValueError, yaml.YAMLError) as error:
        return None, [Problem(file, *violation) for violation in _describe_failure(error)]
    problems = [
        Problem(file, *violation) for violation in validate(parsed, folder, memory_mb, cpus)
    ]
    return (None if problems else _blueprint(parsed, folder)), problems


def _parse_yaml(file: Path) -> Any:
    return yaml.load(file.read_text(encoding="utf-8"), UniqueKeyLoader)  # noqa: S506 - it is a SafeLoader


def _describe_failure(error: Exception) -> Iterator[Violation]:
    if isinstance(error, ValidationError):
        for detail in error.errors(include_url=False, include_input=False):
            key = ".".join(str(part) for part in detail["loc"] if part != "[key]")
            yield key, *describe_error(detail)
    elif isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        line = error.problem_mark.line + 1
        yield "", f"Line {line} is not valid YAML: {error.problem}.", "Correct that line."
    else:
        yield "", f"The file can't be read: {error}.", "Make it a readable YAML file in UTF-8."


def _blueprint(parsed: ComposeFile, folder: Path) -> Blueprint:
    section = parsed.sandbox
    endpoints = {name: _endpoint(item) for name, item in section.endpoints.items()}
    return Blueprint(
        name=parsed.name,
        title=section.title,
        description=" ".join(section.description.split()),
        path=folder,
        services=tuple(
            _service(name, item, section.process.get(name))
            for name, item in parsed.services.items()
        ),
        endpoints=endpoints,
        secrets={name: Secret(item.prefix, item.length) for name, item in section.secrets.items()},
        credentials={
            name: Credential(item.value, item.endpoint)
            for name, item in section.credentials.items()
        },
        ready=tuple(
            HttpCheck(endpoints[item.endpoint].service, endpoints[item.endpoint].port, item.path)
            for item in section.ready
        ),
        reset=Reset(section.reset.service, section.reset.command, section.reset.process),
        requests=_line_count(section.requests),
        first_call=_first_call(section, endpoints),
        seed=section.seed,
        egress=section.egress,
        stellar=section.stellar,
        preparations=dict(_preparations(parsed, folder)),
        version=hashlib.sha256((folder / COMPOSE_FILE).read_bytes()).hexdigest(),
        recipes={name: _recipe(service, folder) for name, service in parsed.services.items()},
    )


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
    """Return the first call; by default a GET of the API, or of the first web server."""
    http = [name for name, endpoint in endpoints.items() if endpoint.is_http]
    if not http:
        return None
    default = next((name for name in http if endpoints[name].openapi), http[0])
    if not (found := section.first_call):
        return FirstCall(default)
    return FirstCall(found.endpoint or default, found.method, found.path, found.body, found.answer)


def _line_count(requests: Requests | None) -> LineCount | None:
    return LineCount(requests.service, requests.line) if requests else None


def _service(name: str, service: Service, process: Process | None) -> ServiceSpec:
    return ServiceSpec(
        name=name,
        image=service.image,
        memory_mb=service.memory_mb,
        cpus=service.cpus,
        pids=service.pids_limit,
        environment=service.environment,
        command=service.command,
        entrypoint=service.entrypoint,
        user=service.user,
        working_dir=service.working_dir,
        ports=service.ports,
        tmpfs=service.tmpfs,
        read_only=service.read_only,
        stop_signal=service.stop_signal,
        ulimits={limit: (value, value) for limit, value in service.ulimits.items()},
        shm_mb=service.shm_size,
        process=ProcessSpec(process.command, process.environment) if process else None,
    )


def _recipe(service: Service, folder: Path) -> ImageRecipe:
    build = _build(service.build, folder) if service.build else None
    return ImageRecipe(service.image, build, service.user)


def _build(build: Build, folder: Path) -> ImageBuild:
    context, offline = (folder / build.context).resolve(), build.offline
    return ImageBuild(
        context,
        context / build.dockerfile,
        debian_arg=offline.debian,
        wheels=context / offline.wheels if offline.wheels else None,
    )


def _preparations(parsed: ComposeFile, folder: Path) -> Iterator[tuple[str, Preparation]]:
    for name, process in parsed.sandbox.process.items():
        yield (
            parsed.services[name].image,
            Preparation(
                files=[(folder / file).resolve() for file in process.files],
                requirements=folder / process.requirements if process.requirements else None,
                command=process.prepare,
            ),
        )
