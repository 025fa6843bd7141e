"""`manage.py rotate_keys`: re-encrypt secrets at rest, so that earlier keys can be removed."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from sandboxes.checks.runtime import check_keys
from sandboxes.encryption import rotation


class Command(BaseCommand):
    help = (
        "Re-encrypts all secrets at rest with the first of SANDBOX_ENCRYPTION_KEYS. Can be "
        "interrupted and run again, also while the portal runs. Exits with 1 if an earlier key is "
        "still needed or a secret can't be decrypted."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--check",
            action="store_true",
            help="report which keys are needed without changing anything",
        )

    def handle(self, **options: Any) -> None:
        if faults := check_keys():
            raise CommandError(f"{faults[0].msg} {faults[0].hint}")
        if not options["check"]:
            done = rotation.rotate()
            self.stdout.write(f"{done['rotated']} secrets were re-encrypted with the first key.")
        self._report()

    def _report(self) -> None:
        found = rotation.key_usage()
        lost = found.pop(rotation.UNKNOWN_KEY, 0)
        for number in sorted(found):
            self.stdout.write(f"Key {number}: {found[number]} secrets.")
        if lost:
            raise CommandError(
                f"{lost} secrets can't be decrypted. Add the missing key at the end of "
                "SANDBOX_ENCRYPTION_KEYS, and run this again."
            )
        if earlier := sorted(number for number in found if number > 1):
            numbers = " and ".join(map(str, earlier))
            raise CommandError(f"Key {numbers} is still needed. Run `manage.py rotate_keys`.")
        self.stdout.write("Only the first key is needed.")
