"""The queue of deliveries: which one is next, and how many threads slow receivers get.

Receivers may be slow, and only a few threads deliver at a time. Owners therefore take turns: no two
endpoints of one owner are served at once, next is the owner who was served least recently, and
endpoints that were slow the last time get only a part of the threads.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from threading import BoundedSemaphore
from typing import Any

from django.db import models, transaction
from django.db.models import F, Max, OuterRef

from sandboxes.lib import clock
from sandboxes.lib.batches import Batch
from sandboxes.models.abstract.claims import is_due

ENDPOINT_LEASE = timedelta(seconds=60)
SLOW_SECONDS = 2.0
"""Duration of an attempt from which an endpoint counts as slow."""
SLOW_THREADS = 3
"""How many of a process's threads may send to slow endpoints at once."""
CANDIDATES = 10


class DeliveryQueue:
    """Deliveries of one model to endpoints of another, by the threads of the named batch.

    Endpoints have `user`, `leased_until`, `last_attempt_at` and `slow`, and a queryset with
    `enabled()`; deliveries have `due_at` and `attempts`, and a queryset with `due(now)`. `field`
    is the foreign key of a delivery to its endpoint.
    """

    def __init__(
        self, batch: str, endpoints: type[models.Model], deliveries: type[models.Model], field: str
    ) -> None:
        self._batch = Batch(batch)
        self._slow_threads = BoundedSemaphore(SLOW_THREADS)
        self._endpoints: Any = endpoints._default_manager  # noqa: SLF001 - the name of a manager
        self._deliveries: Any = deliveries._default_manager  # noqa: SLF001
        self._field = field

    def deliver_due(self, deliver: Callable[[Any], None]) -> None:
        """Deliver until nothing is due, unless enough threads are delivering already."""
        self._batch.run(lambda: self._deliver_next(deliver))

    def _deliver_next(self, deliver: Callable[[Any], None]) -> bool:
        if delivery := self.claim(slow=False):
            deliver(delivery)
            return True
        if not self._slow_threads.acquire(blocking=False):
            return False
        try:
            if delivery := self.claim(slow=True):
                deliver(delivery)
            return delivery is not None
        finally:
            self._slow_threads.release()

    def claim(self, **criteria: bool) -> Any:
        """Lease the next of these endpoints, claim its oldest due delivery, or return None."""
        now = clock.now()
        for endpoint in self._in_turn(now).filter(**criteria)[:CANDIDATES]:
            if pk := self._acquire(endpoint, now):
                rows = self._deliveries.select_related(self._field)
                # Secrets are read later, where a decryption error fails only this message.
                return rows.defer(f"{self._field}__secrets").get(pk=pk)
        return None

    def _in_turn(self, now: datetime) -> Any:
        """Return endpoints with due deliveries whose owners have none in progress, in order."""
        busy = self._endpoints.filter(leased_until__isnull=False)
        busy = busy.exclude(is_due("leased_until", now, ENDPOINT_LEASE))
        of_owner = self._endpoints.filter(user=OuterRef("user")).order_by().values("user")
        return (
            self._endpoints.enabled()
            .filter(pk__in=self._deliveries.due(now).values(self._field))
            .exclude(user__in=busy.values("user"))
            .annotate(owner_served_at=of_owner.annotate(at=Max("last_attempt_at")).values("at"))
            .order_by(
                F("owner_served_at").asc(nulls_first=True),
                F("last_attempt_at").asc(nulls_first=True),
                "pk",
            )
        )

    @transaction.atomic
    def _acquire(self, endpoint: Any, now: datetime) -> int | None:
        """Lease the endpoint, and claim and return its oldest due delivery."""
        # The lock keeps other workers from leasing another endpoint of the owner.
        siblings = self._endpoints.select_for_update().filter(user=endpoint.user_id).order_by("pk")
        if any(clock.is_ahead(row.leased_until, now, ENDPOINT_LEASE) for row in siblings):
            return None
        due = self._deliveries.due(now).filter(**{self._field: endpoint})
        pk: int | None = due.order_by("due_at", "pk").values_list("pk", flat=True).first()
        until = now + ENDPOINT_LEASE
        if pk is None or not self._endpoints.enabled().claim(
            endpoint.pk, leased_until=until, last_attempt_at=now
        ):
            return None
        due.claim(pk, due_at=until, attempts=F("attempts") + 1)
        return pk
