"""Load a blueprint from its folder, or collect all problems with its files."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from pydantic import TypeAdapter, ValidationError

from sandboxes.blueprints import assembly, limits
from sandboxes.blueprints.blueprint import Blueprint
from sandboxes.blueprints.compose.budget import TooLarge
from sandboxes.blueprints.compose.contents import plan_contents
from sandboxes.blueprints.compose.findings import Findings, Note, Problem
from sandboxes.blueprints.compose.mounts import plan_mounts
from sandboxes.blueprints.compose.reading.merge import merge, without_tags
from sandboxes.blueprints.compose.reading.project import (
    COMPOSE_FILES,
    ProjectReader,
    find_compose_file,
    find_override_file,
    read_document,
    read_env,
)
from sandboxes.blueprints.compose.reading.source_files import SourceFiles
from sandboxes.blueprints.compose.reading.variables import Variables
from sandboxes.blueprints.compose.stack import Chosen, read_stack, report_errors
from sandboxes.blueprints.compose.tree import KeyPath, Map, Place, place_of
from sandboxes.blueprints.default_section import default_section
from sandboxes.blueprints.fields import BlueprintName, UserName
from sandboxes.blueprints.interpolation import BUILT_IN_VARIABLES, STELLAR_VARIABLES
from sandboxes.blueprints.sandbox_section import SandboxSection
from sandboxes.blueprints.section_context import SectionContext
from sandboxes.blueprints.validation import validate

__all__ = ["Inspection", "Note", "Problem", "find_compose_file", "inspect", "load_blueprint"]

SECTION = "x-sandbox"
SECTION_FILE = "sandbox.yaml"
SHIPPED = Path(__file__).parent
IMPORT_RECORD = ".imported"
"""A file that `manage.py blueprint import` leaves in a folder, with the folder's source."""


@dataclass(frozen=True)
class Inspection:
    """What there is to say about a folder; the blueprint is None if there are problems."""

    blueprint: Blueprint | None
    problems: Sequence[Problem]
    notes: Sequence[Note]
    unset_variables: Sequence[str] = ()
    """Names of variables that the files use, but that have no value."""


def load_blueprint(
    folder: Path, memory_mb: int, cpus: float
) -> tuple[Blueprint | None, list[Problem]]:
    """Return the blueprint in a folder, or None and all problems with it."""
    inspection = inspect(folder, memory_mb, cpus)
    return inspection.blueprint, list(inspection.problems)


def inspect(folder: Path, memory_mb: int, cpus: float, name: str = "") -> Inspection:
    """Return the blueprint in a folder, with all problems and notes.

    Its services get the given memory and CPUs together. It is named after its folder by default.
    Only regular files below the folder are read.
    """
    findings = Findings()
    # The paths of files that it extends or includes start from its own.
    absolute = folder.absolute()
    blueprint = None
    try:
        blueprint = _Inspector(absolute, name or absolute.name, findings).blueprint(memory_mb, cpus)
    except TooLarge as error:
        place = error.place or Place(find_compose_file(absolute) or absolute)
        findings.problem(place, error.path, str(error), error.remedy)
    problems = findings.sorted_problems()
    return Inspection(
        None if problems else blueprint,
        problems,
        findings.sorted_notes(),
        tuple(findings.unset_variables),
    )


@dataclass(frozen=True)
class _Section:
    """The `x-sandbox` section as it is written, and the keys under which it stands."""

    tree: Map
    prefix: KeyPath
    is_missing: bool = False

    def names(self, key: str) -> list[str]:
        """Return the names that a key lists or maps; empty if it is malformed."""
        value = self.tree.get(key)
        return [str(name) for name in value] if isinstance(value, list | dict) else []

    def places(self, key: str) -> dict[str, tuple[KeyPath, Place]]:
        """Return the names that a key lists, with the path and place of each."""
        found: dict[str, tuple[KeyPath, Place]] = {}
        for index, name in enumerate(self.names(key)):
            path = (key, index)
            found.setdefault(name, ((*self.prefix, *path), place_of(self.tree, path)))
        return found

    def path(self, dotted: str) -> KeyPath:
        """Return the path of `x-sandbox.endpoints.web`; names may contain dots."""
        path: list[str | int] = []
        node: Any = self.tree
        rest = dotted.split(".")[1:]
        while rest:
            if isinstance(node, list) and rest[0].isdigit() and int(rest[0]) < len(node):
                index = int(rest.pop(0))
                path.append(index)
                node = node[index]
                continue
            known = node if isinstance(node, dict) else {}
            lengths = range(len(rest), 0, -1)
            length = next((n for n in lengths if ".".join(rest[:n]) in known), 1)
            name, rest = ".".join(rest[:length]), rest[length:]
            path.append(name)
            node = known.get(name)
        return tuple(path)


@dataclass(frozen=True)
class _Inspector:
    folder: Path
    name: str
    findings: Findings

    def blueprint(self, memory_mb: int, cpus: float) -> Blueprint | None:
        file = find_compose_file(self.folder)
        if file is None:
            remedy = f"Add a {COMPOSE_FILES[0]}."
            self._problem(Place(self.folder), (), "The folder has no Compose file.", remedy)
            return None
        self._check_name(file)
        files = SourceFiles(boundary_of(self.folder))
        override = find_override_file(file)
        paths = [file, override] if override else [file]
        section = self._section(paths, files)
        parsed, malformed = self._parse(section)
        variables = self._variables(section, parsed, files)
        tree = without_tags(ProjectReader(files, self.findings).read(paths, self.folder, variables))
        self._compare_name(tree)
        put_users(tree, section.tree.get("users"))
        chosen = Chosen(section.places("profiles"), section.names("root"))
        stack = read_stack(tree, chosen, self.findings, files.budget)
        mounts = plan_mounts(stack, files, self.findings)
        contents = plan_contents(stack, files, variables, self.findings)
        if parsed is None:
            return None
        if section.is_missing:
            parsed = default_section(stack)
            if stack.services:
                self._note_defaults(paths[0], parsed)
        ports = assembly.published_ports(stack, parsed)
        context = SectionContext(ports, parsed, stack.one_shot)
        if self.findings.unread_files or not stack.names:
            malformed = {*malformed, "services"}
        self._check_section(context, section, malformed, files)
        plan = assembly.Plan(
            self.folder, self.name, stack, parsed, ports, mounts, contents, variables
        )
        return assembly.assemble(plan, memory_mb, cpus, files, self.findings)

    def _problem(self, place: Place, path: KeyPath, message: str, remedy: str) -> None:
        self.findings.problem(place, path, message, remedy)

    # --- name ----------------------------------------------------------------------------------

    def _check_name(self, file: Path) -> None:
        if not is_valid_name(self.name):
            message = f"The folder's name, {self.name}, can't be the name of a blueprint."
            remedy = "Use at most 40 lower-case letters, digits, dashes and underscores."
            self._problem(Place(file), ("name",), message, remedy)

    def _compare_name(self, tree: Map) -> None:
        name = tree.get("name")
        if name and name != self.name:
            message = f"The blueprint is named after its folder, {self.name}."
            self.findings.note(place_of(tree, ("name",)), ("name",), message)

    # --- x-sandbox -----------------------------------------------------------------------------

    def _section(self, paths: Sequence[Path], files: SourceFiles) -> _Section:
        """Return the section of the Compose files, or the file next to them."""
        merged = Map(Place(paths[0]))
        for path in paths:
            merged = merge(merged, read_document(path, files, self.findings))
        own = without_tags(merged).get(SECTION)
        file = self.folder / SECTION_FILE
        if file.exists() or file.is_symlink():
            if own is not None:
                message = f"The section stands here and in {SECTION_FILE}."
                self._problem(merged.places[SECTION], (SECTION,), message, "Remove one of them.")
            tree: Map = without_tags(read_document(file, files, self.findings))
            return _Section(tree, ())
        if own is None:
            return _Section(Map(Place(paths[0])), (SECTION,), is_missing=True)
        if not isinstance(own, Map):
            place = merged.places[SECTION]
            self._problem(
                place, (SECTION,), "This must be a mapping of keys to values.", "Correct it."
            )
            own = Map(place)
        return _Section(own, (SECTION,))

    def _note_defaults(self, file: Path, section: SandboxSection) -> None:
        found = ", ".join(section.endpoints) or "none, since no service publishes a port"
        message = f"Without this section or a {SECTION_FILE}, defaults apply; endpoints: {found}."
        self.findings.note(Place(file), (SECTION,), message)

    def _parse(self, section: _Section) -> tuple[SandboxSection | None, Set[str]]:
        """Return the section without its malformed keys, and these keys."""
        written = plain(section.tree)
        dropped: set[str] = set()
        while True:
            try:
                return SandboxSection.model_validate(written), dropped
            except ValidationError as error:
                tree = Map(section.tree.place)
                tree.put(SECTION, section.tree)
                root = tree if section.prefix else section.tree
                report_errors(error, section.prefix, root, self.findings)
                keys = {str(detail["loc"][0]) for detail in error.errors() if detail["loc"]}
                dropped |= keys
                if not keys & written.keys():
                    return None, dropped
                written = {key: value for key, value in written.items() if key not in keys}

    def _check_section(
        self,
        context: SectionContext,
        section: _Section,
        malformed: Set[str],
        files: SourceFiles,
    ) -> None:
        parsed = context.sandbox
        for key, message, remedy in validate(context, files, self.folder):
            if any(message.startswith(f"Unknown {name.removesuffix('s')} ") for name in malformed):
                continue
            path = section.path(key)
            self._problem(place_of(section.tree, path), (*section.prefix, *path), message, remedy)
        self._cap_limits(parsed, section)
        if parsed.root and not settings.SANDBOX_ROOT_SERVICES:
            message = "Services don't run as root on this portal."
            remedy = "Name a user above 0 in `user` instead, or set SANDBOX_ROOT_SERVICES=true."
            place = place_of(section.tree, ("root",))
            self._problem(place, (*section.prefix, "root"), message, remedy)

    def _cap_limits(self, parsed: SandboxSection, section: _Section) -> None:
        for key, message in limits.caps(assembly.own_limits(parsed)):
            path = ("limits", *key.split("."))
            self.findings.note(place_of(section.tree, path), (*section.prefix, *path), message)

    # --- variables -----------------------------------------------------------------------------

    def _variables(
        self, section: _Section, parsed: SandboxSection | None, files: SourceFiles
    ) -> Variables:
        fixed = section.tree.get("variables")
        per_sandbox: Set[str] = {
            *section.names("secrets"),
            *section.names("parameters"),
            *BUILT_IN_VARIABLES,
        }
        if section.tree.get("stellar") is True:
            per_sandbox |= STELLAR_VARIABLES
        own = {
            str(name): str(value)
            for name, value in (fixed.items() if isinstance(fixed, dict) else ())
            if isinstance(value, str | int | float)
        }
        variables = Variables(
            own, per_sandbox, parsed.longest_values() if parsed else {}, budget=files.budget
        )
        return read_env(self.folder, files, variables, self.findings)


def put_users(tree: Map, users: Any) -> None:
    """Run services of a Compose file as the users that the section names.

    Instead of an invalid one, which is reported as a key of the section, they get none.
    """
    services = tree.get("services")
    if isinstance(users, Map) and isinstance(services, Map):
        for name, user, place in users.entries():
            if isinstance(service := services.get(name), Map):
                service.put("user", str(user) if is_valid(UserName, user) else "", place)


def is_valid_name(name: str) -> bool:
    """Return whether a blueprint can have this name."""
    return is_valid(BlueprintName, name)


def is_valid(kind: Any, value: Any) -> bool:
    """Return whether a value is one of this kind."""
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError:
        return False
    return True


def boundary_of(folder: Path) -> Path:
    """Return the folder that a blueprint's paths must not leave.

    It is the blueprint's own folder, and the project's for blueprints that ship with the portal,
    but not for others next to them, nor for those imported in place of them.
    """
    resolved = folder.resolve()
    shipped = {(SHIPPED / name).resolve() for name in settings.BLUEPRINTS_WITH_PROJECT_FILES}
    ships = resolved in shipped and not (resolved / IMPORT_RECORD).exists()
    return Path(settings.BASE_DIR).resolve() if ships else resolved


def plain(value: Any) -> Any:
    """Return a tree as dictionaries and lists."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value
