"""Many sandboxes at once: past ones of a busy quarter, and running ones.

They are written directly to the tables, as the portal would have left them. A hundred thousand take
a few seconds. Supports SQLite and PostgreSQL.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.db.models import Max
from django.utils import timezone

from sandboxes import blueprints
from sandboxes.models import FAILURE_REASONS, EndReason, Event, Extension, Funding, Sandbox, State
from sandboxes.runtime import SandboxSpec, ServiceSpec

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from sandboxes.runtime.memory import MemoryRuntime

__all__ = ["create_ended", "create_on_engine", "create_running"]

DAYS = 89
"""Past sandboxes were created within this many days, so none is due for deletion."""
BATCH = 2000
SANDBOXES_OF_ONE = 10
"""Past sandboxes of each generated owner."""
EXTENDED = 5
"""One in this many was extended."""
ENDS = {
    EndReason.IDLE: 40,
    EndReason.USER: 30,
    EndReason.EXPIRED: 20,
    EndReason.CRASHED: 4,
    EndReason.PROVISION_FAILED: 3,
    EndReason.OPERATOR: 1,
    EndReason.OUT_OF_MEMORY: 1,
    EndReason.LOST: 1,
}
BLUEPRINTS = {"billing": 19, "payouts": 1}
"""Including one that is no longer installed."""
KINDS = ("requested", "provisioning", "running", "funded", "credentials", "touched", "ending")
STEPS = [
    {"name": name, "state": "done", "started_at": "2026-01-01T00:00:00+00:00", "seconds": 1.0}
    for name in ("network", "containers", "ready")
]


def create_ended(
    count: int, owner_share: Mapping[User, int] | None = None, events_each: int = 8
) -> list[User]:
    """Create ended sandboxes, oldest first, with journals and some extensions.

    `owner_share` is the number of sandboxes per user. The others belong to generated users, who are
    returned.
    """
    shares = dict(owner_share or {})
    others = _create_users(count - sum(shares.values()))
    dice = random.Random(count)
    owners = [user for user, share in shares.items() for _ in range(share)]
    owners += [others[i % len(others)] for i in range(count - len(owners))]
    dice.shuffle(owners)
    began = timezone.now() - timedelta(days=DAYS)
    apart = timedelta(days=DAYS - 1) / max(1, count)
    rows = (_ended(owner, began + i * apart, dice) for i, owner in enumerate(owners))
    while batch := list(islice(rows, BATCH)):
        with transaction.atomic():
            _keep(Sandbox.objects.bulk_create(batch), events_each, dice)
    _analyze()
    return others


def create_running(count: int, owner: User) -> list[Sandbox]:
    """Create running sandboxes that are funded and in use, with three events each.

    Nothing is due for them.

    The engine doesn't have them; see `create_on_engine`.
    """
    taken = owner.sandboxes.aggregate(last=Max("slot"))["last"] or 0
    now = timezone.now()
    rows = [_running(owner, taken + 1 + i, now) for i in range(count)]
    made = []
    with transaction.atomic():
        for start in range(0, count, BATCH):
            made += Sandbox.objects.bulk_create(rows[start : start + BATCH])
            _journal(made[start:], 3)
    _analyze()
    return made


def create_on_engine(runtime: MemoryRuntime, rows: Sequence[Sandbox]) -> None:
    """Create these sandboxes on the fake engine, like the worker."""
    for row in rows:
        blueprint = blueprints.load(row.blueprint)
        services = [
            ServiceSpec(s.name, "image", memory_mb=64, cpus=0.1, pids=64, ports=s.ports)
            for s in blueprint.services
        ]
        spec = SandboxSpec(row.public_id, row.blueprint, services, [], disk_mb=row.disk_mb)
        row.addresses = blueprints.addresses(runtime.create(spec, lambda _: None, 5))
    Sandbox.objects.bulk_update(rows, ["addresses"], batch_size=100)


def _create_users(sandboxes: int) -> list[User]:
    count = -(-sandboxes // SANDBOXES_OF_ONE)
    users = get_user_model().objects
    known = users.filter(username__startswith="crowd-").count()
    names = [f"crowd-{known + i:06}" for i in range(count)]
    return users.bulk_create(
        [get_user_model()(username=name, email=f"{name}@example.com") for name in names]
    )


def _pick(dice: random.Random, weights: Mapping[Any, int]) -> Any:
    return dice.choices(list(weights), list(weights.values()))[0]


def _ended(owner: User, at: datetime, dice: random.Random) -> Sandbox:
    reason = _pick(dice, ENDS)
    ran = reason != EndReason.PROVISION_FAILED
    started = at + timedelta(seconds=3 + dice.random()) if ran else None
    ended = at + timedelta(minutes=dice.randint(1, 230))
    failure = {"service": "api", "exit_code": 1, "log_tail": "Traceback: error.\n" * 20}
    return _sandbox(
        owner,
        at,
        blueprint=_pick(dice, BLUEPRINTS),
        state=State.FAILED if reason in FAILURE_REASONS else State.DESTROYED,
        started_at=started,
        ended_at=ended,
        expires_at=started and started + timedelta(hours=1),
        hard_cap_at=started and started + timedelta(hours=4),
        last_activity_at=started and ended - timedelta(minutes=1),
        end_reason=reason,
        end_message="It ended.",
        failure=failure if reason in FAILURE_REASONS else {},
        lease_token=1,
        name=dice.choice(["", "", "checkout", "webhooks", "nightly"]),
    )


def _running(owner: User, slot: int, now: datetime) -> Sandbox:
    return _sandbox(
        owner,
        now - timedelta(seconds=5),
        blueprint="billing",
        state=State.RUNNING,
        slot=slot,
        started_at=now,
        expires_at=now + timedelta(hours=1),
        hard_cap_at=now + timedelta(hours=4),
        last_activity_at=now,
        addresses={"api:8000": "127.0.0.1:20000", "db:5432": "127.0.0.1:20001"},
        lease_token=1,
    )


def _sandbox(owner: User, at: datetime, **values: Any) -> Sandbox:
    return Sandbox(
        owner=owner,
        created_at=at,
        ttl_minutes=60,
        idle_minutes=30,
        memory_mb=512,
        cpus=1.0,
        disk_mb=2048,
        steps=STEPS,
        stellar_public_key="G" * 56,
        funding=Funding.FUNDED,
        funding_attempts=1,
        **values,
    )


def _keep(made: Sequence[Sandbox], events_each: int, dice: random.Random) -> None:
    """Create the journals and extensions of new sandboxes."""
    _journal(made, events_each)
    Extension.objects.bulk_create(
        Extension(
            sandbox=row,
            minutes=60,
            granted_by_id=row.owner_id,
            expires_before=row.expires_at,
            expires_after=row.expires_at + timedelta(hours=1),
            created_at=row.created_at,
        )
        for row in made
        if row.expires_at and dice.randrange(EXTENDED) == 0
    )


def _journal(made: Sequence[Sandbox], each: int) -> None:
    """Create this many events for each sandbox, in the database for speed."""
    kinds = list(islice(_kinds(each), each))
    lines = ", ".join(["(%s, %s, %s)"] * each)
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH line(number, kind, words) AS (VALUES {lines}) "
            f"INSERT INTO {Event._meta.db_table} "
            "(sandbox_id, created_at, kind, actor_id, actor_role, message, data) "
            "SELECT s.id, s.created_at, line.kind, s.owner_id, 'owner', line.words, '{}' "
            f"FROM {Sandbox._meta.db_table} s CROSS JOIN line "
            "WHERE s.id BETWEEN %s AND %s ORDER BY s.id, line.number",
            [*chain.from_iterable(kinds), made[0].pk, made[-1].pk],
        )


def _kinds(each: int) -> Iterator[tuple[int, str, str]]:
    for number in range(each):
        kind = "destroyed" if number == each - 1 else KINDS[number % len(KINDS)]
        yield number, kind, f"An event of the kind {kind} happened."


def _analyze() -> None:
    """Update the statistics of PostgreSQL's planner; SQLite has none."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
