"""Everything a person may ask of the portal. Pages, API and admin all go through here.

Every function takes the sandbox as its caller fetched it, within what the actor may see, reads it
again under a lock, and raises a `ServiceError` when the request can't be granted.
"""

from sandboxes.actions.credentials import read_credentials
from sandboxes.actions.launch import (
    MAX_IDEMPOTENCY_KEY_LENGTH,
    MAX_NAME_LENGTH,
    LaunchRequest,
    launch_blocker,
    launch_sandbox,
    launchable_blueprints,
)
from sandboxes.actions.manage import destroy, extend, reset, retry_funding, touch

__all__ = [
    "MAX_IDEMPOTENCY_KEY_LENGTH",
    "MAX_NAME_LENGTH",
    "LaunchRequest",
    "destroy",
    "extend",
    "launch_blocker",
    "launch_sandbox",
    "launchable_blueprints",
    "read_credentials",
    "reset",
    "retry_funding",
    "touch",
]
