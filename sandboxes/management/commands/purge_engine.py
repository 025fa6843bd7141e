"""`manage.py purge_engine`: leave nothing of this portal on the engine."""

from __future__ import annotations

import shutil
from functools import partial
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from sandboxes.runtime import EngineRefused, RuntimeFailure, get_runtime
from sandboxes.runtime.docker.client import EngineClient, run_parallel
from sandboxes.runtime.docker.images import IMAGE

PATIENCE_SECONDS = 60


class Command(BaseCommand):
    help = (
        "Removes every sandbox of this portal from the engine, whatever the database says of it, "
        "for when the portal itself is to go. Other portals' sandboxes are not touched."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--yes", action="store_true", help="really do it")
        parser.add_argument(
            "--images",
            action="store_true",
            help="also the images that were built, which other portals on the engine may want",
        )

    def handle(self, **options: Any) -> None:
        if not options["yes"]:
            raise CommandError("This destroys every sandbox of this portal; say --yes to do it.")
        try:
            self.stdout.write(f"Removed {remove_sandboxes()} sandboxes.")
            if settings.SANDBOX_RUNTIME == "process":
                # What they were started from, which nobody else uses.
                shutil.rmtree(settings.SANDBOX_PROCESS_DIR, ignore_errors=True)
                return
            if options["images"]:
                removed, kept = remove_images()
                self.stdout.write(f"Removed {removed} images; {kept} are in use and stay.")
        except RuntimeFailure as error:
            raise CommandError(str(error)) from error


def remove_sandboxes() -> int:
    """Remove all of this instance's sandboxes, and say how many. Raises RuntimeFailure."""
    runtime = get_runtime()
    found = list(runtime.observe())
    run_parallel([partial(runtime.destroy, sandbox_id) for sandbox_id in found])
    return len(found)


def remove_images() -> tuple[int, int]:
    """Remove the images that bear our label; how many went, and how many containers kept.

    Raises EngineUnreachable.
    """
    engine, kept = EngineClient(settings.DOCKER_HOST, PATIENCE_SECONDS), 0
    with engine.calling("list images") as client:
        found = client.images(filters={"label": IMAGE})
    # The newest first, since an image can't go before those that were built on it.
    for image in sorted(found, key=lambda one: one["Created"], reverse=True):
        try:
            with engine.calling("remove an image") as client:
                client.remove_image(image["Id"])
        except EngineRefused:
            kept += 1
    return len(found) - kept, kept
