"""Deprecated alias of `manage.py purge_engine`; the next release removes it."""

from __future__ import annotations

from typing import Any

from sandboxes.management.commands import purge_engine


class Command(purge_engine.Command):
    help = "Deprecated: use purge_engine."

    def handle(self, **options: Any) -> None:
        self.stderr.write("clear_engine is deprecated; use purge_engine.")
        super().handle(**options)
