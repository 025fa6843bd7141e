"""Functions that run in a process of their own, with a portal's code and database.

`python -m tests.bench.portal_tasks FUNCTION ARGUMENTS` needs the portal's environment. ARGUMENTS
are JSON, and so is the result, one line.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import django

django.setup()

from django.contrib.auth.models import User  # noqa: E402 - after django.setup()
from django.db import connection, transaction  # noqa: E402
from django.db.models import F  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import CaptureQueriesContext, override_settings  # noqa: E402

from sandboxes import blueprints  # noqa: E402
from sandboxes.accounts import api_tokens  # noqa: E402
from sandboxes.lib import clock  # noqa: E402
from sandboxes.models import (  # noqa: E402
    Event,
    OutcomeCursor,
    ReservedPort,
    Sandbox,
    State,
    UsageSample,
)
from sandboxes.reaper.sweep import Sweep  # noqa: E402
from sandboxes.usage import sampling  # noqa: E402


def create_developers(count: int) -> list[str]:
    """Create developers and return their API tokens."""
    known = User.objects.count()
    users = [User.objects.create(username=f"bench-{known + i}") for i in range(count)]
    return [api_tokens.issue(user, "bench")[1] for user in users]


def create_ended_sandboxes(count: int, developers: int) -> None:
    """Create ended sandboxes with their events; `developers` of them belong to the demo user."""
    from tests.harness import bulk_data

    bulk_data.create_ended(count, {User.objects.get(username="developer"): developers})
    # A portal's sweeps would have aggregated these events as they were written.
    OutcomeCursor.objects.update_or_create(
        pk=1, defaults={"last_event_id": Event.objects.latest("pk").pk}
    )


def create_dashboards(count: int) -> list[str]:
    """Create users with two running sandboxes each, and return their session cookies."""
    from tests.harness import bulk_data

    cookies = []
    for number in range(count):
        user = User.objects.create(username=f"dashboard-{number}")
        bulk_data.create_running(2, user)
        cookies.append(sign_in(user.username))
    return cookies


def run_sweeps(times: int) -> dict[str, Any]:
    """Sweep this many times; return the seconds of each sweep and the errors of all of them.

    The seconds of CPU are this process's, without the engine's. Existing samples are backdated
    first, so that each sweep takes samples too.
    """
    seconds, cpu_seconds, errors = [], [], []
    for _ in range(times):
        UsageSample.objects.update(at=F("at") - sampling.SAMPLE_INTERVAL)
        began, cpu_began = time.perf_counter(), time.process_time()
        errors += Sweep().run().errors
        seconds.append(time.perf_counter() - began)
        cpu_seconds.append(time.process_time() - cpu_began)
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "errors": errors}


def make_running_sandboxes_due() -> int:
    """Let the lifetime of all running sandboxes end now, and return their number."""
    return Sandbox.objects.filter(state=State.RUNNING).update(expires_at=clock.now())


def answer_routes(sandboxes: int, times: int) -> dict[str, Any]:
    """Answer the gateway's request for routes; return their number and the seconds of CPU of each.

    The sandboxes exist in a transaction that is rolled back, so that the portal never sees them.
    """
    token = "t" * 32
    headers = {"Authorization": f"Bearer {token}"}
    domain = override_settings(SANDBOX_DOMAIN="example.net", SANDBOX_GATEWAY_TOKEN=token)
    with domain, transaction.atomic():
        _create_reserved_ports(sandboxes)
        client, cpu_seconds = Client(SERVER_NAME="127.0.0.1"), []
        for _ in range(times):
            began = time.process_time()
            response = client.get("/gateway/routes", headers=headers)
            cpu_seconds.append(time.process_time() - began)
            assert response.status_code == 200
        transaction.set_rollback(True)
    routers = response.json()
    count = sum(len(routers[protocol]["routers"]) for protocol in ("http", "tcp"))
    return {"routes": count, "cpu_seconds": cpu_seconds}


def _create_reserved_ports(sandboxes: int) -> None:
    """Create running sandboxes with the ports of a launch."""
    from tests.harness import bulk_data

    rows = bulk_data.create_running(sandboxes, User.objects.create(username="routes"))
    published = [
        (service.name, target)
        for service in blueprints.load(rows[0].blueprint).services
        for target in service.ports
    ]
    wanted = [(row, *each) for row in rows for each in published]
    ReservedPort.objects.bulk_create(
        ReservedPort(sandbox=row, service=service, target=target, address="127.0.0.1", port=port)
        for port, (row, service, target) in enumerate(wanted, start=1024)
    )


def count_queries(path: str) -> int:
    """Return the number of database queries of one of the demo developer's pages."""
    client = Client(SERVER_NAME="127.0.0.1")
    client.force_login(User.objects.get(username="developer"))
    assert client.get(path).status_code == 200
    with CaptureQueriesContext(connection) as queries:
        client.get(path)
    return len(queries)


def sign_in(username: str) -> str:
    """Sign a user in and return the session cookie."""
    client = Client(SERVER_NAME="127.0.0.1")
    client.force_login(User.objects.get(username=username))
    return client.cookies["sessionid"].value


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](*json.loads(sys.argv[2]))))
