"""`manage.py purge_engine`: remove everything of this portal from the engine."""

from __future__ import annotations

import shutil
from functools import partial
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from sandboxes.runtime import EngineRefused, RuntimeFailure, get_runtime
from sandboxes.runtime.docker.client import EngineClient, run_parallel
from sandboxes.runtime.docker.images.build import IMAGE

PATIENCE_SECONDS = 60


class Command(BaseCommand):
    help = (
        "Removes all sandboxes of this portal from the engine, regardless of the database, to "
        "uninstall the portal. Sandboxes of other portals aren't affected."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--yes", action="store_true", help="confirm the removal")
        parser.add_argument(
            "--images",
            action="store_true",
            help="also remove built images, which other portals on the engine may use",
        )

    def handle(self, **options: Any) -> None:
        if not options["yes"]:
            raise CommandError("This destroys all sandboxes of this portal. Pass --yes to confirm.")
        try:
            self.stdout.write(f"Removed {remove_sandboxes()} sandboxes.")
            if settings.SANDBOX_RUNTIME == "process":
                # The templates; no other portal uses them.
                shutil.rmtree(settings.SANDBOX_PROCESS_DIR, ignore_errors=True)
                return
            if options["images"]:
                removed, kept = remove_images()
                self.stdout.write(f"Removed {removed} images; kept {kept} that are in use.")
        except RuntimeFailure as error:
            raise CommandError(str(error)) from error


def remove_sandboxes() -> int:
    """Remove all of this instance's sandboxes and return their number. Raises RuntimeFailure."""
    runtime = get_runtime()
    found = list(runtime.observe())
    run_parallel([partial(runtime.destroy, sandbox_id) for sandbox_id in found])
    return len(found)


def remove_images() -> tuple[int, int]:
    """Remove images with our label; return how many were removed, and how many are in use.

    Raises EngineUnreachable.
    """
    engine, kept = EngineClient(settings.DOCKER_HOST, PATIENCE_SECONDS), 0
    with engine.calling("list images") as client:
        found = client.images(filters={"label": IMAGE})
    # Newest first, since images can't be removed before those that are based on them.
    for image in sorted(found, key=lambda one: one["Created"], reverse=True):
        try:
            with engine.calling("remove an image") as client:
                client.remove_image(image["Id"])
        except EngineRefused:
            kept += 1
    return len(found) - kept, kept
