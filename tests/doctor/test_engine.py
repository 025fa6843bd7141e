"""Checks of the engine, its features, and its images."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from sandboxes.doctor import engine, host
from sandboxes.doctor.findings import Level
from sandboxes.runtime import EngineDenied
from sandboxes.runtime.docker.engine_info import EngineInfo
from tests.doctor.findings import FINE, WARNING, WRONG, levels, the_one

if TYPE_CHECKING:
    from pytest_django.fixtures import SettingsWrapper

    from sandboxes.runtime.memory import MemoryRuntime


GOOD = EngineInfo(
    version="28.0",
    api_version="1.48",
    system_time=datetime.now(UTC),
    storage="overlay2 on xfs",
    cgroup_version="2",
    limits={"memory": True, "swap": True, "processes": True, "CPU": True},
    runtimes=frozenset({"runc"}),
    live_restore=True,
)


def test_the_runtime_is_checked(runtime: MemoryRuntime) -> None:
    assert levels(engine.runtime_answers()) == [FINE, FINE]
    runtime.unreachable = True
    assert "Start the engine" in the_one(engine.runtime_answers(), WRONG).remedy


def test_a_user_who_may_not_use_the_engine_learns_how(monkeypatch: pytest.MonkeyPatch) -> None:
    def deny() -> None:
        raise EngineDenied("This user may not use the socket.")

    monkeypatch.setattr(engine, "get_runtime", deny)
    assert "sandbox-portal manage doctor" in the_one(engine.runtime_answers(), WRONG).remedy


def test_a_complete_engine_is_ok() -> None:
    assert set(levels(engine.evaluate(GOOD))) == {FINE}


@pytest.mark.parametrize(
    ("changes", "level", "words"),
    [
        ({"api_version": "1.40"}, WRONG, "too old"),
        ({"limits": {"memory": True, "processes": False}}, WRONG, "can't limit processes"),
        ({"limits": {"memory": True, "swap": False}}, WARNING, "can't limit swap"),
        ({"seccomp": False}, WRONG, "filter system calls"),
        ({"live_restore": False}, WARNING, "stops all sandboxes"),
        ({"proxies": 6}, WARNING, "6 proxy processes"),
    ],
)
def test_missing_engine_features_are_reported(
    changes: dict[str, Any], level: Level, words: str
) -> None:
    assert words in the_one(engine.evaluate(replace(GOOD, **changes)), level).message


def test_a_missing_container_runtime_is_an_error(settings: SettingsWrapper) -> None:
    settings.SANDBOX_CONTAINER_RUNTIME = "runsc"
    assert "runsc" in the_one(engine.evaluate(GOOD), WRONG).message
    assert WRONG not in levels(engine.evaluate(replace(GOOD, runtimes=frozenset({"runsc"}))))


def test_services_with_root_are_reported(settings: SettingsWrapper) -> None:
    assert WARNING not in levels(engine.evaluate(GOOD))
    settings.SANDBOX_ROOT_SERVICES = True
    assert "container's root" in the_one(engine.evaluate(GOOD), WARNING).message


def test_a_missing_image_is_an_error(runtime: MemoryRuntime) -> None:
    assert levels(engine.images_up_to_date()) == [FINE]
    runtime.missing_images.add("sandboxportal/billing-db")
    assert "blueprint prepare" in the_one(engine.images_up_to_date(), WRONG).remedy


@pytest.mark.engine
def test_a_real_engine_is_evaluated(settings: SettingsWrapper) -> None:
    settings.SANDBOX_RUNTIME = "docker"
    found = engine.read_engine_info(engine.connection())
    assert found.limits.keys() == {"memory", "swap", "processes", "CPU"}
    assert "runc" in found.runtimes
    assert host.clock_agrees("the engine", found.system_time).level is FINE
    assert WRONG not in levels(engine.engine_limits())


@pytest.mark.engine
def test_an_outdated_image_is_reported(
    settings: SettingsWrapper, monkeypatch: pytest.MonkeyPatch, runtime: MemoryRuntime
) -> None:
    settings.SANDBOX_RUNTIME = "docker"
    monkeypatch.setattr(
        "sandboxes.runtime.docker.images.build.recorded_inputs", lambda *_: "of before"
    )
    assert levels(engine.images_up_to_date()) == [WARNING, WARNING]
