"""Host ports that are reserved for sandboxes; existing sandboxes keep those that they have."""

from __future__ import annotations

import ipaddress
from typing import Any, ClassVar

import django.core.validators
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

port_validators = [django.core.validators.MaxValueValidator(65_535)]


def reserve_ports_in_use(apps: Any, _editor: object) -> None:
    """Reserve the ports of the addresses that existing sandboxes have."""
    reserved_port = apps.get_model("sandboxes", "ReservedPort")
    found: dict[int, Any] = {}
    rows = apps.get_model("sandboxes", "Sandbox").objects.filter(ended_at=None)
    for pk, addresses in rows.values_list("pk", "addresses"):
        for key, address in addresses.items():
            service, _, target = key.rpartition(":")
            port = int(address.rpartition(":")[2])
            # The first one has it, should two addresses be the same by mistake.
            found.setdefault(
                port,
                reserved_port(
                    sandbox_id=pk,
                    service=service,
                    target=int(target),
                    address=str(ipaddress.ip_address(settings.SANDBOX_BIND_ADDRESS)),
                    port=port,
                ),
            )
    reserved_port.objects.bulk_create(found.values())


class Migration(migrations.Migration):
    dependencies: ClassVar = [("sandboxes", "0027_optional_account")]

    operations: ClassVar = [
        migrations.CreateModel(
            name="ReservedPort",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("service", models.CharField(max_length=63)),
                ("target", models.PositiveIntegerField(validators=port_validators)),
                ("address", models.GenericIPAddressField()),
                ("port", models.PositiveIntegerField(validators=port_validators)),
                (
                    "sandbox",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="reserved_ports",
                        to="sandboxes.sandbox",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("address", "port"), name="reserved_port_unique"
                    ),
                    models.UniqueConstraint(
                        fields=("sandbox", "service", "target"),
                        name="reserved_port_once_per_sandbox",
                    ),
                ],
            },
        ),
        migrations.RunPython(reserve_ports_in_use, migrations.RunPython.noop, elidable=True),
    ]
