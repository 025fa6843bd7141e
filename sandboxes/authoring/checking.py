"""Check a blueprint before it is prepared: its files, and the images that it names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from sandboxes.authoring.locations import folder_of, name_from
from sandboxes.authoring.suggestion import suggested_section
from sandboxes.blueprints import Blueprint, Problem, folders
from sandboxes.blueprints.compose.findings import MAX_LISTED, Findings
from sandboxes.blueprints.compose.reading.project import read_document
from sandboxes.blueprints.compose.reading.source_files import SourceFiles
from sandboxes.blueprints.compose.tree import Map, Place, place_of
from sandboxes.blueprints.loader import (
    SECTION,
    Note,
    boundary_of,
    find_compose_file,
)
from sandboxes.runtime import EngineUnreachable, RuntimeFailure
from sandboxes.runtime.docker.client import EngineClient
from sandboxes.runtime.docker.images.prepare import (
    SPECIAL,
    check_folders,
    check_images,
    images_to_build,
)
from sandboxes.runtime.docker.images.registry import ask_registries, missing_images

REGISTRY_SECONDS = 3.0
UNSEEN = (
    "so its user and volumes aren't checked. `blueprint try` and `blueprint prepare` {verb} and "
    "check it before anything is launched or activated."
)


@dataclass(frozen=True)
class Report:
    """What a check found; the blueprint is None if its files have problems."""

    name: str
    folder: Path
    blueprint: Blueprint | None
    problems: Sequence[Problem]
    notes: Sequence[Note]
    unchecked: Sequence[str] = ()
    """Services whose images couldn't be checked."""
    suggestion: str = ""
    """A `sandbox.yaml` to start from, if there is none."""

    @property
    def is_valid(self) -> bool:
        return not self.problems

    def as_json(self) -> dict[str, Any]:
        """Return the report in a form that can be written as JSON."""
        return {
            "name": self.name,
            "folder": str(self.folder),
            "valid": self.is_valid,
            "problems": [_plain(asdict(problem)) for problem in self.problems],
            "unchecked_images": list(self.unchecked),
            "notes": [_plain(asdict(note)) for note in self.notes],
            "suggested_sandbox_yaml": self.suggestion or None,
        }


def check(path: Path, *, images: bool = True, name: str = "") -> Report:
    """Return what there is to say about a blueprint. Raises AuthoringError without one.

    Nothing is pulled or built. `images` also asks the engine, and registries for the images that
    the engine lacks.
    """
    folder = folder_of(path)
    own_name = name or name_from(folder.name)
    inspection = folders.inspect_folder(folder, own_name)
    blueprint, notes = inspection.blueprint, [*inspection.notes]
    unchecked: list[str] = []
    if not name and own_name != folder.name:
        message = f"`blueprint import` names the blueprint {own_name}, after its folder."
        notes.insert(0, Note(folder, "", message))
    problems = [*inspection.problems, *folders.name_problems(folder, own_name)]
    if blueprint and not blueprint.supports_runtime(settings.SANDBOX_RUNTIME):
        message = "Without an engine, a blueprint is launched only with x-sandbox.process."
        notes.append(Note(folder, SECTION, message))
    elif blueprint and settings.SANDBOX_RUNTIME == "docker":
        unchecked = list(blueprint.recipes)
        found, more = _check_folders(blueprint)
        problems += found
        notes += more
        if images and not found:
            found, more, unchecked = _check_images(blueprint)
            problems += found
            notes += more
    suggestion = suggested_section(blueprint, inspection.unset_variables) if blueprint else ""
    lacks_section = any(note.key == SECTION for note in inspection.notes)
    shown = suggestion if lacks_section else ""
    return Report(own_name, folder, blueprint, problems, notes, unchecked, shown)


def _check_folders(blueprint: Blueprint) -> tuple[list[Problem], list[Note]]:
    """Return problems of folders that images get, and notes about what is left out of them."""
    places = _Places.of(blueprint.path)
    problems, special = check_folders(blueprint.recipes)
    notes = [
        places.note(
            f"services.{service}.volumes",
            f"{path} is {SPECIAL}, so the service doesn't get it. Let a command make it.",
        )
        for service, paths in special.items()
        for path in paths[:MAX_LISTED]
    ]
    return [places.problem(one.place, one.message, one.remedy) for one in problems], notes


def _check_images(blueprint: Blueprint) -> tuple[list[Problem], list[Note], list[str]]:
    """Return problems of the images, and the services that can't be checked yet."""
    places, recipes = _Places.of(blueprint.path), blueprint.recipes
    notes: list[Note] = []
    try:
        engine = EngineClient(settings.DOCKER_HOST, settings.SANDBOX_ENGINE_TIMEOUT_SECONDS)
        unseen = images_to_build(engine, blueprint.name, recipes)
        there = {name: one for name, one in recipes.items() if name not in unseen}
        found = check_images(engine, blueprint.name, there)
        problems = [places.problem(one.place, one.message, one.remedy) for one in found]
        built = {recipe.image for recipe in recipes.values() if recipe.build}
        pulled = {name: one.image for name, one in recipes.items() if one.image not in built}
        missing = missing_images(engine, pulled.values())
    except RuntimeFailure as error:
        note = Note(blueprint.path, "", f"The images aren't checked: {error}")
        return [], [note], list(recipes)
    for service in unseen:
        message = f"The image isn't built from these files yet, {UNSEEN.format(verb='build')}"
        notes.append(places.note(f"services.{service}.build", message))
    answers = ask_registries(EngineClient(settings.DOCKER_HOST, REGISTRY_SECONDS), missing)
    for service, image in pulled.items():
        if image not in answers:
            continue
        key, answer = f"services.{service}.image", answers[image]
        if answer is None or isinstance(answer, EngineUnreachable):
            reason = "" if answer is None else " Its registry gave no answer in time."
            message = f"{image} isn't on the engine yet, {UNSEEN.format(verb='pull')}"
            notes.append(places.note(key, message + reason))
            unseen.append(service)
        else:
            problems.append(places.problem(key, answer.message, answer.remedy))
    return problems, notes, unseen


@dataclass(frozen=True)
class _Places:
    """The places of services in the Compose file, for what is found after it was read."""

    file: Path
    tree: Map

    @classmethod
    def of(cls, folder: Path) -> _Places:
        file = find_compose_file(folder) or folder
        return cls(file, read_document(file, SourceFiles(boundary_of(folder)), Findings()))

    def problem(self, key: str, message: str, remedy: str) -> Problem:
        place = self._place(key)
        return Problem(place.file, key, message, remedy, place.line)

    def note(self, key: str, message: str) -> Note:
        place = self._place(key)
        return Note(place.file, key, message, place.line)

    def _place(self, key: str) -> Place:
        """Return the place of `services.<name>` or a key of it; names may contain dots."""
        services = self.tree.get("services")
        names = services if isinstance(services, dict) else {}
        inner = key.partition(".")[2]
        name = next((one for one in names if inner == one or inner.startswith(f"{one}.")), "")
        keys = [part for part in inner[len(name) + 1 :].split(".") if part] if name else []
        return place_of(self.tree, ("services", name, *keys)) if name else Place(self.file)


def _plain(finding: dict[str, Any]) -> dict[str, Any]:
    return finding | {"file": str(finding["file"]), "line": finding["line"] or None}
