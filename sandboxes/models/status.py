"""The status of what the portal depends on, one row each."""

from __future__ import annotations

from django.db import models

from sandboxes.models.abstract.singleton import Singleton


class SweepStatus(Singleton):
    """Results of the last sweep of the reaper, and its heartbeat."""

    last_sweep_at = models.DateTimeField(null=True, editable=False)
    """When the last sweep finished."""
    seconds = models.FloatField(null=True, editable=False)
    """Duration of that sweep."""
    engine_reachable = models.BooleanField(default=True, editable=False)
    expiration_limit_exceeded = models.BooleanField(default=False, editable=False)
    """Whether more sandboxes were due than one sweep may end."""
    failed_removals = models.PositiveIntegerField(default=0, editable=False)
    """Number of sandboxes that couldn't be removed."""
    last_sweep_error = models.TextField(blank=True, editable=False)
    """Error messages, for people."""
    orphans = models.JSONField(default=list, editable=False)
    """Ids of the first orphans that the sweep left on the engine."""

    class Meta(Singleton.Meta):
        verbose_name = verbose_name_plural = "sweep status"


class WorkerStatus(Singleton):
    """When a worker last reported that it handles messages."""

    last_heartbeat_at = models.DateTimeField(null=True, editable=False)

    class Meta(Singleton.Meta):
        verbose_name = verbose_name_plural = "worker status"


class FundingStatus(Singleton):
    """State of the circuit breaker of funding, shared by all workers."""

    failures = models.PositiveSmallIntegerField(default=0, editable=False)
    """Number of consecutive attempts that failed temporarily, for any account."""
    retry_at = models.DateTimeField(null=True, editable=False)
    """When one account may be tried again; None while funding works."""

    class Meta(Singleton.Meta):
        verbose_name = verbose_name_plural = "funding status"
