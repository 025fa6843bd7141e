"""`manage.py gateway_development_ca`: write a certificate for trying the gateway."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from sandboxes.gateway import development_ca


class Command(BaseCommand):
    help = (
        "Write a wildcard certificate for SANDBOX_DOMAIN from a new authority, for trying the "
        "gateway. Not for production: no client trusts it by default."
    )
    requires_system_checks = ()
    """The certificate that it writes may be what is missing."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "directory", type=Path, nargs="?", default=Path(settings.VAR_DIR) / "gateway"
        )
        parser.add_argument(
            "--host",
            action="append",
            default=[],
            metavar="NAME",
            help="another host for which the certificate is valid, such as the portal's",
        )

    def handle(self, **options: Any) -> None:
        if not settings.SANDBOX_DOMAIN:
            raise CommandError("Set SANDBOX_DOMAIN.")
        try:
            authority, certificate, key = development_ca.write(
                options["directory"].resolve(), settings.SANDBOX_DOMAIN, options["host"]
            )
        except OSError as error:
            raise CommandError(f"Can't write {error.filename}: {error.strerror}.") from None
        self.stdout.write(
            f"SANDBOX_GATEWAY_CERTIFICATE={certificate}\nSANDBOX_GATEWAY_KEY={key}\n"
            f"# Clients must trust {authority}, for example `curl --cacert {authority}` and\n"
            f"# `PGSSLROOTCERT={authority} psql …`."
        )
