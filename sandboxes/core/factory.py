"""Whether a request for a sandbox is granted, and the row that it becomes."""

from __future__ import annotations

from typing import Any

from sandboxes import blueprints
from sandboxes.lib import clock
from sandboxes.models import Sandbox
from sandboxes.models.runtime_settings import settings
from sandboxes.stellar import strkey


def new_sandbox(blueprint: blueprints.Blueprint, **chosen: Any) -> Sandbox:
    """A new sandbox of the blueprint, not saved yet, with secrets of its own."""
    public_key, secret = strkey.new_key_pair()
    defaults = {
        "ttl_minutes": settings.SANDBOX_TTL_MINUTES,
        "idle_minutes": settings.SANDBOX_IDLE_MINUTES,
    }
    return Sandbox(
        blueprint=blueprint.name,
        created_at=clock.now(),
        memory_mb=blueprint.memory_mb,
        cpus=blueprint.cpus,
        disk_mb=settings.SANDBOX_DISK_MB,
        secrets=blueprint.new_secrets() | {"STELLAR_SECRET": secret},
        stellar_public_key=public_key,
        funding_due_at=clock.now(),
        **defaults | chosen,
    )
