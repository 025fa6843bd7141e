"""`manage.py clear_sign_in_limits`: let users sign in again after too many failed attempts."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from sandboxes.accounts import sign_in_limits


class Command(BaseCommand):
    help = (
        "Forgets failed sign-ins of accounts, which lock an account for 5 minutes (for one client "
        "address) or for up to an hour (for all)."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email", nargs="+", help="address with which the user signs in")

    def handle(self, **options: Any) -> None:
        for email in options["email"]:
            sign_in_limits.clear(email)
            self.stdout.write(f"Cleared the failed sign-ins of {email}.")
