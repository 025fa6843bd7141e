"""`manage.py build_images`: pull, build and prepare the images of the blueprints."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from sandboxes.authoring.errors import printable
from sandboxes.blueprints import Blueprint, folders
from sandboxes.preparation import images
from sandboxes.runtime import RuntimeFailure
from sandboxes.runtime.docker.images.errors import ImageError


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
        wanted = self._wanted(options["blueprint"])
        try:
            for blueprint in wanted:
                images.build(blueprint, self._print, force=options["force"], pull=options["pull"])
        except ImageError as error:
            self.stderr.write(printable(error.output))
            raise CommandError(str(error)) from error
        except RuntimeFailure as error:
            raise CommandError(str(error)) from error

    def _wanted(self, names: Collection[str]) -> list[Blueprint]:
        valid = folders.read().valid
        if unknown := [name for name in names if name not in valid]:
            where = " or ".join(map(str, folders.directories()))
            raise CommandError(f"There is no valid blueprint “{unknown[0]}” in {where}.")
        return [valid[name] for name in names or valid]

    def _print(self, line: str) -> None:
        self.stdout.write(printable(line))
        self.stdout.flush()
