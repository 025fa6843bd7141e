"""`manage.py print_firewall`: print firewall rules for the engine's host."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from sandboxes.doctor import firewall


class Command(BaseCommand):
    help = (
        "Prints a script that keeps sandboxes from connecting to the engine's host, and to others "
        "through it. Run it there as root: `manage.py print_firewall | sudo sh`."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--nftables", action="store_true", help="use nft instead of iptables")
        parser.add_argument(
            "--undo", action="store_true", help="print a script that removes the rules"
        )
        parser.add_argument(
            "--check",
            action="store_true",
            help="test from a sandbox whether the host is reachable",
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
