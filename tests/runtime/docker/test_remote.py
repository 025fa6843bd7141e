"""Engines on other machines, over TLS on both sides: the contract in short, and a pulled cable."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from time import monotonic

import pytest

from sandboxes.runtime import EngineUnreachable, call_engines
from sandboxes.runtime.docker import DockerRuntime
from tests.harness.certificate import write_certificate
from tests.harness.remote_engines import RemoteEngine
from tests.harness.runtimes import SUBNETS, TIME_LIMIT, fetch_page, ignore_step, new_spec

pytestmark = [pytest.mark.engine, pytest.mark.root, pytest.mark.slow]


def runtime_of(engine: RemoteEngine, certificates: Path | None = None) -> DockerRuntime:
    where = engine.connection
    if certificates:
        where = replace(where, certificates=certificates)
    return DockerRuntime("tests-remote", SUBNETS, connection=where, timeout=2)


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
        assert runtime.usage([specs[name].id])
        runtime.destroy(specs[name].id)
        assert runtime.observe() == {}


def test_a_certificate_of_another_authority_is_rejected(
    remote_engines: list[RemoteEngine], tmp_path: Path
) -> None:
    write_certificate(tmp_path, remote_engines[0].address)
    with pytest.raises(EngineUnreachable) as rejected:
        runtime_of(remote_engines[0], tmp_path).observe()
    assert "CERTIFICATE_VERIFY_FAILED" in str(rejected.value.__cause__)
