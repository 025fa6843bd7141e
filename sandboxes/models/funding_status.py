"""Whether Friendbot works."""

from __future__ import annotations

from django.db import models

from sandboxes.models.singleton import Singleton


class FundingStatus(Singleton):
    """State of the circuit breaker in front of Friendbot, shared by all workers."""

    failures = models.PositiveSmallIntegerField(default=0, editable=False)
    """Number of consecutive attempts that failed temporarily, for any account."""
    retry_at = models.DateTimeField(null=True, editable=False)
    """When one account may be tried again; None while Friendbot works."""

    class Meta(Singleton.Meta):
        verbose_name = verbose_name_plural = "funding status"
