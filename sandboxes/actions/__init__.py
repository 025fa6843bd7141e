"""Everything that users can do to sandboxes. Pages, API and admin call these functions.

Each function takes a sandbox that the caller fetched with the actor's permissions, reads it again
under a lock, and raises a `ServiceError` when the request can't be granted.
"""

from sandboxes.actions.credentials import read_credentials
from sandboxes.actions.launch import (
    MAX_IDEMPOTENCY_KEY_LENGTH,
    LaunchRequest,
    launch_blocker,
    launch_sandbox,
    launchable_blueprints,
)
from sandboxes.actions.manage import destroy, extend, reset, retry_funding, touch

__all__ = [
    "MAX_IDEMPOTENCY_KEY_LENGTH",
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
