"""API tokens."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db import models
from django.db.models import Q

from sandboxes.lib import clock


class Scope(models.TextChoices):
    READ = "read", "view sandboxes"
    LAUNCH = "launch", "create and manage sandboxes"
    ALL = "all", "full access, including credentials"


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    def usable(self, now: datetime) -> ApiTokenQuerySet:
        return self.filter(
            Q(expires_at=None) | Q(expires_at__gt=now), revoked_at=None, user__is_active=True
        )


class ApiToken(models.Model):
    """A bearer token, stored as a hash. `accounts.api_tokens` creates and verifies tokens."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens"
    )
    name = models.CharField(max_length=60)
    prefix = models.CharField(max_length=12, editable=False)
    """The first characters, which identify the token to its owner."""
    digest = models.CharField(max_length=64, unique=True, editable=False)
    scope = models.CharField(max_length=6, choices=Scope, default=Scope.ALL)
    identity_rule = models.ForeignKey(
        "sandboxes.IdentityRule",
        on_delete=models.SET_NULL,
        null=True,
        editable=False,
        related_name="api_tokens",
    )
    """The rule by which a CI job got it."""
    created_at = models.DateTimeField(default=clock.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, editable=False)
    revoked_at = models.DateTimeField(null=True, editable=False)

    objects = ApiTokenQuerySet.as_manager()

    class Meta:
        verbose_name = "API token"

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"
