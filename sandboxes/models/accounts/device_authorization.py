"""Requests of command-line clients to sign in, which a user approves in the browser (RFC 8628)."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import models

from sandboxes.lib import clock
from sandboxes.models.accounts.api_token import Scope

DEVICE_CODE_LIFETIME = timedelta(minutes=10)
POLL_SECONDS = 5


def default_expiry() -> datetime:
    return clock.now() + DEVICE_CODE_LIFETIME


class DeviceAuthorizationQuerySet(models.QuerySet["DeviceAuthorization"]):
    def open(self, now: datetime) -> DeviceAuthorizationQuerySet:
        """Return requests that a user can still approve or deny."""
        return self.filter(decision="", expires_at__gt=now)


class DeviceAuthorization(models.Model):
    """A client's request for a token. `accounts.device_authorization` creates and decides it."""

    class Decision(models.TextChoices):
        APPROVED = "approved", "approved"
        DENIED = "denied", "denied"

    device_code_digest = models.CharField(max_length=64, unique=True, editable=False)
    user_code = models.CharField(max_length=8, unique=True, editable=False)
    """What the user compares with the terminal, without its hyphen."""
    scope = models.CharField(max_length=6, choices=Scope, editable=False)
    device_name = models.CharField(max_length=40, blank=True, editable=False)
    """The host name that the client reports; nothing verifies it."""
    address = models.GenericIPAddressField(null=True, editable=False)
    decision = models.CharField(max_length=8, choices=Decision, blank=True, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        null=True,
        editable=False,
        related_name="+",
    )
    """The user who approved it."""
    created_at = models.DateTimeField(default=clock.now, editable=False)
    expires_at = models.DateTimeField(default=default_expiry, db_index=True, editable=False)
    interval_seconds = models.PositiveSmallIntegerField(default=POLL_SECONDS, editable=False)
    """The shortest time between two polls; each poll that comes too early adds to it."""
    polled_at = models.DateTimeField(null=True, editable=False)

    objects = DeviceAuthorizationQuerySet.as_manager()

    def __str__(self) -> str:
        return self.displayed_user_code

    @property
    def displayed_user_code(self) -> str:
        """The user code as people read it, such as `WDJB-MJHT`."""
        return f"{self.user_code[:4]}-{self.user_code[4:]}"

    @property
    def token_name(self) -> str:
        """The name of the token in the user's list."""
        return f"sandbox client on {self.device_name or self.address or 'an unknown host'}"
