"""Save points of the runtimes: the data of one moment, for the same sandbox and for new ones."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sandboxes.runtime import (
    EngineRefused,
    ImageMissing,
    NotReady,
    SandboxSpec,
    ServiceNotFound,
)
from tests.harness.runtimes import (
    TIME_LIMIT,
    RuntimeHarness,
    ignore_step,
    new_id,
    shorten_restoration,
    with_service,
)

SAVE_POINT = "sp_0123456789abcdef"


def with_rekey(harness: RuntimeHarness, spec: SandboxSpec, code: int = 0) -> SandboxSpec:
    """Return a spec whose `store` has a command that sets credentials."""
    command = harness.command_with_result(code, "rekeyed")
    store = next(each for each in spec.services if each.name == "store")
    process = store.process and replace(store.process, rekey=command)
    return with_service(spec, "store", rekey=command, process=process)


def saved_sandbox(harness: RuntimeHarness) -> SandboxSpec:
    """Return a running sandbox with the data “first”, which is saved, and now has “second”."""
    spec = harness.spec()
    harness.runtime.create(spec, ignore_step, TIME_LIMIT)
    harness.write_data(spec, "first")
    harness.runtime.save(spec, SAVE_POINT)
    harness.write_data(spec, "second")
    return spec


def test_a_sandbox_returns_to_its_save_point_and_keeps_its_addresses(
    harness: RuntimeHarness,
) -> None:
    spec = saved_sandbox(harness)
    before = harness.runtime.observe()[spec.id]
    facts = harness.runtime.recreate(replace(spec, save_point=SAVE_POINT), ignore_step, TIME_LIMIT)
    assert facts.alive
    assert facts.services == before.services
    assert harness.read_data(spec) == "first"


def test_new_sandboxes_start_from_a_save_point_whose_sandbox_is_gone(
    harness: RuntimeHarness,
) -> None:
    source = saved_sandbox(harness)
    harness.runtime.destroy(source.id)
    copy = with_rekey(harness, replace(source, id=new_id(), save_point=SAVE_POINT))
    assert harness.runtime.create(copy, ignore_step, TIME_LIMIT).alive
    assert harness.read_data(copy) == "first"
    # And it can be saved itself, in place of what an interrupted call left.
    for text in ("third", "fourth"):
        harness.write_data(copy, text)
        harness.runtime.save(copy, "sp_other")
    harness.runtime.recreate(replace(copy, save_point="sp_other"), ignore_step, TIME_LIMIT)
    assert harness.read_data(copy) == "fourth"
    assert set(harness.runtime.save_points()) == {SAVE_POINT, "sp_other"}


def test_a_sandbox_that_can_not_be_rekeyed_is_not_ready(harness: RuntimeHarness) -> None:
    source = saved_sandbox(harness)
    copy = with_rekey(harness, replace(source, id=new_id(), save_point=SAVE_POINT), code=3)
    with pytest.raises(NotReady, match="store"):
        harness.runtime.create(copy, ignore_step, 1.5)


def test_a_failed_restoration_changes_nothing(
    harness: RuntimeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten_restoration(monkeypatch)
    spec = saved_sandbox(harness)
    with pytest.raises(ImageMissing):
        harness.runtime.recreate(replace(spec, save_point="sp_none"), ignore_step, TIME_LIMIT)
    assert harness.runtime.observe()[spec.id].alive
    assert harness.read_data(spec) == "second"


def test_only_sandboxes_whose_services_all_run_are_saved(harness: RuntimeHarness) -> None:
    spec = harness.spec()
    with pytest.raises(ServiceNotFound):
        harness.runtime.save(spec, SAVE_POINT)
    harness.runtime.create(spec, ignore_step, TIME_LIMIT)
    harness.stop_service(spec, "store", 1)
    with pytest.raises(EngineRefused, match="store"):
        harness.runtime.save(spec, SAVE_POINT)
    assert harness.runtime.save_points() == {}


def test_a_save_point_is_removed_completely_and_again(harness: RuntimeHarness) -> None:
    spec = saved_sandbox(harness)
    for _ in range(2):
        harness.runtime.remove_save_point(SAVE_POINT)
        assert harness.runtime.save_points() == {}
    assert harness.runtime.observe()[spec.id].alive
