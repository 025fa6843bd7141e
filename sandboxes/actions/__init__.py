"""Everything that users can do to sandboxes. Pages, API and admin call these functions.

Each function takes a sandbox that the caller fetched with the actor's permissions, reads it again
under a lock, and raises a `ServiceError` when the request can't be granted.
"""

from sandboxes.actions.credentials import (
    can_preview_credentials,
    preview_credentials,
    read_credentials,
    with_credentials_read,
    with_preview,
)
from sandboxes.actions.inbox import (
    change_clock,
    create_event,
    replay_event,
    set_misbehavior,
)
from sandboxes.actions.launch import (
    MAX_IDEMPOTENCY_KEY_LENGTH,
    LaunchRequest,
    launch_blocker,
    launch_sandbox,
    launchable_blueprints,
)
from sandboxes.actions.launch_options import parameters_to_repeat, validate_metadata
from sandboxes.actions.manage import (
    change_metadata,
    destroy,
    extend,
    record_agent_call,
    record_heartbeat,
    rename,
    reset,
    retry_funding,
    touch,
)
from sandboxes.actions.replace import replace

__all__ = [
    "MAX_IDEMPOTENCY_KEY_LENGTH",
    "LaunchRequest",
    "can_preview_credentials",
    "change_clock",
    "change_metadata",
    "create_event",
    "destroy",
    "extend",
    "launch_blocker",
    "launch_sandbox",
    "launchable_blueprints",
    "parameters_to_repeat",
    "preview_credentials",
    "read_credentials",
    "record_agent_call",
    "record_heartbeat",
    "rename",
    "replace",
    "replay_event",
    "reset",
    "retry_funding",
    "set_misbehavior",
    "touch",
    "validate_metadata",
    "with_credentials_read",
    "with_preview",
]
