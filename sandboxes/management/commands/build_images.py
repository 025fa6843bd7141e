"""`manage.py build_images`: pull, build and prepare the images of the blueprints."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from sandboxes.blueprints import Blueprint, BlueprintNotFound, available, load
from sandboxes.runtime import RuntimeFailure
from sandboxes.runtime.docker.client import EngineClient
from sandboxes.runtime.docker.images.errors import ImageError
from sandboxes.runtime.docker.images.prepare import prepare_images

SILENCE_SECONDS = 600
"""How long a build or a download may take without output."""


class Command(BaseCommand):
    help = "Pulls, builds and prepares the images of the blueprints that are missing or outdated."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("blueprint", nargs="*", help="blueprints to prepare; all by default")
        parser.add_argument("--force", action="store_true", help="also build up-to-date images")
        parser.add_argument(
            "--pull", action="store_true", help="look for newer images in the registries"
        )

    def handle(self, **options: Any) -> None:
        engine = EngineClient(settings.DOCKER_HOST, SILENCE_SECONDS)
        for blueprint in self._wanted(options["blueprint"]):
            try:
                prepare_images(
                    engine,
                    blueprint.name,
                    blueprint.recipes,
                    self._print,
                    force=options["force"],
                    pull=options["pull"],
                )
            except ImageError as error:
                self.stderr.write(error.output)
                raise CommandError(str(error)) from error
            except RuntimeFailure as error:
                raise CommandError(str(error)) from error

    def _wanted(self, names: Collection[str]) -> Sequence[Blueprint]:
        try:
            return [load(name) for name in names] or list(available().values())
        except BlueprintNotFound as error:
            raise CommandError(str(error)) from error

    def _print(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
