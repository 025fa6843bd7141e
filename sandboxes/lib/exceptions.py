"""Errors of requests, with messages that pages and API share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

MINUTE, HOUR = 60, 3600
"""The windows of rate limits, in seconds."""


class ServiceError(Exception):
    """A valid request that can't be granted. Nothing was changed."""


class ValidationFailed(ServiceError):
    """The value of `field` is invalid; the message says how to fix it.

    `others` are further pairs of an invalid field and a message.
    """

    def __init__(self, field: str, message: str, others: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.field = field
        self.errors = [(field, message), *others]


class StateConflict(ServiceError):
    """The state of the sandbox, webhook or account doesn't allow the request."""


class IdempotencyKeyReused(ServiceError):
    """An Idempotency-Key was reused with a different request."""


class Unavailable(ServiceError):
    """The portal can't grant the request now; `retry_at` says when to retry, if known."""

    def __init__(self, message: str, retry_at: datetime | None = None) -> None:
        super().__init__(message)
        self.retry_at = retry_at


class RateLimited(ServiceError):
    """More requests in a window of time than the policy allows."""

    def __init__(self, policy: str, limit: int, window_seconds: int, retry_at: datetime) -> None:
        window = {HOUR: "hour", MINUTE: "minute"}[window_seconds]
        super().__init__(f"Rate limit exceeded: {limit} per {window}.")
        self.policy = policy
        self.limit = limit
        self.window_seconds = window_seconds
        self.retry_at = retry_at


@dataclass(eq=False)
class QuotaExceeded(ServiceError):
    """The number of active sandboxes has reached the limit of the user or of the portal."""

    scope: str
    """`user`, `blueprint` for a blueprint's limit per user, or `site` for the portal-wide one."""
    limit: int
    active: int
    retry_at: datetime
    wait_seconds: int
    frees_first: str | None
    """Public id of the sandbox that ends first, if it belongs to the user."""
    title: str = ""
    """The blueprint's, if only its sandboxes can't be launched."""

    @property
    def reached(self) -> str:
        """A sentence on the limit that was reached."""
        if self.scope == "blueprint":
            plural = "" if self.limit == 1 else "es"
            return f"You've reached the limit of {self.limit} “{self.title}” sandbox{plural}."
        if self.scope == "site" and self.title:
            return f"The portal doesn't have enough memory for another “{self.title}” sandbox now."
        return ""

    def __str__(self) -> str:
        minutes = max(1, round(self.wait_seconds / 60))
        if self.reached:
            own = "Destroy one to launch another; the" if self.scope == "blueprint" else "The"
            return f"{self.reached} {own} next slot should open in about {minutes} min."
        if self.scope == "site":
            return (
                f"The portal is at capacity ({self.limit} sandboxes). "
                f"A slot should open in about {minutes} min."
            )
        return (
            f"You've reached your limit of {self.limit} sandboxes. Destroy one to launch another; "
            f"the next slot should open in about {minutes} min."
        )
