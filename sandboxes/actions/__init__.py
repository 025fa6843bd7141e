"""Everything a person may ask of the portal. Pages, API and admin all go through here."""

from sandboxes.actions.manage import (
    LONGEST_KEY,
    LONGEST_NAME,
    LaunchRequest,
    credentials,
    destroy,
    extend,
    extension_preview,
    launch,
    offered,
    refusal_to_launch,
    reset,
    retry_funding,
    touch,
)

__all__ = [
    "LONGEST_KEY",
    "LONGEST_NAME",
    "LaunchRequest",
    "credentials",
    "destroy",
    "extend",
    "extension_preview",
    "launch",
    "offered",
    "refusal_to_launch",
    "reset",
    "retry_funding",
    "touch",
]
