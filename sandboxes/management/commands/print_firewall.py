"""`manage.py print_firewall`: the rules that keep sandboxes from the engine's machine."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from sandboxes.doctor import firewall


class Command(BaseCommand):
    help = (
        "Prints a script that keeps sandboxes from calling the engine's machine, and others "
        "through it, for root to run there: `manage.py print_firewall | sudo sh`."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--nftables", action="store_true", help="for nft instead of iptables")
        parser.add_argument("--undo", action="store_true", help="a script that takes them away")
        parser.add_argument(
            "--check",
            action="store_true",
            help="instead call that machine out of a sandbox, and tell what came of it",
        )

    def handle(self, **options: Any) -> None:
        if options["check"]:
            self._check()
            return
        flavour = "nftables" if options["nftables"] else "iptables"
        self.stdout.write(firewall.rules(flavour, undo=options["undo"]), ending="")

    def _check(self) -> None:
        found = firewall.check_firewall()
        if not found.is_closed:
            raise CommandError(f"{found.message} {found.remedy}".strip())
        self.stdout.write(found.message)
