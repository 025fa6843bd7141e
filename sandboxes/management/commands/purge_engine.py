"""`manage.py purge_engine`: remove everything of this portal from the engine."""

from __future__ import annotations

import shutil
from functools import partial
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from sandboxes.runtime import RuntimeFailure, get_runtime
from sandboxes.runtime.docker.client import EngineClient, run_parallel
from sandboxes.runtime.docker.images.removal import remove_all

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
                removed, kept = remove_all(EngineClient(settings.DOCKER_HOST, PATIENCE_SECONDS))
                self.stdout.write(f"Removed {removed} images; kept {kept} that are in use.")
        except RuntimeFailure as error:
            raise CommandError(str(error)) from error


def remove_sandboxes() -> int:
    """Remove all sandboxes of this instance, and then its save points; return how many sandboxes.

    Raises RuntimeFailure.
    """
    runtime = get_runtime()
    found = list(runtime.observe())
    run_parallel([partial(runtime.destroy, sandbox_id) for sandbox_id in found])
    saved = list(runtime.save_points())
    run_parallel([partial(runtime.remove_save_point, save_point) for save_point in saved])
    return len(found)
