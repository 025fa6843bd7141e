"""Build the rows of new sandboxes."""

from __future__ import annotations

from typing import Any

from sandboxes import blueprints
from sandboxes.lib import clock
from sandboxes.models import Sandbox
from sandboxes.models.runtime_settings import config
from sandboxes.stellar import strkey


def new_sandbox(blueprint: blueprints.Blueprint, **chosen: Any) -> Sandbox:
    """Return an unsaved sandbox of the blueprint, with its own secrets."""
    public_key, secret = strkey.new_key_pair()
    defaults = {
        "ttl_minutes": config.SANDBOX_TTL_MINUTES,
        "idle_minutes": config.SANDBOX_IDLE_MINUTES,
    }
    return Sandbox(
        blueprint=blueprint.name,
        blueprint_version_id=blueprint.version if blueprint.is_prepared else None,
        created_at=clock.now(),
        memory_mb=blueprint.memory_mb,
        cpus=blueprint.cpus,
        disk_mb=config.SANDBOX_DISK_MB,
        secrets=blueprint.new_secrets() | {"STELLAR_SECRET": secret},
        stellar_public_key=public_key,
        funding_due_at=clock.now(),
        **defaults | chosen,
    )
