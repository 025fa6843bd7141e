"""`manage.py prepare_processes`: prepare the templates of process sandboxes."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from sandboxes.blueprints import available
from sandboxes.runtime import RuntimeFailure
from sandboxes.runtime.process.runtime import ProcessRuntime
from sandboxes.runtime.process.templates import TemplateBuild


class Command(BaseCommand):
    help = (
        "Prepares missing and outdated templates for services that run as processes "
        "(SANDBOX_RUNTIME=process)."
    )
    requires_system_checks = ()

    def handle(self, **_: Any) -> None:
        wanted = {
            image: TemplateBuild(image, one.files, one.requirements, one.command)
            for blueprint in available().values()
            for image, one in blueprint.preparations.items()
        }
        try:
            ProcessRuntime.from_settings().templates.ensure(wanted.values(), self._print)
        except RuntimeFailure as error:
            raise CommandError(str(error)) from error

    def _print(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
