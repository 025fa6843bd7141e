"""Preparation of images for a sandbox: pull or build, then adapt to the confinement.

Data has to live in the container's own layer, where the disk limit, resets and measurements reach
it. So an image's volumes become directories, and files of the blueprint are copied into it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any

from docker import APIClient
from docker.utils import parse_repository_tag

from sandboxes.runtime import ImageBuild, ImageRecipe, image_name
from sandboxes.runtime.docker.client import EngineClient, run_parallel
from sandboxes.runtime.docker.images.build import IMAGE, INPUTS, ensure_built, is_outdated
from sandboxes.runtime.docker.images.build_context import BuildContext
from sandboxes.runtime.docker.images.derive import derive
from sandboxes.runtime.docker.images.errors import ImageError, at
from sandboxes.runtime.docker.images.folder_contents import FolderContents
from sandboxes.runtime.docker.images.image_files import ImageFiles, UnknownUser, User, reading
from sandboxes.runtime.docker.images.layer import TOO_LARGE, Layer, bind_fingerprints
from sandboxes.runtime.docker.images.pull import Log, ensure_pulled, inspect
from sandboxes.runtime.docker.images.removal import BUILT_TAG, remove_unnamed

PREPARE_VERSION = "2"
"""Part of every hash. Change it to prepare all images again after a change of this package."""
HASH_LENGTH = 16
MAX_SUGGESTED_USERS = 5
SPECIAL = "neither a file nor a folder"


@dataclass(frozen=True)
class PreparedImage:
    """An image that is ready for launches: its name with the hash of its inputs, and its ID."""

    name: str
    id: str


@dataclass(frozen=True)
class ImageProblem:
    """What keeps an image from running in a sandbox, with its place in the blueprint."""

    place: str
    message: str
    remedy: str


def prepare_images(
    engine: EngineClient,
    blueprint: str,
    recipes: Mapping[str, ImageRecipe],
    log: Log,
    *,
    force: bool = False,
    pull: bool = False,
) -> dict[str, PreparedImage]:
    """Pull or build the images of a blueprint and prepare them; return them by service.

    What is up to date isn't done again, unless forced; `pull` looks for newer images in their
    registries. The names change to the new images only if all succeed. Raises ImageError,
    EngineRefused, EngineUnreachable.
    """
    with engine.calling("prepare images") as client:
        sources = source_images(engine, client, blueprint, recipes, log, force=force, pull=pull)
        preparation = Preparation(client, blueprint, log, force)
        try:
            prepared = run_parallel(
                [
                    partial(preparation.prepare, service, recipe, sources[service])
                    for service, recipe in recipes.items()
                ]
            )
            for service, image in zip(recipes, prepared, strict=True):
                repository, tag = image.name.rsplit(":", 1)
                client.tag(image.id, repository, tag)
                client.tag(image.id, image_name(blueprint, service), "latest")
        except BaseException:
            preparation.discard()
            raise
    return dict(zip(recipes, prepared, strict=True))


def source_images(
    engine: EngineClient,
    client: APIClient,
    blueprint: str,
    recipes: Mapping[str, ImageRecipe],
    log: Log,
    *,
    force: bool,
    pull: bool,
) -> dict[str, str]:
    """Return the ID of each service's image as it was built or pulled. Raises ImageError.

    Builds come first, since another service may use the result by its name.
    """
    built = {service: recipe for service, recipe in recipes.items() if recipe.build}
    pulled = {service: recipe for service, recipe in recipes.items() if not recipe.build}
    own_names = {recipe.image for recipe in built.values()}

    def build(service: str, recipe: ImageRecipe) -> str:
        assert recipe.build
        with at(f"services.{service}.build"):
            name = source_name(blueprint, service, recipe)
            found = ensure_built(engine, client, name, recipe.build, log, force=force)
        if recipe.image != image_name(blueprint, service):
            repository, tag = parse_repository_tag(recipe.image)
            client.tag(found, repository, tag or "latest")
        return found

    def ensure(service: str, recipe: ImageRecipe) -> str:
        always = (pull or recipe.pull_always) and recipe.image not in own_names
        with at(f"services.{service}.image"):
            return ensure_pulled(client, recipe.image, log, always=always)

    ids = run_parallel([partial(build, *item) for item in built.items()])
    ids += run_parallel([partial(ensure, *item) for item in pulled.items()])
    return dict(zip([*built, *pulled], ids, strict=True))


def source_name(blueprint: str, service: str, recipe: ImageRecipe) -> str:
    """Return the name under which the engine has a service's image before it is prepared."""
    return f"{image_name(blueprint, service)}:{BUILT_TAG}" if recipe.build else recipe.image


@dataclass
class Preparation:
    """Adaptation of a blueprint's images to the confinement. New images have no name yet."""

    client: APIClient
    blueprint: str
    log: Log
    force: bool = False
    made: list[str] = field(default_factory=list)

    def prepare(self, service: str, recipe: ImageRecipe, source_id: str) -> PreparedImage:
        """Return the adapted image of a service. Raises ImageError."""
        with at(f"services.{service}"):
            name = image_name(self.blueprint, service)
            folders = FolderContents(TOO_LARGE)
            inputs = inputs_of(recipe, source_id, folders)
            for path in sorted(folders.special):
                self.log(f"{name}: {path} is left out, since it is {SPECIAL}")
            full_name = f"{name}:{inputs[:HASH_LENGTH]}"
            found = inspect(self.client, full_name)
            if found and not self.force:
                self.log(f"{name}: up to date")
                return PreparedImage(full_name, str(found["Id"]))
            self.log(f"{name}: preparing")
            labels = {IMAGE: name, INPUTS: inputs}
            return PreparedImage(full_name, self._adapt(recipe, source_id, labels))

    def _adapt(self, recipe: ImageRecipe, source_id: str, labels: Mapping[str, str]) -> str:
        source = inspect(self.client, source_id)
        volumes = sorted(source["Config"].get("Volumes") or {})
        # Read without the volumes, which would be created for the container that is read.
        check_volumes(recipe, volumes)
        flat_id = self._derive(source, labels) if volumes else source_id
        with reading(self.client, flat_id, labels[IMAGE]) as files:
            layer = Layer(files, check_user(recipe, source["Config"], files))
            layer.add_recipe(recipe, volumes)
        if not layer.entries:
            return flat_id
        with layer.write() as archive:
            image_id = self._derive(source, labels, archive)
        if volumes:
            remove_unnamed(self.client, flat_id)
        return image_id

    def _derive(
        self, source: Mapping[str, Any], labels: Mapping[str, str], layer: IO[bytes] | None = None
    ) -> str:
        image_id = derive(self.client, source, labels, layer)
        self.made.append(image_id)
        return image_id

    def discard(self) -> None:
        """Remove the new images that have no name."""
        for image_id in self.made:
            remove_unnamed(self.client, image_id)


def check_volumes(recipe: ImageRecipe, volumes: Sequence[str]) -> None:
    """Raise ImageError if a service can't write to the volumes of its image."""
    mounted = {*recipe.tmpfs, *recipe.shared_directories}
    if recipe.read_only and (lost := [path for path in volumes if path not in mounted]):
        raise ImageError(
            f"The image {recipe.image} keeps data in {', '.join(lost)}, but the service is "
            "read-only.",
            "Remove `read_only`, or mount a `tmpfs` there.",
        )


def check_user(recipe: ImageRecipe, config: Mapping[str, Any], files: ImageFiles) -> User:
    """Return the user of a service. Raises ImageError if it is root without permission."""
    try:
        user = files.user(recipe.user or config.get("User") or "")
    except UnknownUser as error:
        raise ImageError(
            f"The image {recipe.image} has no user or group “{error}”.",
            f"Set `user` to a user of the image{suggestion(files)} or to a number.",
        ) from error
    if user.is_root and not recipe.root:
        raise ImageError(
            f"The image {recipe.image} runs as root.",
            f"Set `user`, or x-sandbox.users, to a user of the image{suggestion(files)} or to a "
            "number; or name the service in x-sandbox.root, which needs SANDBOX_ROOT_SERVICES.",
        )
    if recipe.needs_shell and not files.has_shell():
        raise ImageError(
            f"The image {recipe.image} has no /bin/sh, which secrets in files need.",
            "Pass the secrets as environment variables, or use an image with a shell.",
        )
    return user


def suggestion(files: ImageFiles) -> str:
    names = files.users()[:MAX_SUGGESTED_USERS]
    return f" ({', '.join(names)})" if names else ""


def images_to_build(
    engine: EngineClient, blueprint: str, recipes: Mapping[str, ImageRecipe]
) -> list[str]:
    """Return the services whose images aren't built yet, or were built from other files.

    Raises EngineRefused, EngineUnreachable.
    """
    with engine.calling("describe images") as client:
        found = []
        for service, recipe in recipes.items():
            name = source_name(blueprint, service, recipe)
            if recipe.build and (
                not inspect(client, name) or is_outdated(client, name, recipe.build)
            ):
                found.append(service)
    return found


def check_images(
    engine: EngineClient, blueprint: str, recipes: Mapping[str, ImageRecipe]
) -> list[ImageProblem]:
    """Return what keeps images that the engine has from running in a sandbox.

    Nothing is pulled or built. Raises EngineRefused, EngineUnreachable.
    """
    problems = []
    with engine.calling("check images") as client:
        for service, recipe in recipes.items():
            found = inspect(client, source_name(blueprint, service, recipe))
            if not found:
                continue
            try:
                name = image_name(blueprint, service)
                volumes = sorted(found["Config"].get("Volumes") or {})
                with at(f"services.{service}"), reading(client, found["Id"], name) as files:
                    check_volumes(recipe, volumes)
                    check_user(recipe, found["Config"], files)
            except ImageError as error:
                problems.append(ImageProblem(error.place, error.message, error.remedy))
    return problems


@dataclass
class FolderCheck:
    """Counts what images get from folders, without an engine; each folder only once."""

    visited: int = 0
    counted: dict[tuple[object, ...], FolderContents | ImageError] = field(default_factory=dict)

    def volumes(self, recipe: ImageRecipe) -> FolderContents | ImageError:
        """Return what a service mounts, or why that is too much."""
        sources = [bind.source.resolve() for bind in recipe.binds.values()]
        return self._count(tuple(sources), partial(FolderContents, TOO_LARGE), sources)

    def build(self, build: ImageBuild) -> FolderContents | ImageError:
        """Return what a Dockerfile may copy, or why that is too much."""
        key = (build.context, build.dockerfile, build.dockerfile_inline)
        return self._count(key, BuildContext(build).contents, [build.context])

    def _count(
        self, key: tuple[object, ...], contents: Callable[[], FolderContents], sources: list[Path]
    ) -> FolderContents | ImageError:
        if key not in self.counted:
            try:
                self.counted[key] = folders = contents()
                folders.visited = self.visited
                try:
                    folders.count(*sources)
                finally:
                    self.visited = folders.visited
            except ImageError as error:
                self.counted[key] = error
        return self.counted[key]


def check_folders(
    recipes: Mapping[str, ImageRecipe],
) -> tuple[list[ImageProblem], dict[str, list[Path]]]:
    """Return which images would get too much from folders, and what each service doesn't get.

    The latter are FIFOs, sockets and devices in folders that it mounts. Needs no engine.
    """
    check, problems, special = FolderCheck(), [], {}
    for service, recipe in recipes.items():
        mounted = check.volumes(recipe)
        found = {"volumes": mounted} | (
            {"build": check.build(recipe.build)} if recipe.build else {}
        )
        for key, one in found.items():
            if isinstance(one, ImageError):
                problems.append(ImageProblem(f"services.{service}.{key}", one.message, one.remedy))
        if isinstance(mounted, FolderContents) and mounted.special:
            special[service] = sorted(mounted.special)
    return problems, special


def inputs_of(recipe: ImageRecipe, source_id: str, folders: FolderContents) -> str:
    """Return the hash of everything that a prepared image depends on. Raises ImageError."""
    facts: list[Any] = [
        PREPARE_VERSION,
        source_id,
        recipe.user,
        recipe.root,
        recipe.needs_shell,
        sorted(recipe.directories),
        sorted(recipe.shared_directories),
        sorted(recipe.tmpfs),
        bind_fingerprints(recipe.binds, folders),
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
