"""Every rule of the reaper is a line of this table."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest
from django.contrib.auth import get_user_model

from sandboxes.core.reaper_policy import Action, Observation, decide
from sandboxes.models import DeadlineKind, EndReason, State
from sandboxes.runtime import ProbeResult, Published, SandboxFacts, ServiceFacts
from sandboxes.runtime import ServiceState as S
from tests.helpers.policy_rows import NOW, ago, ahead, row

PORTS = {"api": [8080], "db": []}
PUBLISHED = {8080: Published("127.0.0.1", 49152)}
UP = ServiceFacts(S.RUNNING)
API_UP = ServiceFacts(S.RUNNING, PUBLISHED)


def seen(
    *, db: ServiceFacts | None = UP, api: ServiceFacts | None = API_UP, **values
) -> Observation:
    services = {name: s for name, s in (("api", api), ("db", db)) if s}
    facts = SandboxFacts("sbx_1", services, ago(minutes=10), **({"traffic_bytes": 0} | values))
    return Observation(True, facts, PORTS)


def probed(problem: str, *, responded: bool = False) -> Observation:
    """Return the observation of a sandbox whose services run, but don't respond as they should."""
    return replace(seen(), probe=ProbeResult(problem, "api", responded))


def warned(
    kind: DeadlineKind, deadline: datetime, observation: Observation | None = None
) -> Observation:
    """Return the observation after a warning of this deadline."""
    return replace(observation or seen(), warned=[(kind, deadline)])


ABSENT = Observation(True, None, PORTS)
UNREACHABLE = Observation(False, None, PORTS)
PENDING = {"state": State.PENDING}
PROVISIONING = {"state": State.PROVISIONING}
DESTROYING = {"state": State.DESTROYING}
EXITED = ServiceFacts(S.EXITED, exit_code=1)
KILLED = ServiceFacts(S.EXITED, exit_code=137, out_of_memory=True)
STOPPED = ServiceFacts(S.EXITED, exit_code=137, stopped_with_engine=True)
PAUSED = ServiceFacts(S.PAUSED, PUBLISHED)
RESTARTING = ServiceFacts(S.RESTARTING)
DISCONNECTED = ServiceFacts(S.RUNNING, connected=False)
POOLED = {"state": State.POOLED, "owner": None, "from_pool": True}
IDLE = {"last_activity_at": ago(minutes=30)}
NEARLY_IDLE = {"last_activity_at": ago(minutes=26)}
NEARLY_OVER = {"expires_at": ahead(minutes=4)}

EXPIRED = (Action.EXPIRE, EndReason.EXPIRED)
IDLE_OUT = (Action.EXPIRE, EndReason.IDLE)
ABANDONED = (Action.EXPIRE, EndReason.HEARTBEAT)
CLOSED = (Action.EXPIRE, EndReason.OPERATOR)
LOST = (Action.FAIL, EndReason.LOST)
CRASHED = (Action.FAIL, EndReason.CRASHED)
REQUEUE = (Action.REQUEUE, None)
DESTROY = (Action.DESTROY, None)
RESTART = (Action.RESTART, None)
REPAIR = (Action.REPAIR, None)
RETIRED = (Action.EXPIRE, EndReason.RETIRED)
WARN_IDLE = (Action.WARN, EndReason.IDLE)
WARN_END = (Action.WARN, EndReason.EXPIRED)

TABLE = {
    "a healthy sandbox needs no action": (row(), seen(), None),
    "a new launch waits for its worker": (row(**PENDING, created_at=ago(seconds=9)), ABSENT, None),
    "an overdue launch is requeued": (row(**PENDING, created_at=ago(seconds=11)), ABSENT, REQUEUE),
    "an overdue launch is requeued during an engine outage": (
        row(**PENDING, created_at=ago(seconds=11)),
        UNREACHABLE,
        REQUEUE,
    ),
    "a leased launch needs no action": (
        row(**PROVISIONING, leased_until=ahead(seconds=1)),
        ABSENT,
        None,
    ),
    "a launch with an expired lease is requeued": (
        row(**PROVISIONING, leased_until=ago(seconds=1)),
        ABSENT,
        REQUEUE,
    ),
    "a launch past the deadline fails": (
        row(**PROVISIONING, created_at=ago(minutes=11)),
        ABSENT,
        (Action.FAIL, EndReason.PROVISION_FAILED),
    ),
    "a leased launch past the deadline continues": (
        row(**PROVISIONING, created_at=ago(minutes=11), leased_until=ahead(seconds=1)),
        ABSENT,
        None,
    ),
    "an unfinished removal continues": (row(**DESTROYING), seen(), DESTROY),
    "a removal continues without objects on the engine": (row(**DESTROYING), ABSENT, DESTROY),
    "a removal waits for its next attempt": (
        row(**DESTROYING, leased_until=ahead(seconds=1)),
        seen(),
        None,
    ),
    "a removal waits for the engine": (row(**DESTROYING), UNREACHABLE, None),
    "a sandbox whose client went silent ends": (
        row(heartbeat_seconds=60, heartbeat_expires_at=NOW),
        UNREACHABLE,
        ABANDONED,
    ),
    "a launch whose client went silent ends, also while a worker provisions it": (
        row(
            **PROVISIONING,
            leased_until=ahead(seconds=1),
            heartbeat_seconds=60,
            heartbeat_expires_at=NOW,
        ),
        ABSENT,
        ABANDONED,
    ),
    "a sandbox stays between heartbeats": (
        row(heartbeat_seconds=60, heartbeat_expires_at=ahead(seconds=1)),
        seen(),
        None,
    ),
    "an expired sandbox ends": (row(expires_at=NOW), seen(), EXPIRED),
    "an expired sandbox ends during an engine outage": (row(expires_at=NOW), UNREACHABLE, EXPIRED),
    "expiry takes precedence over a failure": (row(expires_at=NOW), ABSENT, EXPIRED),
    "an idle sandbox ends": (row(**IDLE), seen(), IDLE_OUT),
    "an idle sandbox continues during an engine outage": (
        row(**IDLE),
        warned(DeadlineKind.IDLE, NOW, UNREACHABLE),
        None,
    ),
    "an idle sandbox continues if its traffic is unknown": (
        row(**IDLE),
        warned(DeadlineKind.IDLE, NOW, seen(traffic_bytes=None)),
        None,
    ),
    "an individual idle timeout applies": (
        row(last_activity_at=ago(minutes=5), idle_minutes=5),
        seen(),
        IDLE_OUT,
    ),
    "a sandbox missing on the engine is lost": (row(), ABSENT, LOST),
    "a sandbox is not lost during an engine outage": (row(), UNREACHABLE, None),
    "a sandbox with a network but no containers is lost": (row(), seen(db=None, api=None), LOST),
    "a sandbox with a missing service is lost": (row(), seen(db=None), LOST),
    "a sandbox with a stopped service has crashed": (row(), seen(api=EXITED), CRASHED),
    "a service that stopped with exit code 0 has crashed": (
        row(),
        seen(api=ServiceFacts(S.EXITED, exit_code=0)),
        CRASHED,
    ),
    "a one-shot service that has completed did not crash": (
        row(),
        seen(db=ServiceFacts(S.COMPLETED, exit_code=0)),
        None,
    ),
    "a one-shot service that has completed needs no ports": (
        row(),
        seen(api=ServiceFacts(S.COMPLETED, exit_code=0), db=API_UP),
        None,
    ),
    "completed services don't hide that the engine was restarted": (
        row(),
        seen(db=ServiceFacts(S.COMPLETED, exit_code=0), api=STOPPED),
        RESTART,
    ),
    "a service out of memory fails the sandbox": (
        row(),
        seen(db=KILLED),
        (Action.FAIL, EndReason.OUT_OF_MEMORY),
    ),
    "a sandbox over its disk limit fails": (
        row(),
        seen(disk_mb=2048.5),
        (Action.FAIL, EndReason.DISK_FULL),
    ),
    "a sandbox at its disk limit continues": (row(), seen(disk_mb=2048.0), None),
    "a sandbox with unknown disk usage continues": (row(), seen(disk_mb=None), None),
    "a sandbox with too many files fails": (
        row(),
        seen(disk_mb=100.0, files=2048 * 64 + 1),
        (Action.FAIL, EndReason.DISK_FULL),
    ),
    "a sandbox with as many files as allowed continues": (
        row(),
        seen(disk_mb=100.0, files=2048 * 64),
        None,
    ),
    "a sandbox that stopped with the engine is restarted": (
        row(),
        seen(db=STOPPED, api=STOPPED),
        RESTART,
    ),
    "a sandbox that stopped with the engine is not idle": (
        row(**IDLE),
        seen(db=STOPPED, api=STOPPED),
        RESTART,
    ),
    "a sandbox being restarted needs no action": (
        row(leased_until=ahead(seconds=1)),
        seen(db=STOPPED),
        None,
    ),
    "a sandbox being recreated needs no action": (
        row(leased_until=ahead(seconds=1)),
        seen(db=EXITED),
        None,
    ),
    "an interrupted recreation is lost": (
        row(leased_until=ago(seconds=1)),
        ABSENT,
        (Action.FAIL, EndReason.LOST),
    ),
    "a paused service is repaired": (row(), seen(db=PAUSED), REPAIR),
    "a paused sandbox is repaired": (row(), seen(db=PAUSED, api=PAUSED), REPAIR),
    "a paused sandbox is not idle": (row(**IDLE), seen(db=PAUSED, api=PAUSED), REPAIR),
    "a paused sandbox still expires": (row(expires_at=NOW), seen(db=PAUSED), EXPIRED),
    "a service that keeps restarting is repaired": (row(), seen(api=RESTARTING), REPAIR),
    "a crash next to a paused service is a crash": (row(), seen(db=PAUSED, api=EXITED), CRASHED),
    "a disconnected service is repaired": (row(), seen(db=DISCONNECTED), REPAIR),
    "a service without its published port is repaired": (row(), seen(api=UP), REPAIR),
    "a sandbox that responds as it should needs no action": (
        row(),
        probed("", responded=True),
        None,
    ),
    "a sandbox that doesn't respond is repaired": (row(), probed("no response"), REPAIR),
    "a sandbox that isn't ready is examined": (row(), probed("503", responded=True), REPAIR),
    "a sandbox that was left alone isn't examined at once": (
        row(repair_after=ahead(minutes=1)),
        probed("503", responded=True),
        None,
    ),
    "a sandbox that was left alone is examined again": (
        row(repair_after=NOW),
        probed("503", responded=True),
        REPAIR,
    ),
    "a sandbox that was left alone is repaired if it doesn't respond": (
        row(repair_after=ahead(minutes=1)),
        probed("no response"),
        REPAIR,
    ),
    "a sandbox that was left alone can become idle": (
        row(**IDLE, repair_after=ahead(minutes=1)),
        probed("503", responded=True),
        IDLE_OUT,
    ),
    "a sandbox being repaired needs no action": (
        row(leased_until=ahead(seconds=1)),
        probed("no response"),
        None,
    ),
    "a full sandbox that doesn't respond fails": (
        row(),
        replace(seen(disk_mb=2049.0), probe=ProbeResult("no response", "api", responded=False)),
        (Action.FAIL, EndReason.DISK_FULL),
    ),
    "a healthy pooled sandbox needs no action": (row(**POOLED), seen(), None),
    "a paused pooled sandbox is retired": (row(**POOLED), seen(db=PAUSED), RETIRED),
    "a disconnected pooled sandbox is retired": (row(**POOLED), seen(api=DISCONNECTED), RETIRED),
    "a pooled sandbox that doesn't respond is retired": (
        row(**POOLED),
        probed("no response"),
        RETIRED,
    ),
    "a pooled sandbox that isn't ready is retired": (
        row(**POOLED),
        probed("503", responded=True),
        RETIRED,
    ),
    "a pooled sandbox that stopped with the engine is retired": (
        row(**POOLED),
        seen(db=STOPPED, api=STOPPED),
        RETIRED,
    ),
    "a pooled sandbox being provisioned isn't judged": (
        row(**POOLED, leased_until=ahead(seconds=1)),
        seen(db=PAUSED),
        None,
    ),
    "a crash before an engine restart is a crash": (row(), seen(db=STOPPED, api=EXITED), CRASHED),
    "an overdue reset is requeued": (
        row(reset_requested_at=ago(seconds=11)),
        seen(),
        REQUEUE,
    ),
    "a leased reset needs no action": (
        row(reset_requested_at=ago(seconds=11), leased_until=ahead(seconds=1)),
        seen(),
        None,
    ),
    "a sandbox of a deleted owner ends": (row(owner=None), seen(), CLOSED),
    "a sandbox of a closed account ends": (
        row(owner=get_user_model()(is_active=False)),
        seen(),
        CLOSED,
    ),
    "a launch of a closed account ends": (row(owner=None, **PENDING), ABSENT, CLOSED),
    "a leased launch of a closed account ends": (
        row(owner=None, **PROVISIONING, leased_until=ahead(seconds=9)),
        ABSENT,
        CLOSED,
    ),
    "a removal continues after its account was closed": (
        row(owner=None, **DESTROYING),
        seen(),
        DESTROY,
    ),
    "an approaching expiry is warned of": (row(**NEARLY_OVER), seen(), WARN_END),
    "an approaching expiry is warned of once": (
        row(**NEARLY_OVER),
        warned(DeadlineKind.EXPIRED, ahead(minutes=4)),
        None,
    ),
    "a moved expiry is warned of again": (
        row(**NEARLY_OVER),
        warned(DeadlineKind.EXPIRED, ago(minutes=60)),
        WARN_END,
    ),
    "an approaching idle timeout is warned of": (row(**NEARLY_IDLE), seen(), WARN_IDLE),
    "an approaching idle timeout is warned of once": (
        row(**NEARLY_IDLE),
        warned(DeadlineKind.IDLE, ahead(minutes=4)),
        None,
    ),
    "the earlier deadline is warned of": (
        row(**NEARLY_IDLE, expires_at=ahead(minutes=4, seconds=30)),
        seen(),
        WARN_IDLE,
    ),
    "an expiry warning does not hide an idle warning": (
        row(**NEARLY_IDLE, expires_at=ahead(minutes=4, seconds=30)),
        warned(DeadlineKind.EXPIRED, ahead(minutes=4, seconds=30)),
        WARN_IDLE,
    ),
    "a short idle timeout is not warned of at once": (
        row(idle_minutes=4, last_activity_at=ago(minutes=1)),
        seen(),
        None,
    ),
    "a short idle timeout is warned of after half of it": (
        row(idle_minutes=4, last_activity_at=ago(minutes=2)),
        seen(),
        WARN_IDLE,
    ),
}


@pytest.mark.parametrize("case", TABLE)
def test_each_state_leads_to_its_decision(case):
    sandbox, observation, expected = TABLE[case]
    decision = decide(sandbox, observation, NOW)
    assert (decision and (decision.action, decision.reason)) == expected


def test_a_failure_contains_service_and_exit_code():
    decision = decide(row(), seen(api=EXITED), NOW)

    assert decision
    assert (decision.service, decision.exit_code) == ("api", 1)
    assert decision.message == "The service api stopped with exit code 1."


def test_a_repair_names_the_service_and_what_is_wrong_with_it():
    messages = {
        service: decide(row(), seen(db=facts), NOW)
        for service, facts in (("paused", PAUSED), ("disconnected", DISCONNECTED))
    }

    assert {service: decision and decision.message for service, decision in messages.items()} == {
        "paused": "The service db was paused.",
        "disconnected": "The service db was disconnected from its network.",
    }
