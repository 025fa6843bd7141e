"""Read all Compose files of a blueprint and merge them into one tree in normal form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sandboxes.blueprints.compose.budget import located
from sandboxes.blueprints.compose.findings import Findings, Malformed
from sandboxes.blueprints.compose.reading.env_files import InvalidEnvFile, fixed_variables
from sandboxes.blueprints.compose.reading.merge import merge
from sandboxes.blueprints.compose.reading.normal_form import Normalizer
from sandboxes.blueprints.compose.reading.source_files import SourceFiles
from sandboxes.blueprints.compose.reading.variables import Variables, finish, substitute
from sandboxes.blueprints.compose.reading.yaml_reader import InvalidYaml
from sandboxes.blueprints.compose.tree import KeyPath, Map, Place, Removed, Replacing, Seq, size
from sandboxes.blueprints.compose.verdicts import EXTENSION, has_effect, judge

COMPOSE_FILES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
"""In the order of Compose: the first one that exists counts."""

ENV_FILE = ".env"
SECTION = "x-sandbox"

MAX_CHAIN = 20
PORTAL_PREFIX = "SANDBOX_"
"""Beginning of the variables that the portal sets; another one is a mistake."""

FILLED_AT_LAUNCH = {
    "services": ({"environment", "command", "entrypoint", "healthcheck"}, 2),
    "configs": ({"content"}, 2),
    "secrets": ({"content"}, 2),
}
"""Where a text may contain variables that differ between sandboxes: top-level key, then key."""


def find_compose_file(folder: Path) -> Path | None:
    """Return the Compose file of a folder, or None."""
    return next((folder / name for name in COMPOSE_FILES if (folder / name).exists()), None)


def find_override_file(compose_file: Path) -> Path | None:
    """Return the file that Compose merges over this one, or None."""
    for suffix in (".yml", ".yaml"):
        override = compose_file.with_name(f"{compose_file.stem}.override{suffix}")
        if override.exists():
            return override
    return None


def read_document(file: Path, files: SourceFiles, findings: Findings) -> Map:
    """Return the content of a file as it is written; empty if it can't be read."""
    place = Place(file)
    merged = Map(place)
    try:
        for document in files.yaml(file):
            if not isinstance(document, Map):
                message = "The file is not a mapping of keys to values."
                raise Malformed(message, "Write KEY: VALUE lines.")
            merged = merge(merged, document)
    except Malformed as error:
        findings.malformed(error.place if isinstance(error, InvalidYaml) else place, (), error)
        findings.unread_files.add(file)
        return Map(place)
    return merged


def read_env(
    folder: Path, files: SourceFiles, variables: Variables, findings: Findings
) -> Variables:
    """Return the variables with those of the folder's `.env` added, which they override."""
    file = folder / ENV_FILE
    if not file.is_file():
        return variables
    try:
        with located(Place(file)):
            return variables.with_defaults(fixed_variables(files.text(file), variables))
    except InvalidEnvFile as error:
        findings.malformed(Place(file, error.line), (), error)
    except Malformed as error:
        findings.malformed(Place(file), (), error)
    return variables


@dataclass
class ProjectReader:
    """Reads the files of one blueprint."""

    files: SourceFiles
    findings: Findings
    open_files: tuple[Path, ...] = ()
    """The files that include each other on the way to the current one."""
    normalized: dict[tuple[Path, Path], Map] = field(default_factory=dict)
    complete: dict[tuple[Path, Path, str], Map] = field(default_factory=dict)
    """Services with all that they extend."""

    def read(self, paths: Sequence[Path], folder: Path, variables: Variables) -> Map:
        """Return the merged content of files, with what they include.

        Relative paths in them start at `folder`.
        """
        merged = Map(Place(paths[0]))
        for path in paths:
            tree = self._extended(self._file(path, folder, variables), path, folder, variables)
            included = self._included(tree, path, variables)
            merged = merge(merged, merge(included, tree))
        merged.drop("include")
        return merged

    def _file(self, path: Path, folder: Path, variables: Variables) -> Map:
        """Return one file in normal form."""
        key = (path, folder)
        if key not in self.normalized:
            written = read_document(path, self.files, self.findings)
            written.drop(SECTION)
            judged = judge(written, (), self.findings)
            filled = _Filler(variables, self.findings).fill(judged, ())
            normalizer = Normalizer(folder, self.files, variables, self.findings)
            self.normalized[key] = normalizer.document(filled)
        return self.normalized[key]

    # --- include -------------------------------------------------------------------------------

    def _included(self, tree: Map, path: Path, variables: Variables) -> Map:
        """Return the merged content of all files that a file includes."""
        merged = Map(tree.place)
        entries = tree.get("include")
        if entries is None:
            return merged
        for index, (entry, place) in enumerate(_as_list(entries, tree.places["include"]).entries()):
            own = ("include", index)
            try:
                with located(place, own):
                    found = self._include(entry, place, path, variables)
            except Malformed as error:
                self.findings.malformed(place, own, error)
                continue
            merged = merge(merged, found)
        return merged

    def _include(self, entry: Any, place: Place, path: Path, variables: Variables) -> Map:
        self.files.count_inclusion()
        options = entry if isinstance(entry, Map) else Map(place)
        names = options.get("path") if isinstance(entry, Map) else entry
        paths = [self._below(path.parent, name) for name in _as_list(names, place)]
        if not paths:
            raise Malformed("The path is missing.", "Name a Compose file.")
        repeated = [one for one in paths if one in (*self.open_files, path)]
        if repeated:
            raise Malformed("This file includes itself.", "Remove the include.")
        folder = paths[0].parent
        if options.get("project_directory"):
            folder = self._below(path.parent, options["project_directory"])
        if options.get("env_file"):
            for name in reversed(_as_list(options["env_file"], place)):
                text = self.files.text(self._below(path.parent, name))
                variables = variables.with_defaults(fixed_variables(text, variables))
        else:
            variables = read_env(folder, self.files, variables, self.findings)
        for one in paths:
            self._require(one)
        reader = replace(self, open_files=(*self.open_files, path), normalized={}, complete={})
        return reader.read(paths, folder, variables)

    def _below(self, folder: Path, name: Any) -> Path:
        if not isinstance(name, str) or "://" in name or name.startswith("oci:"):
            raise Malformed(
                "Only files of the blueprint's folder can be included.", "Write a relative path."
            )
        return self.files.resolve(folder / name)

    def _require(self, file: Path) -> None:
        """Raise Malformed if a file doesn't exist, at the place that names it."""
        if not file.exists():
            self.findings.unread_files.add(file)
            name = file.relative_to(self.files.boundary).as_posix()
            raise Malformed(f"{name} doesn't exist.", "Add it, or correct the path.")

    # --- extends -------------------------------------------------------------------------------

    def _extended(self, tree: Map, path: Path, folder: Path, variables: Variables) -> Map:
        """Return a file with the services that its services extend merged in."""
        services = tree.get("services")
        if not isinstance(services, Map):
            return tree
        done = services.copy()
        for name, service, place in services.entries():
            if isinstance(service, Map) and "extends" in service:
                own = ("services", name, "extends")
                try:
                    with located(service.places["extends"], own):
                        complete = self._extend(service, name, path, folder, variables, ())
                    done.put(name, complete, place)
                except Malformed as error:
                    self.findings.malformed(service.places["extends"], own, error)
                    done.put(name, _without_extends(service), place)
        extended = tree.copy()
        extended.put("services", done, tree.places["services"])
        return extended

    def _extend(
        self,
        service: Map,
        name: str,
        path: Path,
        folder: Path,
        variables: Variables,
        chain: tuple[tuple[Path, str], ...],
    ) -> Map:
        """Return a service with what it extends. Raises Malformed."""
        extends = service.get("extends")
        if not isinstance(extends, Map):
            return service
        key = (path, folder, name)
        if key in self.complete:
            return self.complete[key]
        if len(chain) > MAX_CHAIN:
            raise Malformed(
                f"More than {MAX_CHAIN} services extend each other.", "Write some of them out."
            )
        if (path, name) in chain:
            raise Malformed("The services extend each other in a circle.", "Remove one `extends`.")
        base_name, base_path, base_folder = str(extends.get("service") or ""), path, folder
        if extends.get("file"):
            base_path = self._below(folder, str(extends["file"]))
            self._require(base_path)
            base_folder = base_path.parent
        tree = self._file(base_path, base_folder, variables)
        services = tree.get("services")
        base = services.get(base_name) if isinstance(services, Map) else None
        if not isinstance(base, Map) and base_path in self.findings.unread_files:
            return _without_extends(service)
        if not isinstance(base, Map):
            problem = f"{base_path.name} has no service {base_name}."
            raise Malformed(
                problem if base_name else "`extends` names no service.",
                "Name a service of that file.",
            )
        base = self._extend(
            base, base_name, base_path, base_folder, variables, (*chain, (path, name))
        )
        base = _without_extends(base)
        self.files.budget.copy(*size(base))
        self.complete[key] = merge(base, _without_extends(service))
        return self.complete[key]


def _without_extends(service: Map) -> Map:
    alone = service.copy()
    alone.drop("extends")
    return alone


@dataclass(frozen=True)
class _Filler:
    """Replaces the variables of a file."""

    variables: Variables
    findings: Findings

    def fill(self, value: Any, path: KeyPath, place: Place | None = None) -> Any:
        if path and (str(path[-1]).startswith(EXTENSION) or not has_effect(path)):
            return value
        with located(place, path):
            self.variables.budget.copy(1, len(value) if isinstance(value, str) else 0)
            return self._filled(value, path, place)

    def _filled(self, value: Any, path: KeyPath, place: Place | None) -> Any:
        if isinstance(value, Map):
            mapping = Map(value.place)
            for key, item, own in value.entries():
                mapping.put(key, self.fill(item, (*path, key), own), own)
            return mapping
        if isinstance(value, Seq):
            items = Seq(value.place)
            for index, (item, own) in enumerate(value.entries()):
                items.add(self.fill(item, (*path, index), own), own)
            return items
        if isinstance(value, Replacing):
            return Replacing(self.fill(value.value, path, place))
        if isinstance(value, str) and "$" in value and place:
            return self._text(value, path, place)
        return value

    def _text(self, text: str, path: KeyPath, place: Place) -> str | Removed:
        def note_unset(name: str) -> None:
            if name.startswith(PORTAL_PREFIX):
                remedy = "Use the variables of docs/blueprints.md."
                self.findings.problem(place, path, f"Unknown variable {name}.", remedy)
                return
            self.findings.unset_variables.setdefault(name)
            message = f"The variable {name} is not set, so its value is empty. Declare it in "
            message += "x-sandbox.secrets or x-sandbox.variables, or set it in .env."
            self.findings.note(place, path, message)

        try:
            filled = substitute(text, replace(self.variables, report_unset=note_unset))
            return filled if _is_filled_at_launch(path) else finish(filled)
        except Malformed as error:
            self.findings.malformed(place, path, error)
            return Removed()


def _is_filled_at_launch(path: KeyPath) -> bool:
    keys, position = FILLED_AT_LAUNCH.get(str(path[0]), (frozenset(), 0))
    return len(path) > position and path[position] in keys


def _as_list(value: Any, place: Place) -> Seq:
    if isinstance(value, Seq):
        return value
    found = Seq(place)
    if value is not None and not isinstance(value, Removed):
        found.add(value, place)
    return found
