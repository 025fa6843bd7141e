"""The warm pool of a real portal, on Docker and with processes."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest

from tests.harness.portal import ON_DOCKER, Portal, running_portal
from tests.helpers.wait import wait_for

pytestmark = pytest.mark.slow

SEED = {"plans": 5, "subscribers": 10, "invoices": 20}
POOLED = 'sandboxportal_sandboxes_by_state{state="pooled"}'


ON_PROCESSES = pytest.param("process", marks=pytest.mark.exhaustive)
"""The contract of runtimes and the tests of a whole portal include processes."""


@pytest.fixture(scope="module", params=[ON_DOCKER, ON_PROCESSES])
def portal(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Portal]:
    """Portal with all processes and one pooled sandbox of the default blueprint."""
    settings = {"SANDBOX_POOL_SIZE": "1", "REAPER_SECONDS": "1", "METRICS_TOKEN": "metrics-token"}
    settings |= {"SANDBOX_RUNTIME": request.param}
    processes = ("web", "worker", "reaper")
    with running_portal(tmp_path_factory.mktemp("var"), processes, **settings) as running:
        yield running


def pooled(portal: Portal) -> int:
    headers = {"Authorization": "Bearer metrics-token"}
    text = httpx2.get(f"http://127.0.0.1:{portal.port}/metrics", headers=headers, timeout=10).text
    return int(float(next(line for line in text.splitlines() if POOLED in line).split()[-1]))


def test_a_launch_claims_a_running_sandbox_and_the_pool_refills(portal: Portal) -> None:
    wait_for(lambda: pooled(portal) == 1, "one is kept warm")
    with portal.client("developer") as client:
        answer = client.post("/sandboxes", json={"name": "warm"})
        sandbox = answer.json()
        assert (answer.status_code, sandbox["state"]) == (201, "running")
        assert sandbox["stellar"]["funding"] == "funded"

        keys = client.get(f"/sandboxes/{sandbox['id']}/credentials").json()
        own = {"Authorization": f"Bearer {keys['api_key']}"}
        with httpx2.Client(base_url=sandbox["endpoints"]["api"], headers=own, timeout=10) as api:
            assert {name: api.get(f"/v1/{name}").json()["total"] for name in SEED} == SEED

        wait_for(lambda: pooled(portal) == 1, "the pool is refilled")
        client.delete(f"/sandboxes/{sandbox['id']}")
    left = len(portal.sandboxes())
    wait_for(lambda: len(portal.sandboxes()) == 1, f"only the pooled sandbox of {left} remains")


def test_pooled_sandboxes_are_not_accessible_through_the_portal(portal: Portal) -> None:
    wait_for(lambda: pooled(portal) == 1, "one is kept warm")
    [name] = portal.sandboxes()
    for who in ("developer", "operator"):
        with portal.client(who) as client:
            assert client.get(f"/sandboxes/{name}").status_code == 404
            assert client.get(f"/sandboxes/{name}/credentials").status_code == 404
            assert name not in client.get("/sandboxes?state=pooled").text


def test_a_disabled_pool_leaves_nothing_on_the_engine(portal: Portal) -> None:
    wait_for(lambda: pooled(portal) == 1, "one is kept warm")
    code = "from sandboxes.models import Pool; Pool.objects.update(size=0)"
    assert portal.manage("shell", "-c", code).returncode == 0

    wait_for(lambda: not portal.held(), "all objects are removed")
