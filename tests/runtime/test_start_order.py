"""Start order, one-shot services and checks by commands, on the runtimes that support them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from docker import APIClient

from sandboxes.runtime import (
    CommandCheck,
    EngineRefused,
    HealthCheck,
    HealthyCheck,
    NotReady,
    SandboxSpec,
    ServiceSpec,
    ServiceState,
    StartCondition,
)
from sandboxes.runtime.start_order import CompletedCheck, StartOrder
from tests.harness.runtimes import (
    TIME_LIMIT,
    DockerHarness,
    ProcessHarness,
    RuntimeHarness,
    ignore_step,
    with_service,
)
from tests.runtime.test_contract import probe

STARTED, HEALTHY, COMPLETED = StartCondition
MIGRATE = ("sh", "-c", "echo migrate started")


def service(name: str, **conditions: StartCondition) -> ServiceSpec:
    return ServiceSpec(name, "tiny", 48, 0.5, 24, depends_on=conditions)


def names(services: Any) -> list[str]:
    return [one.name for one in services]


def test_each_service_starts_once_its_conditions_hold() -> None:
    order = StartOrder(
        [
            service("web", api=STARTED, cache=STARTED),
            service("api", migrate=COMPLETED, db=HEALTHY),
            service("migrate", db=HEALTHY),
            service("db"),
            service("cache"),
        ]
    )
    db, cache = order.take_startable()
    assert (db.name, cache.name) == ("db", "cache")
    order.mark_started([db, cache])
    assert names(order.take_startable()) == []
    assert order.awaited() == [HealthyCheck("db")]
    order.mark_held(HealthyCheck("db"))
    [migrate] = order.take_startable()
    order.mark_started([migrate])
    assert order.awaited() == [CompletedCheck("migrate")]
    order.mark_held(CompletedCheck("migrate"))
    [api] = order.take_startable()
    order.mark_started([api])
    assert names(order.take_startable()) == ["web"]
    assert order.awaited() == []


@pytest.mark.parametrize(
    "services",
    [
        [service("web", api=STARTED), service("api", web=HEALTHY), service("db")],
        [service("web", web=STARTED)],
        [service("web", missing=COMPLETED)],
    ],
)
def test_services_that_wait_for_each_other_are_named(services: list[ServiceSpec]) -> None:
    order = StartOrder(services)
    order.mark_started(order.take_startable())
    with pytest.raises(EngineRefused, match=r"wait for each other: .*web"):
        order.awaited()


def stack(harness: RuntimeHarness | DockerHarness, **changes: Any) -> SandboxSpec:
    """Return a spec in which `web` waits until `migrate` has completed on a healthy `store`."""
    spec = harness.spec(ready=[HealthyCheck("store"), *harness.spec().ready])
    check = HealthCheck(harness.command_with_result(0, ""))
    spec = with_service(spec, "store", healthcheck=check)
    [web, store] = with_service(spec, "web", depends_on={"migrate": COMPLETED}).services
    migrate = replace(
        store,
        name="migrate",
        command=MIGRATE,
        one_shot=True,
        healthcheck=None,
        depends_on={"store": HEALTHY},
    )
    return replace(spec, services=[web, migrate, store], **changes)


def test_a_one_shot_service_that_has_completed_is_normal(container_harness: RuntimeHarness) -> None:
    harness, spec = container_harness, stack(container_harness)
    facts = harness.runtime.create(spec, ignore_step, TIME_LIMIT)
    assert facts.services["migrate"].state is ServiceState.COMPLETED
    assert facts.services["migrate"].exit_code == 0
    assert facts.alive
    assert facts.connected
    assert harness.runtime.observe()[spec.id].services == facts.services
    assert probe(harness, spec).problem == ""
    assert harness.runtime.usage([spec.id])


def test_a_one_shot_service_runs_once_until_the_sandbox_is_recreated(
    container_harness: RuntimeHarness,
) -> None:
    harness, spec = container_harness, stack(container_harness)
    runtime = harness.runtime
    runtime.create(spec, ignore_step, TIME_LIMIT)
    runtime.create(spec, ignore_step, TIME_LIMIT)
    harness.stop_service(spec, "store", 9)
    assert runtime.repair(spec, ignore_step, TIME_LIMIT).facts.alive
    assert not runtime.repair(spec, ignore_step, TIME_LIMIT).actions
    assert runtime.logs(spec.id, "migrate", 9).splitlines() == ["migrate started"]
    before = runtime.observe()[spec.id].services
    assert runtime.recreate(spec, ignore_step, TIME_LIMIT).services == before


def test_a_hanging_sandbox_is_repaired_without_its_one_shot_service(
    container_harness: RuntimeHarness, impatient: None
) -> None:
    harness, spec = container_harness, stack(container_harness)
    harness.runtime.create(spec, ignore_step, TIME_LIMIT)
    harness.hang(spec)
    done = harness.runtime.repair(spec, ignore_step, TIME_LIMIT)
    assert list(done.actions) == ["Restarted all services."]
    assert harness.runtime.logs(spec.id, "migrate", 9).splitlines() == ["migrate started"]


def test_a_one_shot_service_that_fails_ends_the_launch(container_harness: RuntimeHarness) -> None:
    spec = container_harness.failing_spec(7, "no-table")
    spec = with_service(spec, "store", one_shot=True)
    spec = with_service(spec, "web", depends_on={"store": COMPLETED})
    with pytest.raises(NotReady, match="store stopped with exit code 7") as caught:
        container_harness.runtime.create(spec, ignore_step, TIME_LIMIT)
    assert caught.value.exit_code == 7


@pytest.mark.parametrize("condition", ["dependency", "ready", "command"])
def test_a_check_that_never_succeeds_is_quoted(
    container_harness: RuntimeHarness, condition: str
) -> None:
    failing = container_harness.command_with_result(1, "no route")
    spec = with_service(container_harness.spec(), "store", healthcheck=HealthCheck(failing))
    expected = "become healthy"
    if condition == "dependency":
        spec = with_service(spec, "web", depends_on={"store": HEALTHY})
    elif condition == "ready":
        spec = replace(spec, ready=[HealthyCheck("store")])
    else:
        spec, expected = replace(spec, ready=[CommandCheck("store", failing)]), "succeed in"
    with pytest.raises(NotReady, match=f"store did not {expected} .* printed: no route"):
        container_harness.runtime.create(spec, ignore_step, 1.5)


@pytest.mark.slow
def test_the_process_runtime_refuses_what_only_containers_can_do(
    process_harness: ProcessHarness,
) -> None:
    for changes in (
        {"one_shot": True},
        {"depends_on": {"web": HEALTHY}},
        {"process": None},
    ):
        spec = with_service(process_harness.spec(), "store", **changes)
        with pytest.raises(EngineRefused, match="needs containers"):
            process_harness.runtime.create(spec, ignore_step, TIME_LIMIT)
    spec = process_harness.spec(ready=[CommandCheck("web", ["true"])])
    with pytest.raises(EngineRefused, match="needs containers"):
        process_harness.runtime.create(spec, ignore_step, TIME_LIMIT)


@pytest.mark.engine
def test_services_start_after_those_they_wait_for(docker_harness: DockerHarness) -> None:
    spec = stack(docker_harness)
    spec = with_service(
        spec,
        "store",
        command=["sh", "-c", "sleep 1; echo > /tmp/up; exec sleep 60"],
        healthcheck=HealthCheck(["cat", "/tmp/up"]),
    )
    spec = with_service(spec, "migrate", command=["sleep", "1"])
    docker_harness.runtime.create(spec, ignore_step, TIME_LIMIT)
    store, migrate, web = (
        docker_harness.inspect(spec, name)["State"] for name in ("store", "migrate", "web")
    )
    assert store["StartedAt"] < migrate["StartedAt"] < migrate["FinishedAt"] < web["StartedAt"]


@pytest.mark.engine
def test_completed_services_cost_a_sweep_no_engine_calls(
    docker_harness: DockerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    real = APIClient.send

    def send(self: APIClient, request: Any, **options: Any) -> Any:
        calls.append(request.path_url)
        return real(self, request, **options)

    for _ in range(2):
        docker_harness.runtime.create(stack(docker_harness), ignore_step, TIME_LIMIT)
    monkeypatch.setattr(APIClient, "send", send)
    docker_harness.runtime.observe()
    assert len(calls) == 3, calls
