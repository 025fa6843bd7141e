"""The status of what the portal depends on, one row each."""

from __future__ import annotations

from django.db import models

from sandboxes.models.abstract.singleton import Singleton


class EngineStatus(Singleton):
    """Capabilities and resources of the engine, as of the last sweep that reached it."""

    engine = models.CharField(max_length=60, blank=True, editable=False)
    """Name and version."""
    disk_quota_enforced = models.BooleanField(null=True, editable=False)
    """Whether the engine enforces disk limits; None until the first sweep."""
    memory_mb = models.PositiveIntegerField(null=True, editable=False)
    """Memory of the engine's host. This and the fields below are None if unknown."""
    memory_available_mb = models.PositiveIntegerField(null=True, editable=False)
    disk_total_mb = models.PositiveIntegerField(null=True, editable=False)
    disk_free_mb = models.PositiveIntegerField(null=True, editable=False)
    subnets_taken = models.PositiveIntegerField(null=True, editable=False)

    class Meta(Singleton.Meta):
        verbose_name = verbose_name_plural = "engine status"


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
