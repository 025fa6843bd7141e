"""Every rule of the reaper is a line of this table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth import get_user_model

from sandboxes.core.reaper_policy import Action, Observation, decide
from sandboxes.models import EndReason, Sandbox, State
from sandboxes.runtime import SandboxFacts, ServiceFacts
from sandboxes.runtime import ServiceState as S

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


def ago(**delta: float) -> datetime:
    return NOW - timedelta(**delta)


def ahead(**delta: float) -> datetime:
    return NOW + timedelta(**delta)


def row(**values) -> Sandbox:
    """A healthy running sandbox that was launched ten minutes ago, except for these values."""
    known = {
        "public_id": "sbx_1",
        "owner": get_user_model()(is_active=True),
        "state": State.RUNNING,
        "created_at": ago(minutes=10),
        "started_at": ago(minutes=10),
        "last_activity_at": ago(minutes=1),
        "expires_at": ahead(minutes=50),
        "hard_cap_at": ahead(minutes=230),
        "idle_minutes": 30,
        "disk_mb": 2048,
    }
    return Sandbox(**(known | values))


UP = ServiceFacts(S.RUNNING)


def seen(*, db: ServiceFacts | None = UP, api: ServiceFacts | None = UP, **values) -> Observation:
    services = {name: s for name, s in (("api", api), ("db", db)) if s}
    facts = SandboxFacts("sbx_1", services, ago(minutes=10), **({"traffic_bytes": 0} | values))
    return Observation(True, facts, ["api", "db"])


ABSENT = Observation(True, None, ["api", "db"])
UNREACHABLE = Observation(False, None, ["api", "db"])
PENDING = {"state": State.PENDING}
PROVISIONING = {"state": State.PROVISIONING}
DESTROYING = {"state": State.DESTROYING}
EXITED = ServiceFacts(S.EXITED, exit_code=1)
KILLED = ServiceFacts(S.EXITED, exit_code=137, out_of_memory=True)
STOPPED = ServiceFacts(S.EXITED, exit_code=137, stopped_with_engine=True)
IDLE = {"last_activity_at": ago(minutes=30)}
NEARLY_IDLE = {"last_activity_at": ago(minutes=26)}
NEARLY_OVER = {"expires_at": ahead(minutes=4)}

EXPIRED = (Action.EXPIRE, EndReason.EXPIRED)
IDLE_OUT = (Action.EXPIRE, EndReason.IDLE)
CLOSED = (Action.EXPIRE, EndReason.OPERATOR)
LOST = (Action.FAIL, EndReason.LOST)
CRASHED = (Action.FAIL, EndReason.CRASHED)
REQUEUE = (Action.REQUEUE, None)
DESTROY = (Action.DESTROY, None)
RESTART = (Action.RESTART, None)
WARN_IDLE = (Action.WARN, EndReason.IDLE)
WARN_END = (Action.WARN, EndReason.EXPIRED)

TABLE = {
    "a healthy one is left alone": (row(), seen(), None),
    "a new request waits for its worker": (row(**PENDING, created_at=ago(seconds=9)), ABSENT, None),
    "an old request is sent again": (row(**PENDING, created_at=ago(seconds=11)), ABSENT, REQUEUE),
    "an old request is sent again also while the engine is away": (
        row(**PENDING, created_at=ago(seconds=11)),
        UNREACHABLE,
        REQUEUE,
    ),
    "what a worker holds is left to it": (
        row(**PROVISIONING, leased_until=ahead(seconds=1)),
        ABSENT,
        None,
    ),
    "what a dead worker held is sent again": (
        row(**PROVISIONING, leased_until=ago(seconds=1)),
        ABSENT,
        REQUEUE,
    ),
    "what could not be made in time is given up": (
        row(**PROVISIONING, created_at=ago(minutes=11)),
        ABSENT,
        (Action.FAIL, EndReason.PROVISION_FAILED),
    ),
    "what is held is not given up": (
        row(**PROVISIONING, created_at=ago(minutes=11), leased_until=ahead(seconds=1)),
        ABSENT,
        None,
    ),
    "an unfinished removal goes on": (row(**DESTROYING), seen(), DESTROY),
    "a removal also goes on when nothing of it is there": (row(**DESTROYING), ABSENT, DESTROY),
    "a removal waits for its next try": (
        row(**DESTROYING, leased_until=ahead(seconds=1)),
        seen(),
        None,
    ),
    "a removal waits for the engine": (row(**DESTROYING), UNREACHABLE, None),
    "what is over ends": (row(expires_at=NOW), seen(), EXPIRED),
    "what is over ends also while the engine is away": (row(expires_at=NOW), UNREACHABLE, EXPIRED),
    "what is over and broken has expired": (row(expires_at=NOW), ABSENT, EXPIRED),
    "what nobody uses ends": (row(**IDLE), seen(), IDLE_OUT),
    "an idle one is not judged while the engine is away": (
        row(**IDLE, warned_idle_for=NOW),
        UNREACHABLE,
        None,
    ),
    "an idle one is not judged without a measure of its traffic": (
        row(**IDLE, warned_idle_for=NOW),
        seen(traffic_bytes=None),
        None,
    ),
    "an idle time of its own counts": (
        row(last_activity_at=ago(minutes=5), idle_minutes=5),
        seen(),
        IDLE_OUT,
    ),
    "one that is gone is lost": (row(), ABSENT, LOST),
    "one that is nowhere to be seen is not lost": (row(), UNREACHABLE, None),
    "one with a network and no containers is lost": (row(), seen(db=None, api=None), LOST),
    "one with a service missing is lost": (row(), seen(db=None), LOST),
    "one with a stopped service has crashed": (row(), seen(api=EXITED), CRASHED),
    "one that stopped with exit code 0 has crashed as well": (
        row(),
        seen(api=ServiceFacts(S.EXITED, exit_code=0)),
        CRASHED,
    ),
    "one out of memory says so": (row(), seen(db=KILLED), (Action.FAIL, EndReason.OUT_OF_MEMORY)),
    "one over its disk limit ends": (
        row(),
        seen(disk_mb=2048.5),
        (Action.FAIL, EndReason.DISK_FULL),
    ),
    "one just at its disk limit goes on": (row(), seen(disk_mb=2048.0), None),
    "one that was not measured goes on": (row(), seen(disk_mb=None), None),
    "one that stopped with the engine is started": (row(), seen(db=STOPPED, api=STOPPED), RESTART),
    "one that stopped with the engine is not idle": (
        row(**IDLE),
        seen(db=STOPPED, api=STOPPED),
        RESTART,
    ),
    "one that is being started is left to it": (
        row(leased_until=ahead(seconds=1)),
        seen(db=STOPPED),
        None,
    ),
    "one that is being made anew is left to it": (
        row(leased_until=ahead(seconds=1)),
        seen(db=EXITED),
        None,
    ),
    "one that was left half made anew is lost": (
        row(leased_until=ago(seconds=1)),
        Observation(True, None, ["db", "api"]),
        (Action.FAIL, EndReason.LOST),
    ),
    "a crash beside a stopped engine is a crash": (row(), seen(db=STOPPED, api=EXITED), CRASHED),
    "a reset that nobody does is sent again": (
        row(reset_requested_at=ago(seconds=11)),
        seen(),
        REQUEUE,
    ),
    "a reset that somebody does is left to him": (
        row(reset_requested_at=ago(seconds=11), leased_until=ahead(seconds=1)),
        seen(),
        None,
    ),
    "a deleted owner's ends": (row(owner=None), seen(), CLOSED),
    "a closed account's ends": (row(owner=get_user_model()(is_active=False)), seen(), CLOSED),
    "a closed account's request ends": (row(owner=None, **PENDING), ABSENT, CLOSED),
    "a closed account's ends also in a worker's hands": (
        row(owner=None, **PROVISIONING, leased_until=ahead(seconds=9)),
        ABSENT,
        CLOSED,
    ),
    "a closed account's removal just goes on": (row(owner=None, **DESTROYING), seen(), DESTROY),
    "a near end is warned of": (row(**NEARLY_OVER), seen(), WARN_END),
    "a near end is warned of once": (
        row(**NEARLY_OVER, warned_expiry_for=ahead(minutes=4)),
        seen(),
        None,
    ),
    "a new end is warned of anew": (
        row(**NEARLY_OVER, warned_expiry_for=ago(minutes=60)),
        seen(),
        WARN_END,
    ),
    "idleness is warned of": (row(**NEARLY_IDLE), seen(), WARN_IDLE),
    "idleness is warned of once": (
        row(**NEARLY_IDLE, warned_idle_for=ahead(minutes=4)),
        seen(),
        None,
    ),
    "the clock that ends it is the one that is warned of": (
        row(**NEARLY_IDLE, expires_at=ahead(minutes=4, seconds=30)),
        seen(),
        WARN_IDLE,
    ),
    "a warning of its end does not hide that of its idleness": (
        row(
            **NEARLY_IDLE,
            expires_at=ahead(minutes=4, seconds=30),
            warned_expiry_for=ahead(minutes=4, seconds=30),
        ),
        seen(),
        WARN_IDLE,
    ),
    "a short idle time is not all warning": (
        row(idle_minutes=4, last_activity_at=ago(minutes=1)),
        seen(),
        None,
    ),
    "half of a short idle time is": (
        row(idle_minutes=4, last_activity_at=ago(minutes=2)),
        seen(),
        WARN_IDLE,
    ),
}


@pytest.mark.parametrize("case", TABLE)
def test_decision(case):
    sandbox, look, expected = TABLE[case]
    decision = decide(sandbox, look, NOW)
    assert (decision and (decision.action, decision.reason)) == expected


def test_a_verdict_says_which_service_broke_and_how():
    decision = decide(row(), seen(api=EXITED), NOW)

    assert decision
    assert (decision.service, decision.exit_code) == ("api", 1)
    assert decision.message == "The service api stopped with exit code 1."
