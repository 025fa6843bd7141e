"""`manage.py rotate_keys`: encrypt secrets at rest anew, so that an earlier key can go."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from sandboxes.checks.runtime import check_keys
from sandboxes.encryption import rotation


class Command(BaseCommand):
    help = (
        "Encrypts all secrets at rest anew with the first of SANDBOX_ENCRYPTION_KEYS. May be "
        "stopped and run again, also beside a portal that works. Exits with 1 when an earlier key "
        "is needed still, or a secret can't be read with any."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--check", action="store_true", help="only say which keys are needed; change nothing"
        )

    def handle(self, **options: Any) -> None:
        if faults := check_keys():
            raise CommandError(f"{faults[0].msg} {faults[0].hint}")
        if not options["check"]:
            done = rotation.rotate()
            self.stdout.write(f"{done['rotated']} were encrypted anew with the first key.")
        self._tell()

    def _tell(self) -> None:
        found = rotation.key_usage()
        lost = found.pop(rotation.UNKNOWN_KEY, 0)
        for number in sorted(found):
            self.stdout.write(f"Key {number} opens {found[number]}.")
        if lost:
            raise CommandError(
                f"{lost} can't be read with any key. Put the key that is missing at the end of "
                "SANDBOX_ENCRYPTION_KEYS, and run this again."
            )
        if earlier := sorted(number for number in found if number > 1):
            numbers = " and ".join(map(str, earlier))
            raise CommandError(f"Key {numbers} is needed still; run `manage.py rotate_keys`.")
        self.stdout.write("Nothing needs a key but the first.")
