"""Deprecated alias of `manage.py create_demo_accounts`; the next release removes it."""

from __future__ import annotations

from typing import Any

from sandboxes.management.commands import create_demo_accounts


class Command(create_demo_accounts.Command):
    help = "Deprecated: use create_demo_accounts."

    def handle(self, **options: Any) -> None:
        self.stderr.write("make_demo_accounts is deprecated; use create_demo_accounts.")
        super().handle(**options)
