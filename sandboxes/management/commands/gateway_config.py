"""`manage.py gateway_config`: write Traefik's static configuration."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from sandboxes.checks.gateway import check_gateway_dns
from sandboxes.gateway import certificate, listening, static_configuration


class Command(BaseCommand):
    help = (
        "Write Traefik's static configuration to a file that only this user can read, since it "
        "contains SANDBOX_GATEWAY_TOKEN. Start the gateway with `traefik --configfile=FILE`."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument(
            "--portal-url",
            default=settings.SITE_URL,
            help="where the gateway reaches the portal; SITE_URL if not given",
        )
        parser.add_argument(
            "--address", default="", help="address to listen on; all addresses if not given"
        )
        parser.add_argument(
            "--acme-storage",
            default="acme.json",
            metavar="FILE",
            help="where Traefik stores certificates that it gets by ACME",
        )
        parser.add_argument(
            "--portal-route",
            default="",
            metavar="FILE",
            help="file with the route of the portal itself, if the gateway is its proxy, too",
        )

    def handle(self, **options: Any) -> None:
        if not settings.SANDBOX_DOMAIN or not settings.SANDBOX_GATEWAY_TOKEN:
            raise CommandError("Set SANDBOX_DOMAIN and SANDBOX_GATEWAY_TOKEN: docs/gateway.md.")
        self._verify(options["address"])
        content = static_configuration.configuration(
            options["portal_url"],
            options["address"],
            options["acme_storage"],
            options["portal_route"],
        )
        file: Path = options["file"]
        new = file.with_name(f"{file.name}.new")
        try:
            new.unlink(missing_ok=True)
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as out:
                # JSON is valid YAML.
                json.dump(content, out, indent=2)
            new.replace(file)
        except OSError as error:
            raise CommandError(f"Can't write {file}: {error.strerror}.") from None
        self.stdout.write(f"Wrote {file}.")

    def _verify(self, address: str) -> None:
        """Warn of what keeps names from working. Raises CommandError if the gateway can't start."""
        found = [f"{port} is in use ({name})." for name, port in listening.taken_ports(address)]
        if found:
            raise CommandError(
                f"Port {' Port '.join(found)} Stop the program that listens there, or choose "
                "another port or --address."
            )
        if settings.SANDBOX_GATEWAY_CERTIFICATE:
            for what, remedy in certificate.problems(settings.SANDBOX_DOMAIN, must_read_key=True):
                raise CommandError(f"{what} {remedy}")
        for message in check_gateway_dns():
            self.stderr.write(self.style.WARNING(f"{message.msg} {message.hint}"))
