"""The services of a merged Compose file: those that are active, validated and consistent."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from sandboxes.blueprints.compose.budget import Budget, located
from sandboxes.blueprints.compose.findings import Findings, dotted, listed, shortened
from sandboxes.blueprints.compose.models import (
    Condition,
    Dependency,
    FileSource,
    Service,
)
from sandboxes.blueprints.compose.tree import KeyPath, Map, Place, Seq, place_of, size
from sandboxes.blueprints.compose.verdicts import refuse
from sandboxes.blueprints.messages import describe_error

SERVICE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
ROOT_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID")
"""Those that a service in `x-sandbox.root` has."""
ROOT_USERS = ("root", "0")
ALIAS = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
MAX_ALIASES = 20
MAX_SERVICES = 100
ALL_PROFILES = "*"

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Chosen:
    """What the `x-sandbox` section chooses of the services."""

    profiles: Mapping[str, tuple[KeyPath, Place]]
    """Names of profiles, and where they are chosen."""
    root: Collection[str]
    """Services that may run as root."""


@dataclass
class Stack:
    """The active services of a blueprint. A service with problems is left out."""

    tree: Map
    services: dict[str, Service] = field(default_factory=dict)
    configs: dict[str, FileSource] = field(default_factory=dict)
    secrets: dict[str, FileSource] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    """All active services, those with problems included."""

    def place(self, path: KeyPath) -> Place:
        """Return the place of a key."""
        return place_of(self.tree, path)

    def dependencies(self, name: str) -> dict[str, Condition]:
        """Return what a service waits for; links wait for the start of a service."""
        service = self.services[name]
        found = {
            other: dependency.condition
            for other, dependency in service.depends_on.items()
            if other in self.names
        }
        for link in service.links:
            target = link.partition(":")[0]
            if target in self.names and target != name:
                found.setdefault(target, Condition.STARTED)
        return found

    @cached_property
    def one_shot(self) -> frozenset[str]:
        """Services for whose completion others wait; call it once all services are there."""
        return frozenset(
            other
            for name in self.services
            for other, condition in self.dependencies(name).items()
            if condition is Condition.COMPLETED
        )

    @cached_property
    def _link_aliases(self) -> dict[str, dict[str, None]]:
        """The names that links give to each service, in order."""
        found: dict[str, dict[str, None]] = {}
        for service in self.services.values():
            for link in service.links:
                target, _, alias = link.partition(":")
                found.setdefault(target, {})[alias] = None
        return found

    def aliases(self, name: str) -> tuple[str, ...]:
        """Return the further names by which others reach a service."""
        service = self.services[name]
        found = [service.container_name]
        found += [alias for network in service.networks.values() for alias in network.aliases]
        found += self._link_aliases.get(name, {})
        usable = (alias for alias in found if ALIAS.fullmatch(alias) and alias not in self.names)
        return tuple(dict.fromkeys(usable))[:MAX_ALIASES]


def read_stack(
    tree: Map,
    chosen: Chosen,
    findings: Findings,
    budget: Budget,
) -> Stack:
    """Return the services whose profiles are active.

    Raises TooLarge if they have too many volumes of each other.
    """
    stack = Stack(tree)
    profiles, root = chosen.profiles, chosen.root
    written = _named_services(stack, findings)
    _check_profiles(written, profiles, tree, findings)
    active = {name: one for name, one in written.items() if _is_active(one, profiles)}
    stack.names = tuple(active)
    for name, service in active.items():
        complete = _with_volumes_of_others(service, active, name, findings, budget)
        parsed = _read_service(name, complete, stack, root, findings)
        if parsed:
            stack.services[name] = parsed
    for name in stack.services:
        _check_service(name, stack, root, findings)
    for key, target in (("configs", stack.configs), ("secrets", stack.secrets)):
        for name, source in _mappings(tree.get(key)):
            parsed_source = _validate(FileSource, source, (key, name), stack, findings)
            if parsed_source:
                target[name] = parsed_source
    for name, volume in _mappings(tree.get("volumes")):
        refuse(volume, ("volumes", name), findings)
    _check_order(stack, findings)
    return stack


def _named_services(stack: Stack, findings: Findings) -> dict[str, Map]:
    """Return the services as they are written, except those with invalid names."""
    services = stack.tree.get("services")
    if not isinstance(services, Map) or not services:
        if not findings.problems:
            remedy = "Write one entry for each container of the sandbox."
            place = stack.place(("services",))
            findings.problem(place, ("services",), "The file has no services.", remedy)
        return {}
    if len(services) > MAX_SERVICES:
        message = f"The file has more than {MAX_SERVICES} services."
        findings.problem(stack.place(("services",)), ("services",), message, "Remove some.")
        return {}
    found = {}
    for name, service, place in services.entries():
        if not SERVICE_NAME.fullmatch(name):
            remedy = "Choose a short name of letters, digits, dots, dashes and underscores."
            findings.problem(place, ("services", name), "Invalid name.", remedy)
        elif isinstance(service, Map):
            found[name] = service
    return found


def _read_service(
    name: str, service: Map, stack: Stack, root: Collection[str], findings: Findings
) -> Service | None:
    path = ("services", name)
    judged = refuse(service, path, findings, ROOT_CAPABILITIES if name in root else ())
    if isinstance(judged.get("build"), Map):
        build = refuse(judged["build"], (*path, "build"), findings)
        judged.put("build", build, judged.places["build"])
    return _validate(Service, judged, path, stack, findings)


def _mappings(value: Any) -> Iterator[tuple[str, Map]]:
    if isinstance(value, Map):
        yield from ((name, item) for name, item in value.items() if isinstance(item, Map))


def _validate(
    model: type[Model], value: Map, path: KeyPath, stack: Stack, findings: Findings
) -> Model | None:
    """Return the value as a model, or, after reporting them, without its malformed keys."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        report_errors(error, path, stack.tree, findings)
        remaining = value.copy()
        for detail in error.errors(include_url=False, include_input=False):
            remaining.drop(str(detail["loc"][0]) if detail["loc"] else "")
        return (
            _validate(model, remaining, path, stack, findings)
            if len(remaining) < len(value)
            else None
        )


def report_errors(error: ValidationError, path: KeyPath, tree: Map, findings: Findings) -> None:
    """Add the errors of a model whose value is at a path of the tree."""
    for detail in error.errors(include_url=False, include_input=False):
        parts = (*path, *(part for part in detail["loc"] if part != "[key]"))
        findings.problem(place_of(tree, parts), parts, *describe_error(detail))


# --- profiles and volumes_from -------------------------------------------------------------------


def _profiles_of(service: Map) -> Sequence[Any]:
    profiles = service.get("profiles")
    return profiles if isinstance(profiles, Seq) else ()


def _is_active(service: Map, profiles: Collection[str]) -> bool:
    own = _profiles_of(service)
    return not own or ALL_PROFILES in profiles or any(profile in profiles for profile in own)


def _check_profiles(
    services: Mapping[str, Map],
    profiles: Mapping[str, tuple[KeyPath, Place]],
    tree: Map,
    findings: Findings,
) -> None:
    known = {str(profile) for service in services.values() for profile in _profiles_of(service)}
    remedy = f"Name some of the profiles: {listed(sorted(known)) or 'there are none'}."
    for profile, (path, place) in profiles.items():
        if profile != ALL_PROFILES and profile not in known:
            message = f"No service has the profile {shortened(profile)}."
            findings.problem(place, path, message, remedy)
    if services and not any(_is_active(service, profiles) for service in services.values()):
        place = place_of(tree, ("services",))
        remedy = f"Name some in x-sandbox.profiles: {listed(sorted(known))}."
        findings.problem(place, ("services",), "Every service has a profile.", remedy)
        return
    for name, service in services.items():
        if not _is_active(service, profiles):
            message = "This service is not started: x-sandbox.profiles names none of its profiles."
            findings.note(place_of(tree, ("services", name)), ("services", name), message)


def _with_volumes_of_others(
    service: Map, services: Mapping[str, Map], name: str, findings: Findings, budget: Budget
) -> Map:
    """Return a service with the volumes that `volumes_from` names."""
    sources = service.get("volumes_from")
    if not isinstance(sources, Seq):
        return service
    done = service.copy()
    done.drop("volumes_from")
    mounts = Seq(service.place)
    for index, (source, place) in enumerate(sources.entries()):
        other = services.get(str(source).partition(":")[0])
        if other is None:
            path = ("services", name, "volumes_from", index)
            remedy = f"Name one of the services: {listed(services)}."
            findings.problem(place, path, "Unknown service.", remedy)
            continue
        volumes = other.get("volumes")
        with located(place, ("services", name, "volumes_from", index)):
            budget.copy(*size(volumes))
        for mount, own in _entries(volumes):
            mounts.add(mount, own)
    for mount, own in _entries(service.get("volumes")):
        mounts.add(mount, own)
    done.put("volumes", mounts, service.places["volumes_from"])
    return done


def _entries(value: Any) -> Iterator[tuple[Any, Place]]:
    if isinstance(value, Seq):
        yield from value.entries()


# --- consistency ---------------------------------------------------------------------------------


def _check_service(name: str, stack: Stack, root: Collection[str], findings: Findings) -> None:
    path: KeyPath = ("services", name)
    service = stack.services[name]
    sources = {dotted((*path, key)) for key in ("image", "build", "extends")}
    is_reported = bool(findings.unread_files) or any(
        problem.key in sources for problem in findings.problems
    )
    if not service.image and not service.build and not is_reported:
        message = "This service has neither an image nor a build."
        findings.problem(stack.place(path), (*path, "image"), message, "Name an image.")
    if service.user.partition(":")[0] in ROOT_USERS and name not in root:
        findings.problem(
            stack.place((*path, "user")),
            (*path, "user"),
            "Services don't run as root.",
            "Name a user of the image or a user id above 0, or name the service in "
            "x-sandbox.root if it has to be root.",
        )
    for port in service.ports:
        if port.protocol != "tcp":
            message = f"Port {port.target}/{port.protocol} is not published; only TCP ports are."
            findings.note(stack.place((*path, "ports")), (*path, "ports"), message)
    for other, dependency in service.depends_on.items():
        _check_dependency(name, other, dependency, stack, findings)


def _check_dependency(
    name: str, other: str, dependency: Dependency, stack: Stack, findings: Findings
) -> None:
    path = ("services", name, "depends_on", other)
    if other in stack.names:
        known = stack.services.get(other)
        if dependency.condition is Condition.HEALTHY and known and not known.health_command:
            message = f"The service {other} has no health check here: it is healthy once it runs."
            findings.note(stack.place(path), path, message)
        return
    if not dependency.required or findings.unread_files:
        return
    services = stack.tree.get("services")
    if isinstance(services, Map) and other in services:
        message = f"The service {other} is not started: its profiles are not active."
        remedy = "Add one of its profiles to x-sandbox.profiles."
    else:
        message = f"Unknown service {other}."
        remedy = f"Name one of the services: {listed(stack.names)}."
    findings.problem(stack.place(path), path, message, remedy)


def _check_order(stack: Stack, findings: Findings) -> None:
    graph = {name: stack.dependencies(name) for name in stack.services}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle = list(reversed(error.args[1]))
        path = ("services", str(circle[0]), "depends_on")
        message = f"The services wait for each other in a circle: {' → '.join(circle)}."
        findings.problem(stack.place(path), path, message, "Remove one of these dependencies.")
