"""Everything a person may ask of the portal. Pages, API and admin all go through here.

Every function takes the sandbox as its caller fetched it, within what the actor may see, reads it
again under a lock, and raises a `ServiceError` when the request can't be granted.
"""

from sandboxes.actions.credentials import read_credentials
from sandboxes.actions.launch import (
    LONGEST_KEY,
    LONGEST_NAME,
    LaunchRequest,
    launch_sandbox,
    offered,
    refusal_to_launch,
)
from sandboxes.actions.manage import destroy, extend, reset, retry_funding, touch

__all__ = [
    "LONGEST_KEY",
    "LONGEST_NAME",
    "LaunchRequest",
    "destroy",
    "extend",
    "launch_sandbox",
    "offered",
    "read_credentials",
    "refusal_to_launch",
    "reset",
    "retry_funding",
    "touch",
]
