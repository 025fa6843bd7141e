"""`manage.py build_client`: build the command-line client that the portal serves."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from sandboxes.preparation import client


class Command(BaseCommand):
    help = (
        "Builds the package of the command-line client, which the portal serves at /cli/. "
        "“prepare” does it, too. Needs no network."
    )

    def handle(self, **_options: Any) -> None:
        package = client.build()
        self.stdout.write(f"{package.name} (SHA-256 {package.sha256})")
