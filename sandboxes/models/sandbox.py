"""The table of sandboxes, with the constraints on their states, owners and deadlines."""

from __future__ import annotations

import secrets
import string
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import ClassVar

from django.conf import settings
from django.db import connections, models, transaction
from django.db.models import F, Q, Value

from sandboxes.encryption.fields import EncryptedJSONField
from sandboxes.lib import clock
from sandboxes.models.abstract.claims import ClaimQuerySet
from sandboxes.models.blueprint_version import BlueprintVersion
from sandboxes.models.engine import Engine
from sandboxes.models.enums import (
    COUNTED_STATES,
    NON_TERMINAL,
    NOT_ENDING,
    POOL_STATES,
    TERMINAL_STATES,
    EndReason,
    Funding,
    State,
)
from sandboxes.runtime import DEFAULT_ENGINE

IS_REQUESTED = ~Q(from_pool=True, owner=None)
"""The condition that a user requested the sandbox, so that it isn't one of the pool."""
ID_ALPHABET = string.ascii_lowercase + string.digits


def new_public_id() -> str:
    """Return `sbx_` and 16 letters or digits: 82 random bits, valid in names on any engine."""
    return "sbx_" + "".join(secrets.choice(ID_ALPHABET) for _ in range(16))


class SandboxQuerySet(ClaimQuerySet["Sandbox"]):
    def active(self) -> SandboxQuerySet:
        return self.filter(state__in=COUNTED_STATES)

    def not_ending(self) -> SandboxQuerySet:
        return self.filter(state__in=NOT_ENDING)

    def for_pool(self) -> SandboxQuerySet:
        """Return sandboxes of the warm pool without an owner, ready or being provisioned."""
        return self.filter(state__in=POOL_STATES, from_pool=True, owner=None)

    def pooled(self) -> SandboxQuerySet:
        return self.filter(state=State.POOLED)

    def requested(self) -> SandboxQuerySet:
        """Return sandboxes that users requested, without those of the pool."""
        return self.filter(IS_REQUESTED)

    def live(self) -> SandboxQuerySet:
        # The condition on the time is redundant, but selects the small partial index.
        return self.filter(state__in=NON_TERMINAL, ended_at__isnull=True)

    def running(self) -> SandboxQuerySet:
        return self.filter(state=State.RUNNING)

    def ended(self) -> SandboxQuerySet:
        return self.filter(ended_at__isnull=False)

    def add_portal_traffic(self, received: int, sent: int) -> None:
        """Record traffic of the portal's own requests, so that it doesn't count as activity."""
        self.update(
            portal_received_bytes=F("portal_received_bytes") + received,
            portal_sent_bytes=F("portal_sent_bytes") + sent,
        )

    def record_activity(self, now: datetime) -> None:
        """Record that the owners use the sandboxes. A running idle timer is never shortened."""
        self.filter(state=State.RUNNING, last_activity_at__lt=now).update(last_activity_at=now)

    def save_observed(
        self, rows: Collection[Sandbox], state: str, columns: Collection[str]
    ) -> None:
        """Save columns with plain values, unless a row's state has changed since it was read.

        `bulk_update` builds an expression for each value, which takes ten times as long.
        """
        connection, meta = connections[self.db], self.model._meta  # noqa: SLF001 - as Django documents
        known = {field.name: field for field in meta.concrete_fields}
        fields = [known[name] for name in columns]
        assigned = ", ".join(f"{field.column} = %s" for field in fields)
        statement = f"UPDATE {meta.db_table} SET {assigned} WHERE id = %s AND state = %s"  # noqa: S608
        values = [
            [field.get_db_prep_save(getattr(row, field.attname), connection) for field in fields]
            for row in rows
        ]
        with transaction.atomic(self.db, savepoint=False), connection.cursor() as cursor:
            cursor.executemany(
                statement, [[*one, row.pk, state] for one, row in zip(values, rows, strict=True)]
            )

    def with_metadata(self, pairs: Mapping[str, str]) -> SandboxQuerySet:
        """Return sandboxes that have all of these pairs."""
        rows = self
        for key, value in pairs.items():
            rows = rows.filter(metadata_entries__key=key, metadata_entries__value=value)
        return rows

    def newest_first(self) -> SandboxQuerySet:
        return self.order_by("-created_at", "-id")


_Manager = models.Manager.from_queryset(SandboxQuerySet)


class SandboxManager(_Manager["Sandbox"]):
    """A manager that defers the secrets and the final logs until they are read.

    Lists then need no decryption, and a sandbox whose key was lost can still end. The final logs
    are long.
    """

    def get_queryset(self) -> SandboxQuerySet:
        return SandboxQuerySet(self.model, using=self._db).defer("secrets", "final_logs")


class Sandbox(models.Model):
    """An instance of a blueprint with an owner, credentials and a limited lifetime."""

    public_id = models.CharField(max_length=20, unique=True, default=new_public_id, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.SET_NULL,
        related_name="sandboxes",
        db_index=False,  # `sandbox_by_owner` begins with it.
    )
    name = models.CharField(max_length=60, blank=True)
    blueprint = models.CharField(max_length=40)
    blueprint_version = models.ForeignKey(
        BlueprintVersion,
        null=True,
        on_delete=models.PROTECT,
        to_field="digest",
        related_name="sandboxes",
        editable=False,
        db_index=False,  # `sandbox_by_version` replaces it and a second index for LIKE.
    )
    """The version that it was launched from; None if no version had been prepared yet."""
    engine = models.ForeignKey(
        Engine,
        on_delete=models.PROTECT,
        default=DEFAULT_ENGINE,
        db_default=Value(DEFAULT_ENGINE),
        related_name="sandboxes",
        editable=False,
        db_index=False,  # Live ones are few, and found by `sandbox_live`.
    )
    """The engine on which it is placed, before the engine is called."""
    state = models.CharField(max_length=12, choices=State, default=State.PENDING, editable=False)
    slot = models.PositiveSmallIntegerField(null=True, editable=False)
    """Number of the owner's slot while active; unique, so that a bug can't exceed the limit."""

    from_pool = models.BooleanField(default=False, editable=False)
    """Whether it was provisioned for the pool, before a user requested it."""
    spec_version = models.CharField(max_length=32, blank=True, editable=False)
    """Version of its blueprint and images (`Pool.version`), if provisioned for the pool."""

    created_at = models.DateTimeField(default=clock.now, editable=False)
    """When it was requested; for a pooled sandbox, when provisioning was requested."""
    started_at = models.DateTimeField(null=True, editable=False)
    ended_at = models.DateTimeField(null=True, editable=False)
    ttl_minutes = models.PositiveSmallIntegerField()
    idle_minutes = models.PositiveSmallIntegerField()
    expires_at = models.DateTimeField(null=True)
    hard_cap_at = models.DateTimeField(null=True)
    last_activity_at = models.DateTimeField(null=True)
    heartbeat_seconds = models.PositiveSmallIntegerField(null=True, editable=False)
    """How long it outlives its client, which sends heartbeats; None if none are expected."""
    heartbeat_expires_at = models.DateTimeField(null=True, editable=False)

    end_reason = models.CharField(max_length=20, choices=EndReason, blank=True, editable=False)
    end_message = models.TextField(blank=True, editable=False)
    failure = models.JSONField(default=dict, blank=True, editable=False)
    """After a failure: `service`, `exit_code` and `log_tail` of the failed service."""
    final_logs = models.TextField(blank=True, default="", db_default="", editable=False)
    """After any other end: the last log lines of its services, without its secrets."""
    peak = models.JSONField(null=True, editable=False)
    """After the end: peak `memory_mb`, `cpus`, `disk_mb`; total `received_bytes`, `sent_bytes`.

    None if no sweep measured them.
    """

    memory_mb = models.PositiveIntegerField()
    cpus = models.FloatField()
    disk_mb = models.PositiveIntegerField()

    steps = models.JSONField(default=list, editable=False)
    """Steps of provisioning: `name`, `state` (running, done, failed), `started_at`, `seconds`."""
    addresses = models.JSONField(default=dict, editable=False)
    """Published ports: `"service:port"` to `"host:port"`."""
    traffic_bytes = models.BigIntegerField(default=0, editable=False)
    """Traffic counter of the runtime at the last activity."""
    portal_received_bytes = models.BigIntegerField(default=0, db_default=0, editable=False)
    portal_sent_bytes = models.BigIntegerField(default=0, db_default=0, editable=False)
    """Traffic of the portal's own requests that no sweep has taken into account yet."""
    parameters = models.JSONField(
        default=dict, blank=True, db_default=Value({}, models.JSONField()), editable=False
    )
    """What its launch chose, with the defaults of the rest; empty before there were parameters."""
    metadata = models.JSONField(
        default=dict, blank=True, db_default=Value({}, models.JSONField()), editable=False
    )
    """Keys and texts of the caller. `MetadataEntry` has the same, to find sandboxes by them."""
    secrets = EncryptedJSONField(default=dict, blank=True, editable=False)
    problem = models.CharField(
        max_length=300, blank=True, default="", db_default="", editable=False
    )
    """What the last sweep found broken, as a sentence; empty if everything responds."""
    unreachable_since = models.DateTimeField(null=True, editable=False)
    """Since when its engine is away, set after some minutes; its owner may then replace it."""
    repair_after = models.DateTimeField(null=True, editable=False)
    """Until then a sandbox that responds, but isn't ready, is left alone."""
    reset_requested_at = models.DateTimeField(null=True, editable=False)
    reset_to = models.ForeignKey(
        "SavePoint",
        null=True,
        on_delete=models.PROTECT,
        to_field="public_id",
        related_name="restoring",
        editable=False,
    )
    """The save point whose data the requested reset restores; None for the seed."""
    launched_from = models.ForeignKey(
        "SavePoint",
        null=True,
        on_delete=models.SET_NULL,
        to_field="public_id",
        related_name="launched",
        editable=False,
    )
    """The save point whose data it started with; None for the seed, or if it was deleted."""

    stellar_public_key = models.CharField(max_length=56, blank=True, editable=False)
    """Empty unless its blueprint asks for an account."""
    funding = models.CharField(
        max_length=8, choices=Funding, default=Funding.PENDING, blank=True, editable=False
    )
    """Empty without an account."""
    funding_attempts = models.PositiveSmallIntegerField(default=0, editable=False)
    funding_due_at = models.DateTimeField(null=True, editable=False)
    funding_error = models.CharField(max_length=200, blank=True, editable=False)

    leased_until = models.DateTimeField(null=True, editable=False)
    """End of the lease of the worker that works on it; afterwards another may take over."""
    lease_token = models.PositiveSmallIntegerField(default=0, editable=False)
    """Incremented with each lease, so that writes of a worker which lost its lease are ignored."""
    removal_attempts = models.PositiveSmallIntegerField(default=0, editable=False)
    removal_error = models.CharField(max_length=300, blank=True, editable=False)

    objects = SandboxManager()

    class Meta:
        verbose_name_plural = "sandboxes"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["owner", "slot"], name="one_active_sandbox_per_slot"),
            models.CheckConstraint(
                condition=Q(slot__isnull=False, state__in=COUNTED_STATES)
                | Q(slot__isnull=True) & ~Q(state__in=COUNTED_STATES)
                | Q(slot__isnull=True, state__in=POOL_STATES, from_pool=True, owner__isnull=True),
                name="sandbox_slot_matches_state",
            ),
            models.CheckConstraint(condition=Q(state__in=State.values), name="sandbox_state_valid"),
            models.CheckConstraint(
                condition=~Q(state=State.POOLED) | Q(owner__isnull=True, from_pool=True),
                name="sandbox_pooled_has_no_owner",
            ),
            models.CheckConstraint(
                condition=~Q(state=State.RUNNING)
                | Q(
                    started_at__isnull=False,
                    expires_at__isnull=False,
                    hard_cap_at__isnull=False,
                    last_activity_at__isnull=False,
                ),
                name="sandbox_running_has_deadlines",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=(State.DESTROYING, *TERMINAL_STATES)) | ~Q(end_reason=""),
                name="sandbox_end_reason_required",
            ),
            models.CheckConstraint(
                condition=Q(state__in=TERMINAL_STATES, ended_at__isnull=False)
                | ~Q(state__in=TERMINAL_STATES) & Q(ended_at__isnull=True),
                name="sandbox_ended_at_matches_state",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["owner", "-created_at", "-id"], name="sandbox_by_owner"),
            models.Index(fields=["owner", "state", "-created_at", "-id"], name="sandbox_of_owner"),
            # Conditions on times, since SQLite doesn't use partial indexes for lists of states.
            models.Index(
                fields=["owner", "-created_at", "-id"],
                name="sandbox_live",
                condition=Q(ended_at__isnull=True),
            ),
            models.Index(
                fields=["owner", "-ended_at", "-id"],
                name="sandbox_history",
                condition=Q(ended_at__isnull=False),
            ),
            models.Index(fields=["-created_at", "-id"], name="sandbox_by_age"),
            models.Index(fields=["state", "-created_at", "-id"], name="sandbox_by_state"),
            models.Index(fields=["end_reason", "-created_at", "-id"], name="sandbox_by_end"),
            models.Index(fields=["blueprint_version"], name="sandbox_by_version"),
            models.Index(fields=["expires_at"], name="sandbox_by_expiry"),
            models.Index(
                fields=["ended_at"], name="sandbox_ended", condition=Q(ended_at__isnull=False)
            ),
            models.Index(
                fields=["funding_due_at"],
                name="sandbox_funding_due",
                condition=Q(funding_due_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.name or self.public_id

    @property
    def engine_name(self) -> str:
        """The name of its engine, without a query."""
        return str(self.engine_id)

    @property
    def is_active(self) -> bool:
        return self.state in COUNTED_STATES

    @property
    def is_not_ending(self) -> bool:
        return self.state in NOT_ENDING

    @property
    def is_for_pool(self) -> bool:
        """Whether it belongs to the pool and has no owner yet."""
        return self.from_pool and self.owner_id is None and self.state in POOL_STATES

    @property
    def is_replaceable(self) -> bool:
        """Whether its engine has been away for so long that the owner may replace it."""
        return self.state == State.RUNNING and self.unreachable_since is not None

    @property
    def has_ended(self) -> bool:
        return self.state in TERMINAL_STATES

    @property
    def idle_expires_at(self) -> datetime | None:
        """When the idle timeout ends it without further traffic."""
        if self.state != State.RUNNING or self.last_activity_at is None:
            return None
        return self.last_activity_at + timedelta(minutes=self.idle_minutes)

    @property
    def ends_at(self) -> datetime | None:
        """The earliest deadline."""
        if self.state != State.RUNNING:
            return None
        return min(t for t in (self.expires_at, self.idle_expires_at) if t is not None)

    @property
    def ends_because(self) -> str | None:
        """The kind of `ends_at`: `idle`, `expired`, or `cap` if no extension can move it."""
        if self.ends_at is None:
            return None
        if self.ends_at == self.idle_expires_at != self.expires_at:
            return "idle"
        return "cap" if self.expires_at == self.hard_cap_at else "expired"
