"""Replace a sandbox whose engine is away by a new one with the same options."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandboxes.actions.launch import LaunchRequest, launch_sandbox
from sandboxes.actions.launch_options import parameters_to_repeat
from sandboxes.models import Sandbox

if TYPE_CHECKING:
    from django.contrib.auth.models import User


def replace(sandbox: Sandbox, owner: User, idempotency_key: str = "") -> tuple[Sandbox, bool]:
    """End an unreachable sandbox as lost and launch another one, both or neither.

    Return the new sandbox and True; False if the key was used before. Raises the errors of
    `launch_sandbox`, and StateConflict if the sandbox is reachable.
    """
    request = LaunchRequest(
        sandbox.blueprint,
        sandbox.ttl_minutes,
        sandbox.name,
        parameters_to_repeat(sandbox),
        sandbox.metadata,
        sandbox.heartbeat_seconds,
        replaces=sandbox.public_id,
    )
    return launch_sandbox(owner, request, idempotency_key)
