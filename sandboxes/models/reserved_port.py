"""Host ports that sandboxes have for as long as they exist."""

from __future__ import annotations

from typing import ClassVar

from django.core.validators import MaxValueValidator
from django.db import models

from sandboxes.models.sandbox import Sandbox

MAX_PORT = 65_535


class ReservedPort(models.Model):
    """A host port on which a port of a sandbox's service is published."""

    sandbox = models.ForeignKey(
        Sandbox,
        on_delete=models.CASCADE,
        related_name="reserved_ports",
        db_index=False,  # `reserved_port_once_per_sandbox` begins with it.
    )
    service = models.CharField(max_length=63)
    target = models.PositiveIntegerField(validators=[MaxValueValidator(MAX_PORT)])
    """The port of the service."""
    address = models.GenericIPAddressField()
    """The address on which its engine publishes it (`Engine.published_on`)."""
    port = models.PositiveIntegerField(validators=[MaxValueValidator(MAX_PORT)])
    """The port of the host."""

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["address", "port"], name="reserved_port_unique"),
            models.UniqueConstraint(
                fields=["sandbox", "service", "target"], name="reserved_port_once_per_sandbox"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.address}:{self.port}"
