"""`manage.py prepare_processes`: prepare the templates of process sandboxes."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from sandboxes.blueprints import folders
from sandboxes.preparation import images
from sandboxes.runtime import RuntimeFailure


class Command(BaseCommand):
    help = (
        "Prepares missing and outdated templates for services that run as processes "
        "(SANDBOX_RUNTIME=process)."
    )
    requires_system_checks = ()

    def handle(self, **_: Any) -> None:
        try:
            images.prepare_templates(folders.read().valid.values(), self._print)
        except RuntimeFailure as error:
            raise CommandError(str(error)) from error

    def _print(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
