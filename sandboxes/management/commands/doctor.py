"""`manage.py doctor`: diagnose this installation."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from sandboxes.doctor import report
from sandboxes.doctor.findings import Level
from sandboxes.doctor.registry import all_checks
from sandboxes.doctor.runner import Result, overall_level, run_checks


class Command(BaseCommand):
    help = (
        "Checks everything that the portal needs and reports problems with remedies. Run it where "
        "the worker runs. Exits with 1 if there are errors, not for warnings."
    )
    # The doctor runs the system checks itself.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print the findings as JSON")
        parser.add_argument("--mail", metavar="ADDRESS", default="", help="also send a test email")

    def handle(self, **options: Any) -> None:
        results = []
        for result in run_checks(all_checks(options["mail"])):
            results.append(result)
            if not options["json"]:
                self._print(result)
        if options["json"]:
            self.stdout.write(json.dumps(report.as_json(results), indent=2))
        else:
            self.stdout.write(f"\n{settings.SANDBOX_INSTANCE}: {report.summary(results)}")
        if overall_level(results) is Level.ERROR:
            raise SystemExit(1)

    def _print(self, result: Result) -> None:
        for line in report.lines(result, self.style):
            self.stdout.write(line)
        self.stdout.flush()
