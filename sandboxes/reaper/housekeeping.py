"""Housekeeping of a sweep: overdue tasks, data retention and the heartbeat."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import timedelta

from django.contrib.sessions.models import Session

from sandboxes.accounts import sessions
from sandboxes.accounts import tasks as account_tasks
from sandboxes.core.fleet import Fleet
from sandboxes.lib import clock, queue
from sandboxes.models import (
    AccountMail,
    DeviceAuthorization,
    Engine,
    Event,
    EventDelivery,
    IdempotencyKey,
    Invitation,
    Sandbox,
    SandboxWarning,
    SweepStatus,
    UsageSample,
    WebhookDelivery,
)
from sandboxes.models.abstract.batch_delete import delete_batch
from sandboxes.models.engine import described_by
from sandboxes.models.idempotency_key import IDEMPOTENCY_KEY_RETENTION
from sandboxes.models.runtime_settings import config
from sandboxes.notifications import tasks as notification_tasks
from sandboxes.pool import policy, reconcile
from sandboxes.pool import tasks as pool_tasks
from sandboxes.runtime import call_engines, get_runtime
from sandboxes.webhooks import tasks as webhook_tasks
from sandboxes.webhooks.endpoints import prune_deliveries
from sandboxes.webhooks.inbox import feeds
from sandboxes.webhooks.inbox import tasks as inbox_tasks
from sandboxes.worker import funding
from sandboxes.worker import tasks as worker_tasks

USAGE_SAMPLE_RETENTION = timedelta(days=7)
MAX_NAMED_ORPHANS = 20
MAX_ERROR_LENGTH = 2000


def requeue_notifications() -> None:
    """Send tasks for emails and webhook deliveries that are due."""
    now = clock.now()
    if SandboxWarning.objects.mail_due(now).exists():
        queue.enqueue(notification_tasks.send_mails)
    if Event.objects.mail_due(now).exists():
        queue.enqueue(notification_tasks.send_message)
    if Invitation.objects.mail_due(now).exists():
        queue.enqueue(account_tasks.invite)
    if AccountMail.objects.due(now).exists():
        queue.enqueue(account_tasks.send_account_mails)
    if WebhookDelivery.objects.due(now).exists():
        webhook_tasks.schedule_delivery()
    if EventDelivery.objects.due(now).exists():
        inbox_tasks.schedule_delivery()


def requeue_funding() -> None:
    """Send a task if a funding attempt is due."""
    if funding.is_due(clock.now()):
        queue.enqueue(worker_tasks.fund)


def request_pool_reconcile(fleet: Fleet) -> None:
    """Send a task if a pool differs from its target. Raises RuntimeFailure."""
    reconcile.refresh_versions(fleet)
    if any(plan.retire or plan.missing for plan in policy.plan_pools(fleet)):
        queue.enqueue(pool_tasks.reconcile_pools)


def prune() -> None:
    """Delete rows past their retention: samples, keys, sessions, codes, deliveries and sandboxes.

    Deletes a batch of each kind.
    """
    now = clock.now()
    delete_batch(UsageSample.objects.filter(at__lt=now - USAGE_SAMPLE_RETENTION).order_by("at"))
    delete_batch(
        IdempotencyKey.objects.filter(created_at__lt=now - IDEMPOTENCY_KEY_RETENTION).order_by(
            "created_at"
        )
    )
    sessions.delete_user_sessions(
        delete_batch(Session.objects.filter(expire_date__lt=now).order_by("expire_date"))
    )
    delete_batch(DeviceAuthorization.objects.filter(expires_at__lt=now).order_by("expires_at"))
    prune_deliveries()
    feeds.prune()
    oldest = now - timedelta(days=config.SANDBOX_RETENTION_DAYS)
    delete_batch(Sandbox.objects.ended().filter(ended_at__lt=oldest).order_by("ended_at"))


def record_engines(answered: Collection[Engine]) -> None:
    """Store the capabilities of engines for the pages and placement. Raises RuntimeFailure."""
    calls = {one.name: get_runtime(one.connection).capabilities for one in answered}
    found, failures = call_engines(calls)
    for engine in answered:
        if engine.name in found:
            engine.store(**described_by(found[engine.name]), away_since=None)
    for failure in failures.values():
        raise failure


def record_away(engines: Iterable[Engine]) -> None:
    """Record since when engines don't answer."""
    for engine in engines:
        if engine.away_since is None:
            engine.store(away_since=clock.now())


def record_heartbeat(
    errors: list[str],
    seconds: float,
    orphans: list[str],
    *,
    engine_reachable: bool,
    expiration_limit_exceeded: bool,
    failed_removals: int,
) -> None:
    """Record that a sweep has finished, and its results."""
    values = {
        "last_sweep_at": clock.now(),
        "seconds": round(seconds, 3),
        "engine_reachable": engine_reachable,
        "expiration_limit_exceeded": expiration_limit_exceeded,
        "failed_removals": failed_removals,
        "last_sweep_error": "; ".join(errors)[:MAX_ERROR_LENGTH],
        "orphans": orphans[:MAX_NAMED_ORPHANS],
    }
    SweepStatus.store(**values)
