"""States of the portal for the pages in `page_states.py`."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from io import StringIO
from math import sin
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING

from allauth.account.models import EmailAddress
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP
from allauth.socialaccount.models import SocialAccount
from django.conf import settings
from django.core.management import call_command
from django.db import transaction
from django.db.models import F
from django.test import Client, override_settings
from django.urls import reverse

from sandboxes import actions
from sandboxes.accounts import api_tokens
from sandboxes.actions import blueprint_versions as versions
from sandboxes.actions import save_points
from sandboxes.core import leases, lifecycle
from sandboxes.lib import clock
from sandboxes.metrics import outcomes
from sandboxes.models import (
    BlueprintVersion,
    DeviceAuthorization,
    Engine,
    Funding,
    Maintenance,
    OutcomeCount,
    Sandbox,
    State,
    UsageSample,
)
from sandboxes.preparation import client
from sandboxes.runtime import EngineUnreachable
from sandboxes.worker import save_points as worker_save_points
from tests.conftest import PASSWORD
from tests.fakes.sandbox_api import SandboxApi, start_sandbox_api, with_api_address
from tests.gateway.owner_only import owner_only_blueprint
from tests.helpers.inbox import offer_events, receive
from tests.helpers.scenarios import (
    launch,
    reload,
    request,
    sweep,
)

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from sandboxes.runtime.memory import MemoryRuntime

STEP_SECONDS = (0.11, 0.32, 0.28)
"""Realistic seconds of each provisioning step; the fake engine takes none."""
TIMESTAMPS = (
    "created_at",
    "started_at",
    "last_activity_at",
    "expires_at",
    "hard_cap_at",
    "ended_at",
)
TOTP_KEY = "JBSWY3DPEHPK3PXP"
TRACEBACK = """\
Traceback (most recent call last):
  File "/srv/api/main.py", line 31, in connect
    pool.open(wait=True, timeout=5)
psycopg_pool.PoolTimeout: pool initialization incomplete after 5.0 sec
api: the database did not accept a connection, giving up"""


def earlier(sandbox: Sandbox, past: timedelta) -> Sandbox:
    """Move all timestamps of the sandbox into the past and return it."""
    sandbox.events.update(created_at=F("created_at") - past)
    sandbox.samples.update(at=F("at") - past)
    timestamps = {name: F(name) - past for name in TIMESTAMPS}
    Sandbox.objects.filter(pk=sandbox.pk).update(**timestamps)
    return reload(sandbox)


def aged(sandbox: Sandbox, minutes: float, idle: float = 0) -> Sandbox:
    """Return the sandbox as if it had started `minutes` ago and been idle for `idle` minutes."""
    assert sandbox.started_at
    earlier(sandbox, sandbox.started_at - (clock.now() - timedelta(minutes=minutes)))
    events = list(sandbox.events.all())
    for event in events:
        event.message = event.message.replace("after 0.0 s", f"after {sum(STEP_SECONDS):.1f} s")
    sandbox.events.bulk_update(events, ["message"])
    Sandbox.objects.filter(pk=sandbox.pk).update(
        steps=[
            step | {"seconds": took} for step, took in zip(sandbox.steps, STEP_SECONDS, strict=True)
        ],
        last_activity_at=clock.now() - timedelta(minutes=idle),
        funding=Funding.FUNDED,
    )
    return reload(sandbox)


def first_run(alice: User, runtime: MemoryRuntime) -> None:
    """Create nothing: the user has never launched a sandbox."""


def provisioning(alice: User, runtime: MemoryRuntime) -> Sandbox:
    with transaction.atomic():
        sandbox = request(alice, name="checkout-tests")
        # Take the sandbox before the commit sends its task to the worker.
        lifecycle.start_provisioning(sandbox)
    now = clock.now()
    steps = [("network", "done", 0.18), ("containers", "done", 0.94), ("ready", "running", None)]
    leases.renew_lease(
        sandbox,
        steps=[
            {"name": name, "state": state, "started_at": now.isoformat(), "seconds": seconds}
            for name, state, seconds in steps
        ],
    )
    return reload(sandbox)


def running(alice: User, runtime: MemoryRuntime) -> Sandbox:
    ended(alice, runtime)
    aged(launch(alice, name="webhook-spike", ttl_minutes=120), 41, idle=12)
    return aged(launch(alice, name="checkout-tests"), 8, idle=0)


def warned(alice: User, runtime: MemoryRuntime) -> Sandbox:
    aged(launch(alice, name="checkout-tests"), 56.5)
    return aged(launch(alice, name="webhook-spike", ttl_minutes=120), 41, idle=26.3)


def warned_by_banner(alice: User, runtime: MemoryRuntime) -> Sandbox:
    """Warn about both deadlines with a banner on every page."""
    sandbox = warned(alice, runtime)
    sweep()
    return sandbox


def at_the_limit(alice: User, runtime: MemoryRuntime) -> Sandbox:
    aged(launch(alice, name="webhook-spike", ttl_minutes=120), 41, idle=12)
    aged(launch(alice, name="invoice-export"), 22, idle=17.4)
    return aged(launch(alice, name="checkout-tests"), 8)


def failed(alice: User, runtime: MemoryRuntime) -> Sandbox:
    runtime.fail_startup("api", 1, TRACEBACK)
    return launch(alice, name="checkout-tests")


def failed_below_running(alice: User, runtime: MemoryRuntime) -> Sandbox:
    """Create a failed sandbox below a running one."""
    aged(launch(alice, name="webhook-spike", ttl_minutes=120), 41, idle=12)
    return failed(alice, runtime)


def unfunded(alice: User, runtime: MemoryRuntime) -> Sandbox:
    with override_settings(FRIENDBOT_URL="http://127.0.0.1:9"):
        sandbox = launch(alice, name="checkout-tests")
    error = reload(sandbox).funding_error
    assert error
    aged(sandbox, 8)
    Sandbox.objects.filter(pk=sandbox.pk).update(funding=Funding.FAILED, funding_error=error)
    return reload(sandbox)


def with_logs(alice: User, runtime: MemoryRuntime) -> Sandbox:
    """Create a running sandbox with log lines."""
    sandbox = running(alice, runtime)
    for line in ("GET /v1/plans 200 4 ms", "GET /v1/subscribers?limit=3 200 6 ms"):
        runtime.write_log(sandbox.public_id, "api", line)
    return sandbox


def long_history(alice: User, runtime: MemoryRuntime) -> Sandbox:
    """Create more than one page of ended sandboxes, one of them failed."""
    sandbox = ended(alice, runtime)
    names = ("checkout-tests", "webhook-spike", "invoice-export", "plan-migration")
    for number in range(22):
        past = clock.now() - timedelta(hours=2 + 5 * number)
        row = Sandbox.objects.defer(None).get(pk=sandbox.pk)
        row.pk, row.public_id, row.name = None, f"sbx_{number:016}", names[number % 4]
        row.started_at, row.ended_at = past - timedelta(minutes=3 + number), past
        row.end_reason = ("expired", "idle", "user")[number % 3]
        row.save(force_insert=True)
    failed(alice, runtime)
    return sandbox


def add_samples(sandbox: Sandbox, minutes: int) -> None:
    """Create one usage sample per minute for the last `minutes`."""
    used = dict.fromkeys(("received_bytes", "sent_bytes", "requests"), 0)
    used |= {"cpu_seconds": 3.0, "disk_mb": 48.0}
    samples = []
    for minute in range(minutes):
        busy = sin(minute / 5) ** 8
        used["cpu_seconds"] += 2 + 14 * busy
        used["disk_mb"] += 0.9
        used["received_bytes"] += int(900 + 22_000 * busy)
        used["requests"] += round(2 + 60 * busy)
        used["sent_bytes"] += int(4000 + 200_000 * busy)
        at = clock.now() - timedelta(minutes=minutes - minute)
        samples.append(UsageSample(sandbox=sandbox, at=at, memory_mb=118 + 40 * busy, **used))
    UsageSample.objects.bulk_create(samples)


def with_usage(alice: User, runtime: MemoryRuntime) -> Sandbox:
    """Create a sandbox with 40 minutes of usage samples."""
    sandbox = aged(with_logs(alice, runtime), 40, idle=3)
    add_samples(sandbox, 40)
    return sandbox


def out_of_memory(alice: User, runtime: MemoryRuntime) -> Sandbox:
    """Create a sandbox that ran out of memory after a while."""
    sandbox = with_usage(alice, runtime)
    runtime.stop_service(sandbox.public_id, "api", 137, oom=True)
    sweep()
    return reload(sandbox)


def provisioning_with_estimate(alice: User, runtime: MemoryRuntime) -> Sandbox:
    """Create a provisioning sandbox when typical durations are known."""
    long_history(alice, runtime)
    return provisioning(alice, runtime)


def ended(alice: User, runtime: MemoryRuntime) -> Sandbox:
    """Create a sandbox that its owner destroyed some time ago."""
    sandbox = aged(launch(alice, name="plan-migration"), 34)
    add_samples(sandbox, 34)
    actions.destroy(sandbox, alice)
    return earlier(sandbox, timedelta(minutes=26))


def maintenance(alice: User, runtime: MemoryRuntime) -> None:
    running(alice, runtime)
    until = clock.now() + timedelta(minutes=40)
    message = "The host gets more memory. Running sandboxes go on."
    Maintenance.objects.update_or_create(pk=1, defaults={"until": until, "message": message})


def removal_failed(alice: User, runtime: MemoryRuntime) -> Sandbox:
    sandbox = aged(launch(alice, name="checkout-tests"), 8)
    runtime.fail_next("destroy", EngineUnreachable("The engine did not answer."))
    actions.destroy(sandbox, alice)
    assert reload(sandbox).state == State.DESTROYING
    return reload(sandbox)


def blueprint_versions(alice: User, runtime: MemoryRuntime) -> None:
    """Prepare three versions of the blueprint, and roll back from the last one."""
    call_command("blueprint", "prepare", stdout=StringIO())
    launch(alice, name="webhook-spike")
    for _ in range(2):
        runtime.rebuilds["sandboxportal/billing-api"] += 1
        call_command("blueprint", "prepare", stdout=StringIO())
    versions.activate(BlueprintVersion.objects.order_by("-pk")[1])


def several_engines(alice: User, _runtime: MemoryRuntime) -> None:
    """Create one engine that is drained, one that is away, and the default one."""
    now = clock.now()
    states = {"east": {"draining_since": now}, "west": {"away_since": now}}
    for number, (name, state) in enumerate(states.items(), 2):
        Engine.objects.create(
            name=name,
            address=f"tcp://192.0.2.{number}:2376",
            publish_address=f"192.0.2.{number}",
            memory_mb=16_000,
            labels={"disk": "ssd", "zone": name},
            last_seen_at=now,
            **state,
        )
    row = launch(alice, name="webhook-spike")
    Sandbox.objects.filter(pk=row.pk).update(engine="east")


def busy_week(alice: User, runtime: MemoryRuntime) -> None:
    """Create a week of launches, some of them failed, and a removal that fails."""
    now, dice = outcomes.bucket_start(clock.now()), Random(7)
    for slot in (now - n * 3 * outcomes.BUCKET_SPAN for n in range(7 * 96)):
        for start, result, most in (
            ("warm", "ready", 4),
            ("cold", "ready", 2),
            ("cold", "failed", 0.55),
        ):
            total = outcomes.Histogram()
            for _ in range(round(dice.uniform(0, most))):
                total.add(0 if start == "warm" else dice.uniform(0.8, 2.4))
            counted = {"count": total.count, "seconds": total.seconds, "buckets": total.buckets}
            if total.count:
                OutcomeCount.objects.create(
                    bucket_start=slot,
                    operation="launch",
                    launch_kind=start,
                    result=result,
                    **counted,
                )
    launch(alice, name="webhook-spike")
    removal_failed(alice, runtime)
    sweep()


def no_free_slot(alice: User, runtime: MemoryRuntime) -> None:
    """Fill the portal's only slot with another user's sandbox."""
    ended(alice, runtime)
    launch(type(alice).objects.create_user("bob"), name="not-hers")


def with_api(alice: User, runtime: MemoryRuntime) -> Sandbox:
    """Create a sandbox with a working API."""
    return with_api_address(aged(launch(alice, name="checkout-tests"), 8), _api().address)


@cache
def _api() -> SandboxApi:
    return start_sandbox_api()


OWNER_ONLY_FOLDER = Path(settings.VAR_DIR) / "owner-only"
OWNER_ONLY = {
    "SANDBOX_DOMAIN": "sandboxes.example.net",
    "SANDBOX_BLUEPRINTS_DIR": OWNER_ONLY_FOLDER / "blueprints",
    "SANDBOX_DEFAULT_BLUEPRINT": "tiny",
}
"""Settings for `owner_only`."""


def owner_only(alice: User, runtime: MemoryRuntime) -> Sandbox:
    """Launch a sandbox that only its owner may open."""
    owner_only_blueprint(SimpleNamespace(), OWNER_ONLY_FOLDER)
    with override_settings(**OWNER_ONLY):
        return aged(launch(alice, name="checkout-tests"), 8)


def credentials_read(alice: User, runtime: MemoryRuntime) -> Sandbox:
    sandbox = new(alice, runtime)
    actions.read_credentials(sandbox, alice)
    return sandbox


def with_save_points(alice: User, runtime: MemoryRuntime) -> Sandbox:
    """Return a sandbox with a save point, beside a failed one and a starting point."""
    sandbox = running(alice, runtime)
    runtime.set_disk_usage(sandbox.public_id, 12)
    for name in ("invoice-export", "plan-migration", "ci-pipeline"):
        save_points.create(sandbox, name, alice)
        worker_save_points.save(sandbox)
        sandbox.refresh_from_db()
    rows = alice.save_points.order_by("pk")
    rows.filter(name="plan-migration").update(
        state="failed", slot=None, error="The service db is not running."
    )
    rows.filter(name="ci-pipeline").update(is_starting_point=True)
    return sandbox


def with_inbox(alice: User, runtime: MemoryRuntime) -> Sandbox:
    """Create a sandbox with a clock, and an event that was delivered to the built-in receiver."""
    sandbox = with_api_address(aged(launch(alice, name="checkout-tests"), 8), _event_api().address)
    receive(sandbox, "invoice.paid")
    return sandbox


@cache
def _event_api() -> SandboxApi:
    api = start_sandbox_api()
    offer_events(api)
    return api


def with_a_token(alice: User, runtime: MemoryRuntime) -> None:
    api_tokens.issue(alice, "ci-pipeline", "all", None)


def with_the_client(alice: User, runtime: MemoryRuntime) -> None:
    client.build()


def with_a_client_that_signs_in(alice: User, runtime: MemoryRuntime) -> None:
    DeviceAuthorization.objects.create(
        user_code="BCDFGHJK", scope="all", device_name="laptop", address="203.0.113.7"
    )


def signed_in_elsewhere(alice: User, runtime: MemoryRuntime) -> None:
    for browser in (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Version/17.5 Safari/604.1",
        "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    ):
        Client(HTTP_USER_AGENT=browser).post(
            reverse("account_login"), {"login": alice.email, "password": PASSWORD}
        )


def with_github(alice: User, runtime: MemoryRuntime) -> None:
    SocialAccount.objects.create(
        user=alice, provider="github", uid="583231", extra_data={"login": "alice"}
    )


def unverified(alice: User, runtime: MemoryRuntime) -> None:
    EmailAddress.objects.create(user=alice, email=alice.email, primary=True)


def new(alice: User, runtime: MemoryRuntime) -> Sandbox:
    """Launch a sandbox without a chosen name, just now."""
    return aged(launch(alice, name="amber-falcon"), 0)


def ended_by_operator(alice: User, runtime: MemoryRuntime) -> Sandbox:
    sandbox = running(alice, runtime)
    olga = type(alice).objects.get(username="olga")
    actions.destroy(sandbox, olga, "The engine gets new disks tonight.")
    return sandbox


def two_factors(alice: User, runtime: MemoryRuntime) -> None:
    TOTP.activate(alice, TOTP_KEY)
    RecoveryCodes.activate(alice)
