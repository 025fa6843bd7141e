"""`manage.py prepare`: update everything that the processes need."""

from __future__ import annotations

import hashlib
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser

from sandboxes.core import disk_reserve


class Command(BaseCommand):
    help = (
        "Migrates the database, creates the cache's table, prepares the blueprints, collects "
        "static files, each only if needed, builds the command-line client, and checks the "
        "settings. Run it after every update."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--demo", action="store_true", help="create demo accounts and print them"
        )

    def handle(self, **options: Any) -> None:
        self._step("Bringing the database up to date", "migrate", verbosity=0)
        call_command("createcachetable", verbosity=0)
        disk_reserve.create()
        self._step("Preparing the blueprints", "blueprint", "prepare")
        self._collect_static_files()
        self._step("Building the command-line client", "build_client")
        # The processes skip the checks, which would cost each 10 MB of memory.
        self.check()
        if options["demo"]:
            self._step("Demo accounts", "create_demo_accounts", print=True)

    def _step(self, title: str, command: str, *arguments: str, **options: Any) -> None:
        self.stdout.write(f"▸ {title}")
        self.stdout.flush()
        call_command(command, *arguments, stdout=self.stdout, stderr=self.stderr, **options)

    def _collect_static_files(self) -> None:
        """Collect static files unless they are unchanged, since compressing takes seconds."""
        stamp = settings.STATIC_ROOT / ".collected"
        found = _fingerprint()
        if stamp.exists() and stamp.read_text() == found:
            return
        self._step("Collecting static files", "collectstatic", interactive=False, verbosity=0)
        stamp.write_text(found)


def _fingerprint() -> str:
    """Return a hash of the names, sizes and modification times of all static files."""
    digest = hashlib.sha256()
    for finder in get_finders():
        for name, storage in finder.list([]):
            size, changed = storage.size(name), storage.get_modified_time(name).timestamp()
            digest.update(f"{name} {size} {changed}\n".encode())
    return digest.hexdigest()
