"""Engines on other machines, behind the socket proxy over TLS: the contract, and a pulled cable."""

from __future__ import annotations

import io
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic

import docker
import pytest

from sandboxes.lib import clock
from sandboxes.models import BlueprintVersion, Engine
from sandboxes.preparation import distribution
from sandboxes.runtime import EngineRefused, EngineUnreachable, SandboxFacts, call_engines
from sandboxes.runtime.docker import DockerRuntime
from sandboxes.runtime.docker.client import EngineClient, IsolatedClient
from tests.harness.certificate import write_certificate
from tests.harness.remote_engines import INSTANCE, RemoteEngine
from tests.harness.runtimes import SUBNETS, TIME_LIMIT, fetch_page, ignore_step, new_spec
from tests.helpers.wait import wait_for

ARP_BYTES = 100

pytestmark = [pytest.mark.engine, pytest.mark.root, pytest.mark.slow]


def runtime_of(engine: RemoteEngine, certificates: Path | None = None) -> DockerRuntime:
    where = engine.connection
    if certificates:
        where = replace(where, certificates=certificates)
    return DockerRuntime(INSTANCE, SUBNETS, connection=where, timeout=2)


@contextmanager
def counted_calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Yield the paths of the engine calls in this block."""
    calls, send = [], IsolatedClient.send

    def counting(client: IsolatedClient, request: object, **options: object) -> object:
        calls.append(request.path_url)
        return send(client, request, **options)

    with monkeypatch.context() as patch:
        patch.setattr(IsolatedClient, "send", counting)
        yield calls


def activity(runtime: DockerRuntime, sandbox_id: str) -> int:
    return runtime.observe()[sandbox_id].traffic_bytes or 0


def test_a_sandbox_runs_on_each_of_three_engines_and_survives_a_pulled_cable(
    remote_engines: list[RemoteEngine], tiny_image: str
) -> None:
    runtimes = {engine.name: runtime_of(engine) for engine in remote_engines}
    specs = {name: new_spec(tiny_image) for name in runtimes}
    for name, runtime in runtimes.items():
        facts = runtime.create(specs[name], ignore_step, TIME_LIMIT)
        assert facts.alive
        fetch_page(facts)
        assert runtime.execute(specs[name].id, "web", ["echo", "here"], 5) == (0, "here\n")

    last = remote_engines[-1]
    last.pull_cable()
    began = monotonic()
    calls = {name: runtime.observe for name, runtime in runtimes.items()}
    found, failures = call_engines(calls, 3)
    assert monotonic() - began < 4
    assert list(failures) == [last.name]
    assert isinstance(failures[last.name], EngineUnreachable)
    assert {name: list(facts) for name, facts in found.items()} == {
        name: [specs[name].id] for name in runtimes if name != last.name
    }

    last.plug_cable()
    for name, runtime in runtimes.items():
        assert list(runtime.observe(sizes=True)) == [specs[name].id]
        runtime.destroy(specs[name].id)
        assert runtime.observe() == {}


def test_idle_detection_is_exact_with_a_constant_number_of_calls(
    remote_engines: list[RemoteEngine], tiny_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = remote_engines[0]
    runtime, specs = runtime_of(engine), [new_spec(tiny_image) for _ in range(2)]
    numbers, facts = [], dict[str, SandboxFacts]()
    for spec in specs:
        facts[spec.id] = runtime.create(spec, ignore_step, TIME_LIMIT)
        with counted_calls(monkeypatch) as calls:
            observed = runtime.observe()
            runtime.probe(observed.values(), {spec.id: spec.ready}, 2)
            usage = runtime.usage(list(observed))
        numbers.append(len(calls))
    assert numbers[0] == numbers[1] <= 6, calls
    assert all(one.memory_mb > 0 and one.cpu_seconds > 0 for one in usage.values())

    used, idle = (spec.id for spec in specs)
    before = {name: activity(runtime, name) for name in (used, idle)}
    fetch_page(facts[used])
    wait_for(lambda: activity(runtime, used) > before[used], "the request is counted")
    # Traffic among services doesn't pass between the machine and the bridge, but for ARP.
    assert runtime.execute(idle, "store", ["wget", "-qO-", "http://web:8080/ok"], 5)[0] == 0
    assert activity(runtime, idle) - before[idle] < ARP_BYTES

    found = runtime.capabilities()
    assert found.engine_id
    assert found.resources.memory_available_mb
    assert found.resources.disk_free_mb
    for spec in specs:
        runtime.destroy(spec.id)


@pytest.mark.django_db
def test_images_reach_all_engines_with_the_same_ids(
    remote_engines: list[RemoteEngine], tiny_image: str, settings
) -> None:
    settings.SANDBOX_RUNTIME = "docker"
    settings.SANDBOX_INSTANCE, settings.SANDBOX_ENGINE_CA = INSTANCE, remote_engines[0].authority
    name, client = f"sandboxportal-tests/news:{secrets.token_hex(4)}", docker.APIClient()
    file = io.BytesIO(f"FROM {tiny_image}\nLABEL news={name}\n".encode())
    list(client.build(fileobj=file, tag=name, rm=True, decode=True))
    image = client.inspect_image(name)["Id"]
    try:
        BlueprintVersion.objects.create(
            name="news",
            digest="n" * 32,
            document={},
            images={name: image},
            prepared_at=clock.now(),
            activated_at=clock.now(),
            is_active=True,
        )
        for one in remote_engines:
            values = {"publish_address": one.address, "images": {}}
            Engine.objects.create(name=one.name, address=one.connection.address, **values)
        lines: list[str] = []
        assert distribution.distribute(["news"], lines.append) == {}
        for one in remote_engines:
            assert runtime_of(one).images([name]) == {name: image}
            assert Engine.objects.get(name=one.name).holds([image])
            assert any(line.startswith(f"{one.name}: ") and "MB" in line for line in lines)

        lines.clear()
        assert distribution.distribute(["news"], lines.append) == {}
        assert [line.partition(": ")[2] for line in lines] == ["has all images."] * 3
    finally:
        client.remove_image(name)
    # The portal's processes can't bring such images to an engine, only an operator's command can.
    where = remote_engines[0].connection
    portal = EngineClient(where.address, 5, where.certificates)
    with pytest.raises(EngineRefused, match="Denied by"), portal.calling("load") as api:
        list(api.load_image(b"x" * 1024))


def test_a_certificate_of_another_authority_is_rejected(
    remote_engines: list[RemoteEngine], tmp_path: Path
) -> None:
    write_certificate(tmp_path, remote_engines[0].address)
    with pytest.raises(EngineUnreachable) as rejected:
        runtime_of(remote_engines[0], tmp_path).observe()
    assert "CERTIFICATE_VERIFY_FAILED" in str(rejected.value.__cause__)
