"""Rules by which CI jobs exchange their identity tokens for API tokens of an account."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from sandboxes.lib import clock
from sandboxes.models.accounts.api_token import Scope

LOOPBACK = {"127.0.0.1", "::1", "localhost"}
DEFAULT_MINUTES, MAX_MINUTES = 60, 1440


def validate_issuer(url: str) -> None:
    """Refuse URLs that aren't https; http only leads to this machine."""
    parts = urlsplit(url)
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
    if not is_safe or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ValidationError("Enter the issuer as an https URL, exactly as in its tokens.")


def validate_claims(claims: object) -> None:
    """Require at least one claim, each with a text."""
    values = list(claims.values()) if isinstance(claims, dict) else []
    if not values or not all(isinstance(value, str) and value for value in values):
        raise ValidationError('Enter names and texts, such as {"repository": "acme/shop"}.')


class IdentityRuleQuerySet(models.QuerySet["IdentityRule"]):
    def in_force(self) -> IdentityRuleQuerySet:
        return self.filter(enabled=True, user__is_active=True)


class IdentityRule(models.Model):
    """Which identity tokens give access to which account. See `accounts.grants`."""

    name = models.CharField(max_length=50, unique=True)
    issuer = models.CharField(
        max_length=200,
        validators=[validate_issuer],
        help_text=(
            "Such as https://token.actions.githubusercontent.com, or the address of your GitLab."
        ),
    )
    audience = models.CharField(
        max_length=200,
        help_text="What “aud” of the tokens must contain, such as this portal's URL.",
    )
    claims = models.JSONField(
        validators=[validate_claims],
        help_text=(
            'Claims that tokens must have, with exactly these texts: {"repository": "acme/shop"} '
            'for GitHub, {"project_path": "acme/shop"} for GitLab.'
        ),
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="identity_rules",
        help_text="The account that jobs use. Its limits apply to all of them together.",
    )
    scope = models.CharField(max_length=6, choices=Scope, default=Scope.ALL)
    token_minutes = models.PositiveSmallIntegerField(
        "minutes",
        default=DEFAULT_MINUTES,
        validators=[MinValueValidator(5), MaxValueValidator(MAX_MINUTES)],
        help_text="Lifetime of the API tokens.",
    )
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    last_used_at = models.DateTimeField(null=True, editable=False)

    objects = IdentityRuleQuerySet.as_manager()

    class Meta:
        verbose_name = "identity token rule"

    def __str__(self) -> str:
        return self.name

    @property
    def token_lifetime(self) -> timedelta:
        """How long the API tokens are valid."""
        return timedelta(minutes=self.token_minutes)

    def accepts(self, claims: Mapping[str, Any]) -> bool:
        """Return whether the claims of a verified token meet the rule."""
        audiences = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        return (
            claims["iss"] == self.issuer
            and self.audience in audiences
            and bool(self.claims)
            and all(claims.get(name) == value for name, value in self.claims.items())
        )


class UsedIdentityToken(models.Model):
    """An identity token that was exchanged, until it expires: each counts once."""

    digest = models.CharField(max_length=64, unique=True, editable=False)
    """Of issuer and `jti`."""
    expires_at = models.DateTimeField(db_index=True, editable=False)

    def __str__(self) -> str:
        return self.digest[:12]
