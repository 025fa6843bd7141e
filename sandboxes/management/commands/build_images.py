"""`manage.py build_images`: build missing and outdated images of the blueprints."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from sandboxes.blueprints import BlueprintNotFound, available, load
from sandboxes.runtime import RuntimeFailure
from sandboxes.runtime.docker.client import EngineClient
from sandboxes.runtime.docker.images.build import BuildFailed, NamedBuild, ensure_images

BUILD_TIMEOUT_SECONDS = 600
"""How long a build may take without output."""


class Command(BaseCommand):
    help = "Builds missing and outdated images of the blueprints."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("blueprint", nargs="*", help="blueprints to build; all by default")
        parser.add_argument("--force", action="store_true", help="also build up-to-date images")

    def handle(self, **options: Any) -> None:
        wanted = self._wanted(options["blueprint"])
        engine = EngineClient(settings.DOCKER_HOST, BUILD_TIMEOUT_SECONDS)
        try:
            with engine.calling("build images") as client:
                ensure_images(client, wanted, self._print, force=options["force"])
        except BuildFailed as error:
            self.stderr.write(error.output)
            raise CommandError(str(error)) from error
        except RuntimeFailure as error:
            raise CommandError(str(error)) from error

    def _wanted(self, names: Collection[str]) -> list[NamedBuild]:
        try:
            blueprints = [load(name) for name in names] or available().values()
        except BlueprintNotFound as error:
            raise CommandError(str(error)) from error
        recipes = [recipe for one in blueprints for recipe in one.recipes.values()]
        builds = {recipe.image: recipe.build for recipe in recipes if recipe.build}
        return [NamedBuild(image, build) for image, build in builds.items()]

    def _print(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
