"""Build the rows of new sandboxes."""

from __future__ import annotations

from typing import Any

from sandboxes import blueprints, stellar
from sandboxes.lib import clock
from sandboxes.models import Funding, Sandbox
from sandboxes.models.runtime_settings import config


def new_sandbox(blueprint: blueprints.Blueprint, **chosen: Any) -> Sandbox:
    """Return an unsaved sandbox of the blueprint, with its own secrets."""
    secrets = blueprint.new_secrets()
    account: dict[str, Any] = {"funding": ""}
    if blueprint.stellar:
        public_key, secrets["STELLAR_SECRET"] = stellar.new_key_pair()
        account = {
            "stellar_public_key": public_key,
            "funding": Funding.PENDING,
            "funding_due_at": clock.now(),
        }
    defaults = account | {
        "ttl_minutes": config.SANDBOX_TTL_MINUTES,
        "idle_minutes": config.SANDBOX_IDLE_MINUTES,
        "parameters": blueprint.default_parameters,
    }
    return Sandbox(
        blueprint=blueprint.name,
        blueprint_version_id=blueprint.version if blueprint.is_prepared else None,
        created_at=clock.now(),
        memory_mb=blueprint.memory_mb,
        cpus=blueprint.cpus,
        disk_mb=blueprint.disk_mb,
        secrets=secrets,
        **defaults | chosen,
    )
