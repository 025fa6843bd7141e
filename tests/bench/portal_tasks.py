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

from django.contrib.auth.models import User  # noqa: E402 - after the set-up
from django.db import connection  # noqa: E402
from django.db.models import F  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402

from sandboxes import sampling, tokens  # noqa: E402
from sandboxes.models import Event, Site, UsageSample  # noqa: E402
from sandboxes.reaper import Sweep  # noqa: E402


def people(count: int) -> list[str]:
    """The tokens of so many new developers."""
    known = User.objects.count()
    users = [User.objects.create(username=f"bench-{known + i}") for i in range(count)]
    return [tokens.issue(user, "bench")[1] for user in users]


def past(count: int, developers: int) -> None:
    """So many sandboxes that have ended, with their journals; some are the demo developer's."""
    from tests import crowds

    crowds.past(count, {User.objects.get(username="developer"): developers})
    # Sweeps counted them as they came.
    Site.objects.update_or_create(pk=1, defaults={"tallied_event": Event.objects.latest("pk").pk})


def sweep(times: int) -> dict[str, Any]:
    """The seconds of each of so many sweeps, and what any of them complained of.

    Each of them does all that a sweep may do: what they sample was last sampled a while ago.
    """
    seconds, errors = [], []
    for _ in range(times):
        UsageSample.objects.update(at=F("at") - sampling.SAMPLED_EVERY)
        began = time.perf_counter()
        errors += Sweep().run().errors
        seconds.append(time.perf_counter() - began)
    return {"seconds": seconds, "errors": errors}


def queries(path: str) -> int:
    """How many queries the demo developer's page takes."""
    client = Client(SERVER_NAME="127.0.0.1")
    client.force_login(User.objects.get(username="developer"))
    assert client.get(path).status_code == 200
    with CaptureQueriesContext(
        connection,
    ) as caught:
        client.get(path)
    return len(caught)


def session(username: str) -> str:
    """A session cookie of somebody who has just signed in."""
    client = Client(SERVER_NAME="127.0.0.1")
    client.force_login(User.objects.get(username=username))
    return client.cookies["sessionid"].value


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](*json.loads(sys.argv[2]))))
