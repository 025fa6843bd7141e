"""The runtime contract, tested on each runtime."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone

from sandboxes.runtime import (
    CapacityExhausted,
    EngineRefused,
    EngineUnreachable,
    ImageMissing,
    LineCount,
    NotReady,
    ProbeResult,
    SandboxSpec,
    ServiceNotFound,
    ServiceState,
    TcpCheck,
)
from tests.harness.runtimes import (
    TIME_LIMIT,
    RuntimeHarness,
    SharedSandbox,
    ignore_step,
    new_id,
    shorten_restoration,
)

STEPS = ["network", "containers", "ready"]


class Killed(BaseException):
    """Simulates a worker's death: the call stops where it is."""


def create_and_die(harness: RuntimeHarness, spec: SandboxSpec, at: str) -> None:
    """Create a sandbox, and die when this step is reported."""

    def die(step: str) -> None:
        if step == at:
            raise Killed

    with pytest.raises(Killed):
        harness.runtime.create(spec, die, TIME_LIMIT)


def test_a_new_sandbox_is_alive_and_its_ports_are_published(
    shared_sandbox: SharedSandbox[RuntimeHarness],
) -> None:
    facts = shared_sandbox.facts
    assert facts.alive
    assert facts.id == shared_sandbox.spec.id
    assert set(facts.services) == {"web", "store"}
    assert facts.services["web"].ports[8080].host == "127.0.0.1"
    assert facts.services["web"].ports[8080].port > 1024
    assert facts.services["store"].ports == {}


def test_steps_are_reported_in_order(shared_sandbox: SharedSandbox[RuntimeHarness]) -> None:
    assert list(dict.fromkeys(shared_sandbox.steps)) == STEPS


def test_a_sandbox_without_http_is_ready_when_its_ports_accept_connections(
    harness: RuntimeHarness,
) -> None:
    spec = harness.spec(ready=[TcpCheck("web", 8080)])
    facts = harness.runtime.create(spec, ignore_step, TIME_LIMIT)
    assert facts.alive
    harness.send_request(facts)
    assert probe(harness, spec).problem == ""


def test_create_is_idempotent(shared_sandbox: SharedSandbox[RuntimeHarness]) -> None:
    runtime, spec = shared_sandbox.runtime, shared_sandbox.spec
    again = runtime.create(spec, ignore_step, TIME_LIMIT)
    assert again.services == shared_sandbox.facts.services
    assert again.created_at == shared_sandbox.facts.created_at
    assert list(runtime.observe()) == [spec.id]


@pytest.mark.parametrize("step", STEPS)
def test_a_killed_creation_is_completed_by_the_next(harness: RuntimeHarness, step: str) -> None:
    spec = harness.spec()
    create_and_die(harness, spec, step)
    assert harness.runtime.create(spec, ignore_step, TIME_LIMIT).alive
    assert list(harness.runtime.observe()) == [spec.id]


def test_a_creation_killed_at_any_step_can_be_destroyed(harness: RuntimeHarness) -> None:
    for step in STEPS:
        spec = harness.spec()
        create_and_die(harness, spec, step)
        harness.runtime.destroy(spec.id)
        assert harness.runtime.observe() == {}, step


def test_observe_returns_the_same_facts_as_create(harness: RuntimeHarness) -> None:
    before = timezone.now() - timedelta(seconds=2)
    made = {}
    for _ in range(2):
        facts = harness.runtime.create(harness.spec(), ignore_step, TIME_LIMIT)
        made[facts.id] = facts
    seen = harness.runtime.observe()
    assert set(seen) == set(made)
    for sandbox_id, facts in seen.items():
        assert facts.alive
        assert facts.services == made[sandbox_id].services
        assert before <= facts.created_at <= timezone.now()
        alone = harness.runtime.observe(sandbox_id)
        assert {name: one.services for name, one in alone.items()} == {sandbox_id: facts.services}
    assert harness.runtime.observe("sbx_unknown") == {}


def test_destroy_removes_everything_and_can_be_repeated(harness: RuntimeHarness) -> None:
    spec, other = harness.spec(), harness.spec()
    for one in (spec, other):
        harness.runtime.create(one, ignore_step, TIME_LIMIT)
    for sandbox_id in (spec.id, spec.id, new_id()):
        harness.runtime.destroy(sandbox_id)
        assert list(harness.runtime.observe()) == [other.id]
    with pytest.raises(ServiceNotFound):
        harness.runtime.logs(spec.id, "web", 10)


def test_parallel_destroys_of_one_sandbox_succeed(harness: RuntimeHarness) -> None:
    spec = harness.spec()
    harness.runtime.create(spec, ignore_step, TIME_LIMIT)
    with ThreadPoolExecutor() as pool:
        list(pool.map(harness.runtime.destroy, [spec.id] * 3))
    assert harness.runtime.observe() == {}


def test_a_service_that_exits_during_startup_is_reported_with_its_exit_code_and_log(
    harness: RuntimeHarness,
) -> None:
    spec = harness.failing_spec(7, "no-disk")
    with pytest.raises(NotReady, match="store") as caught:
        harness.runtime.create(spec, ignore_step, TIME_LIMIT)
    assert caught.value.service == "store"
    assert caught.value.exit_code == 7
    assert harness.runtime.logs(spec.id, "store", 10).endswith("no-disk\n")


def test_a_missing_image_is_reported_before_and_during_a_launch(harness: RuntimeHarness) -> None:
    spec = harness.with_missing_image(harness.spec())
    images = [service.image for service in spec.services]
    assert list(harness.runtime.images(images)) == [images[0]]
    with pytest.raises(ImageMissing, match="absent"):
        harness.runtime.create(spec, ignore_step, TIME_LIMIT)
    harness.runtime.destroy(spec.id)
    assert harness.runtime.observe() == {}


def test_a_rebuilt_image_has_another_id(harness: RuntimeHarness) -> None:
    (image,) = {service.image for service in harness.spec().services}
    first = harness.runtime.images([image])
    assert harness.runtime.images([image]) == first
    harness.rebuild_image(image)
    again = harness.runtime.images([image, image])
    assert list(again) == [image]
    assert again[image] != first[image]


def test_launches_fail_at_capacity_until_a_sandbox_ends(harness: RuntimeHarness) -> None:
    runtime = harness.with_capacity_for_one()
    first, second = harness.spec(), harness.spec()
    runtime.create(first, ignore_step, TIME_LIMIT)
    with pytest.raises(CapacityExhausted, match="in use"):
        runtime.create(second, ignore_step, TIME_LIMIT)
    runtime.destroy(second.id)
    assert list(runtime.observe()) == [first.id]
    runtime.destroy(first.id)
    assert runtime.create(second, ignore_step, TIME_LIMIT).alive


def test_an_unreachable_engine_is_not_mistaken_for_an_empty_one(harness: RuntimeHarness) -> None:
    runtime, spec = harness.unreachable_runtime(), harness.spec()
    calls = {
        "create": lambda: runtime.create(spec, ignore_step, TIME_LIMIT),
        "observe": runtime.observe,
        "repair": lambda: runtime.repair(spec, ignore_step, TIME_LIMIT),
        "destroy": lambda: runtime.destroy(spec.id),
        "execute": lambda: runtime.execute(spec.id, "web", ["id"], 5),
        "logs": lambda: runtime.logs(spec.id, "web", 10),
        "count_lines": lambda: runtime.count_lines({spec.id: LineCount("web", "x")}),
        "usage": lambda: runtime.usage([spec.id]),
        "capabilities": runtime.capabilities,
        "images": lambda: runtime.images(["x"]),
    }
    for name, call in calls.items():
        try:
            answer = call()
        except EngineUnreachable:
            continue
        pytest.fail(f"{name} answered {answer}")


@pytest.mark.parametrize("count", [4, pytest.param(8, marks=pytest.mark.exhaustive)])
def test_parallel_launches_succeed(harness: RuntimeHarness, count: int) -> None:
    specs = [harness.spec() for _ in range(count)]
    with ThreadPoolExecutor(len(specs)) as pool:
        made = list(pool.map(lambda s: harness.runtime.create(s, ignore_step, TIME_LIMIT), specs))
    assert all(facts.alive for facts in made)
    assert len({facts.services["web"].ports[8080].port for facts in made}) == len(specs)
    assert set(harness.runtime.observe()) == {spec.id for spec in specs}


def test_a_command_returns_its_exit_code_and_output(
    shared_sandbox: SharedSandbox[RuntimeHarness],
) -> None:
    for code, output in ((0, "all is well"), (3, "it is not")):
        command = shared_sandbox.harness.command_with_result(code, output)
        done = shared_sandbox.runtime.execute(shared_sandbox.spec.id, "web", command, 10)
        assert done == (code, output)


def test_the_end_of_a_long_output_is_kept(shared_sandbox: SharedSandbox[RuntimeHarness]) -> None:
    command = shared_sandbox.harness.command_with_result(0, "x" * 100_000 + "the end")
    code, output = shared_sandbox.runtime.execute(shared_sandbox.spec.id, "web", command, 10)
    assert code == 0
    assert len(output) == 64 * 1024
    assert output.endswith("the end")


def test_an_unknown_service_is_named_in_the_error(
    shared_sandbox: SharedSandbox[RuntimeHarness],
) -> None:
    with pytest.raises(ServiceNotFound, match="cache"):
        shared_sandbox.runtime.execute(shared_sandbox.spec.id, "cache", ["id"], 5)
    with pytest.raises(ServiceNotFound, match="web"):
        shared_sandbox.runtime.logs(new_id(), "web", 5)


def test_a_stopped_service_is_observed_runs_no_command_and_is_restarted_by_create(
    harness: RuntimeHarness,
) -> None:
    spec = harness.spec()
    harness.runtime.create(spec, ignore_step, TIME_LIMIT)
    harness.stop_service(spec, "store", 9)
    facts = harness.runtime.observe()[spec.id]
    assert not facts.alive
    assert facts.services["web"].state is ServiceState.RUNNING
    store = facts.services["store"]
    assert (store.state, store.exit_code) == (ServiceState.EXITED, 9)
    assert not store.out_of_memory
    assert not store.stopped_with_engine
    with pytest.raises(EngineRefused, match="store"):
        harness.runtime.execute(spec.id, "store", ["id"], 5)
    assert harness.runtime.create(spec, ignore_step, TIME_LIMIT).alive


def probe(harness: RuntimeHarness, spec: SandboxSpec) -> ProbeResult:
    observed = harness.runtime.observe(spec.id).values()
    return harness.runtime.probe(observed, {spec.id: spec.ready}, 1.0)[spec.id]


def test_a_probe_of_a_healthy_sandbox_finds_no_problem(
    shared_sandbox: SharedSandbox[RuntimeHarness],
) -> None:
    assert probe(shared_sandbox.harness, shared_sandbox.spec).problem == ""


def test_the_traffic_of_probes_is_known(shared_sandbox: SharedSandbox[RuntimeHarness]) -> None:
    spec = shared_sandbox.spec
    counted = shared_sandbox.runtime.observe()[spec.id].traffic_bytes or 0
    for _ in range(10):
        after = probe(shared_sandbox.harness, spec).traffic_bytes
        assert after is not None
        counted = max(counted, after)
    assert (shared_sandbox.runtime.observe()[spec.id].traffic_bytes or 0) - counted < 256


def test_a_probe_finds_a_service_that_hangs_and_a_repair_restarts_it(
    harness: RuntimeHarness, impatient: None
) -> None:
    spec = harness.spec()
    harness.runtime.create(spec, ignore_step, TIME_LIMIT)
    harness.write_log(spec, "written before")
    harness.hang(spec)
    found = probe(harness, spec)
    assert (found.problem, found.responded) == (
        "The service web doesn't respond to GET /ok.",
        False,
    )
    done = harness.runtime.repair(spec, ignore_step, TIME_LIMIT)
    assert list(done.actions) == ["Restarted all services."]
    assert done.problem == ""
    assert done.facts.alive
    assert probe(harness, spec).problem == ""
    assert "written before" in harness.runtime.logs(spec.id, "store", 10)


def test_the_repair_of_a_healthy_sandbox_changes_nothing(
    shared_sandbox: SharedSandbox[RuntimeHarness],
) -> None:
    done = shared_sandbox.runtime.repair(shared_sandbox.spec, ignore_step, TIME_LIMIT)
    assert not done.actions
    assert done.problem == ""
    assert done.facts.services == shared_sandbox.facts.services


def test_a_repair_never_creates_a_service(harness: RuntimeHarness) -> None:
    spec = harness.spec()
    with pytest.raises(ServiceNotFound):
        harness.runtime.repair(spec, ignore_step, TIME_LIMIT)
    harness.runtime.create(spec, ignore_step, TIME_LIMIT)
    harness.remove_service(spec, "store")
    with pytest.raises(ServiceNotFound, match="store"):
        harness.runtime.repair(spec, ignore_step, TIME_LIMIT)


def test_recreated_services_have_the_same_addresses_and_new_data(harness: RuntimeHarness) -> None:
    spec = harness.spec()
    before = harness.runtime.create(spec, ignore_step, TIME_LIMIT)
    harness.fill_disk(spec, 20)
    steps: list[str] = []
    after = harness.runtime.recreate(spec, steps.append, TIME_LIMIT)
    assert after.services == before.services
    assert list(dict.fromkeys(steps)) == STEPS
    (seen,) = harness.runtime.observe(sizes=True).values()
    assert seen.alive
    assert (seen.disk_mb or 0) < 10
    assert harness.runtime.recreate(spec, ignore_step, TIME_LIMIT).services == before.services


@pytest.mark.parametrize("fault", ["crash", "image"])
def test_services_come_back_with_their_data_if_they_cannot_be_recreated(
    harness: RuntimeHarness, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten_restoration(monkeypatch)
    spec = harness.spec()
    before = harness.runtime.create(spec, ignore_step, TIME_LIMIT)
    harness.fill_disk(spec, 20)
    broken = harness.failing_spec(7, "no-disk") if fault == "crash" else spec
    broken = harness.with_missing_image(broken) if fault == "image" else broken
    with pytest.raises(NotReady if fault == "crash" else ImageMissing):
        harness.runtime.recreate(replace(broken, id=spec.id), ignore_step, TIME_LIMIT)
    (seen,) = harness.runtime.observe(sizes=True).values()
    assert seen.services == before.services
    assert (seen.disk_mb or 0) > 19
    command = harness.command_with_result(0, "")
    assert harness.runtime.execute(spec.id, "store", command, 10)[0] == 0


@pytest.mark.parametrize("step", STEPS)
def test_a_killed_recreation_runs_no_command_and_is_completed_by_the_next(
    harness: RuntimeHarness, step: str
) -> None:
    def die(now: str) -> None:
        if now == step:
            raise Killed

    spec = harness.spec()
    before = harness.runtime.create(spec, ignore_step, TIME_LIMIT)
    harness.fill_disk(spec, 20)
    with pytest.raises(Killed):
        harness.runtime.recreate(spec, die, TIME_LIMIT)
    if step == "ready":
        with pytest.raises(EngineRefused, match="being recreated"):
            harness.runtime.execute(spec.id, "store", ["true"], 5)
    after = harness.runtime.recreate(spec, ignore_step, TIME_LIMIT)
    assert after.services == before.services
    (seen,) = harness.runtime.observe(sizes=True).values()
    assert (seen.disk_mb or 0) < 10
    harness.runtime.destroy(spec.id)
    assert harness.runtime.observe() == {}


def test_requests_count_as_traffic_and_observing_does_not(
    shared_sandbox: SharedSandbox[RuntimeHarness],
) -> None:
    runtime, spec = shared_sandbox.runtime, shared_sandbox.spec
    before = runtime.observe()[spec.id].traffic_bytes
    assert before is not None
    runtime.observe(sizes=True)
    runtime.usage([spec.id])
    runtime.logs(spec.id, "web", 10)
    untouched = runtime.observe()[spec.id].traffic_bytes
    shared_sandbox.harness.send_request(shared_sandbox.facts)
    used = runtime.observe()[spec.id].traffic_bytes
    assert untouched is not None
    assert used is not None
    assert untouched - before < 256 < used - untouched


def test_counting_log_lines_continues_from_the_last_position(
    harness: RuntimeHarness,
) -> None:
    spec = harness.spec()
    harness.runtime.create(spec, ignore_step, TIME_LIMIT)

    def count(so_far: LineCount) -> LineCount:
        return harness.runtime.count_lines({spec.id: so_far})[spec.id]

    harness.write_log(spec, "GET /a 200", "nothing of that kind", "POST /b 201")
    none = count(LineCount("store", "PUT /"))
    two = count(LineCount("store", "[A-Z]+ /"))
    assert (none.lines, two.lines) == (0, 2)
    assert count(two) == two, "nothing was written since"
    harness.write_log(spec, "a GET /c inside", "DELETE /d 204")
    assert count(two).lines == 3
    harness.stop_service(spec, "store", 9)
    harness.runtime.create(spec, ignore_step, TIME_LIMIT)
    harness.write_log(spec, "GET /e 200")
    assert count(two).lines == 4, "a service that was started again"


def test_log_lines_of_missing_services_are_not_counted(
    shared_sandbox: SharedSandbox[RuntimeHarness],
) -> None:
    runtime = shared_sandbox.runtime
    asked = {new_id(): LineCount("store", "x"), shared_sandbox.spec.id: LineCount("nothing", "x")}
    assert runtime.count_lines(asked) == {}
    assert runtime.count_lines({}) == {}


def test_disk_usage_is_measured_on_request(shared_sandbox: SharedSandbox[RuntimeHarness]) -> None:
    runtime, spec = shared_sandbox.runtime, shared_sandbox.spec
    shared_sandbox.harness.fill_disk(spec, 20)
    assert runtime.observe()[spec.id].disk_mb is None
    measured = runtime.observe(sizes=True)[spec.id].disk_mb
    assert measured is not None
    assert 19 < measured < 25


def test_usage_is_returned_for_running_sandboxes(
    shared_sandbox: SharedSandbox[RuntimeHarness],
) -> None:
    runtime, running = shared_sandbox.runtime, shared_sandbox.spec.id
    usage = runtime.usage([running, new_id()])
    assert set(usage) == {running}
    assert 0 < usage[running].memory_mb < 512
    assert usage[running].cpu_seconds >= 0
    assert runtime.usage([]) == {}


def test_a_leftover_object_is_observed_and_can_be_destroyed(harness: RuntimeHarness) -> None:
    leftover = new_id()
    harness.add_orphan(leftover)
    facts = harness.runtime.observe()[leftover]
    assert facts.services == {}
    assert not facts.alive
    assert timezone.now() - facts.created_at < timedelta(minutes=1)
    harness.runtime.destroy(leftover)
    assert harness.runtime.observe() == {}


def test_capabilities_are_reported(shared_sandbox: SharedSandbox[RuntimeHarness]) -> None:
    capabilities = shared_sandbox.runtime.capabilities()
    assert capabilities.name
    assert capabilities.version
    assert capabilities.memory_mb > 512
    assert capabilities.resources.disk_free_mb is not None and capabilities.resources.disk_total_mb
    assert 0 <= capabilities.resources.disk_free_mb <= capabilities.resources.disk_total_mb


def test_the_repr_of_a_spec_has_no_secrets(shared_sandbox: SharedSandbox[RuntimeHarness]) -> None:
    assert "not-to-be-told" not in repr(shared_sandbox.spec)


def test_the_first_mark_of_a_claim_stays_until_the_sandbox_is_destroyed(
    harness: RuntimeHarness,
) -> None:
    spec = harness.spec()
    assert harness.runtime.create(spec, ignore_step, TIME_LIMIT).claim == ""
    assert harness.runtime.mark_claimed(spec.id, "1 first") == "1 first"
    assert harness.runtime.mark_claimed(spec.id, "2 second") == "1 first"
    harness.runtime.recreate(spec, ignore_step, TIME_LIMIT)
    assert harness.runtime.observe()[spec.id].claim == "1 first"
    harness.runtime.destroy(spec.id)
    assert harness.runtime.observe() == {}
