"""What can be wrong with a request, in the words that page and API share."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

MINUTE, HOUR = 60, 3600
"""The windows of time that there are, in seconds."""


class ServiceError(Exception):
    """A request that was understood and is not carried out; nothing has changed."""


class ValidationFailed(ServiceError):
    """A value that can't be taken; `field` names it, the message says the remedy."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class StateConflict(ServiceError):
    """The request does not fit the state that the sandbox is in."""


class IdempotencyKeyReused(ServiceError):
    """An Idempotency-Key came again with another request."""


class Unavailable(ServiceError):
    """The portal can't do it now, for the reason that the message gives; `retry_at`, if known."""

    def __init__(self, message: str, retry_at: datetime | None = None) -> None:
        super().__init__(message)
        self.retry_at = retry_at


class RateLimited(ServiceError):
    """More of it in one window of time than the policy of this name allows."""

    def __init__(self, policy: str, limit: int, window_seconds: int, retry_at: datetime) -> None:
        words = {
            HOUR: f"That was too often: {limit} in an hour are allowed.",
            MINUTE: f"That was too often: {limit} in a minute are allowed.",
        }
        super().__init__(words[window_seconds])
        self.policy = policy
        self.limit = limit
        self.window_seconds = window_seconds
        self.retry_at = retry_at


@dataclass(eq=False)
class QuotaExceeded(ServiceError):
    """As many sandboxes are active as may be; tells when that will change."""

    scope: str
    """`user` or `site`."""
    limit: int
    active: int
    retry_at: datetime
    wait_seconds: int
    frees_first: str | None
    """Public id of the sandbox that ends first, where it is the caller's own."""

    def __str__(self) -> str:
        minutes = max(1, round(self.wait_seconds / 60))
        if self.scope == "site":
            return (
                f"All {self.limit} places of this portal are taken. "
                f"The next should be free in about {minutes} min."
            )
        return (
            f"You have {self.active} of {self.limit} sandboxes. The next place should be free in "
            f"about {minutes} min; destroy a sandbox to launch another one now."
        )
