"""`manage.py build_images`: the images of the blueprints are on the engine and up to date."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from sandboxes.blueprints import BlueprintNotFound, available, load
from sandboxes.runtime import RuntimeFailure
from sandboxes.runtime.docker.client import EngineClient
from sandboxes.runtime.docker.images import BuildFailed, ImageBuild, ensure_images

PATIENCE_SECONDS = 600
"""How long a build may say nothing."""


class Command(BaseCommand):
    help = "Builds the images of the blueprints, those that are missing or out of date."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("blueprint", nargs="*", help="only of these; of all if none is named")
        parser.add_argument("--force", action="store_true", help="build up-to-date images, too")

    def handle(self, **options: Any) -> None:
        wanted = self._wanted(options["blueprint"])
        engine = EngineClient(settings.DOCKER_HOST, PATIENCE_SECONDS)
        try:
            with engine.calling("build images") as client:
                ensure_images(client, wanted, self._say, force=options["force"])
        except BuildFailed as error:
            self.stderr.write(error.output)
            raise CommandError(str(error)) from error
        except RuntimeFailure as error:
            raise CommandError(str(error)) from error

    def _wanted(self, names: Collection[str]) -> list[ImageBuild]:
        try:
            blueprints = [load(name) for name in names] or available().values()
        except BlueprintNotFound as error:
            raise CommandError(str(error)) from error
        builds = {image: spec for one in blueprints for image, spec in one.builds.items()}
        return [ImageBuild(image, spec.context, spec.dockerfile) for image, spec in builds.items()]

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
