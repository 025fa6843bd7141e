"""System checks: ids and hints of misconfiguration."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.checks import CheckMessage
from django.core.checks.registry import CheckRegistry

from sandboxes import checks
from sandboxes.checks import runtime as checks_runtime
from sandboxes.runtime import forget_runtimes
from sandboxes.runtime.memory import MemoryRuntime
from tests.helpers.blueprints import tiny, write

SILENCED = {"sandboxes.W001"}
"""Tests run on the memory runtime."""


def found() -> list[CheckMessage]:
    all_of_them = (
        checks_runtime.check_blueprints,
        checks_runtime.check_keys,
        checks_runtime.check_limits,
        checks_runtime.check_runtime,
    )
    return [m for check in all_of_them for m in check() if m.id not in SILENCED]


def test_the_default_settings_pass_all_checks() -> None:
    assert found() == []


@pytest.mark.parametrize(
    ("setting", "value", "said", "check_id"),
    [
        ("SANDBOX_TTL_MIN_MINUTES", 0, "SANDBOX_TTL_MIN_MINUTES is 0", "E005"),
        ("SANDBOX_TTL_MIN_MINUTES", 90, "greater than SANDBOX_TTL_MINUTES (60)", "E005"),
        ("SANDBOX_TTL_MINUTES", 121, "greater than SANDBOX_TTL_MAX_MINUTES (120)", "E005"),
        ("SANDBOX_HARD_CAP_MINUTES", 100, "greater than SANDBOX_HARD_CAP_MINUTES (100)", "E005"),
        ("SANDBOX_WARNING_MINUTES", 40, "greater than SANDBOX_IDLE_MINUTES (30)", "E005"),
        ("SANDBOX_MAX_PER_USER", 0, "SANDBOX_MAX_PER_USER is 0", "E005"),
        ("SANDBOX_POOL_SIZE", -1, "SANDBOX_POOL_SIZE is -1", "E005"),
        ("SANDBOX_POOL_MAX_AGE_MINUTES", 1441, "dates in the seed data would be too old", "E005"),
        ("SANDBOX_MAX_CONCURRENT_LAUNCHES", -1, "SANDBOX_MAX_CONCURRENT_LAUNCHES is -1", "E005"),
        ("SANDBOX_MAX_SITE", 5000, "SANDBOX_SUBNETS has room for 4096", "E005"),
        ("SANDBOX_PROVISION_TIMEOUT_SECONDS", 5, "SANDBOX_ENGINE_TIMEOUT_SECONDS (10)", "E005"),
        ("SANDBOX_RUNTIME", "podman", "unknown runtime “podman”", "E006"),
        ("SANDBOX_INSTANCE", "a=b", "SANDBOX_INSTANCE", "E006"),
        ("SANDBOX_SUBNETS", ipaddress.IPv4Network("10.0.0.0/30"), "SANDBOX_SUBNETS", "E006"),
        ("SANDBOX_SUBNETS", ipaddress.IPv4Network("8.8.0.0/16"), "isn't a private range", "E006"),
        ("SANDBOX_BIND_ADDRESS", "localhost", "SANDBOX_BIND_ADDRESS", "E006"),
        ("SANDBOX_PUBLIC_HOST", "0.0.0.0", "SANDBOX_PUBLIC_HOST", "E006"),
        ("SANDBOX_ENCRYPTION_KEYS", [], "SANDBOX_ENCRYPTION_KEYS is empty", "E003"),
        ("SANDBOX_ENCRYPTION_KEYS", ["short"], "key 1 isn't a Fernet key", "E004"),
        ("SANDBOX_DEFAULT_BLUEPRINT", "shop", "no valid blueprint “shop”", "E002"),
        ("SANDBOX_MEMORY_MB", 256, "a sandbox has 256 MB", "E001"),
    ],
)
def test_an_invalid_setting_is_reported_with_a_hint(
    settings: LazySettings, setting: str, value: Any, said: str, check_id: str
) -> None:
    setattr(settings, setting, value)
    messages = {message.msg: message for message in found()}
    message = next((m for text, m in messages.items() if said in text), None)
    assert message, list(messages)
    assert message.id == f"sandboxes.{check_id}"
    assert message.hint


def test_an_invalid_key_is_not_repeated(settings: LazySettings) -> None:
    settings.SANDBOX_ENCRYPTION_KEYS = ["s3cret-but-too-short"]
    assert "s3cret" not in str(checks_runtime.check_keys())


def test_an_invalid_blueprint_is_reported_with_a_hint(
    settings: LazySettings, tmp_path: Path
) -> None:
    settings.SANDBOX_BLUEPRINTS_DIR = tmp_path
    settings.SANDBOX_DEFAULT_BLUEPRINT = "tiny"
    broken = tiny()
    broken["services"]["web"]["privileged"] = True
    file = write(tmp_path, broken)
    first, second = checks_runtime.check_blueprints()
    assert first.id == "sandboxes.E001"
    assert str(file) in first.msg
    assert "services.web.privileged" in first.msg
    assert first.hint == "Remove it."
    assert second.id == "sandboxes.E002"
    assert not (first.is_serious() or second.is_serious())


def test_the_memory_runtime_is_a_warning() -> None:
    assert [message.id for message in checks_runtime.check_runtime()] == ["sandboxes.W001"]


def test_a_missing_image_is_reported_with_the_command(runtime: MemoryRuntime) -> None:
    assert checks_runtime.check_engine() == []
    runtime.missing_images.add("sandboxportal/billing-db")
    (message,) = checks_runtime.check_engine()
    assert message.id == "sandboxes.E007"
    assert "sandboxportal/billing-db" in message.msg
    assert "blueprint prepare" in (message.hint or "")


def test_an_unreachable_engine_is_a_warning(
    runtime: MemoryRuntime,
) -> None:
    runtime.unreachable = True
    (message,) = checks_runtime.check_engine()
    assert message.id == "sandboxes.W002"
    assert message.level < 40


def test_only_deployment_checks_call_the_engine(
    monkeypatch: pytest.MonkeyPatch, runtime: MemoryRuntime
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(runtime, "images", lambda names: asked.append("") or {})
    registry = CheckRegistry()
    checks.register(registry)
    registry.run_checks()
    assert asked == []
    registry.run_checks(tags=["engine"], include_deployment_checks=True)
    assert asked == [""]


@pytest.mark.engine
def test_images_of_the_real_engine_are_checked(settings: LazySettings) -> None:
    settings.SANDBOX_RUNTIME = "docker"
    forget_runtimes()
    try:
        assert {message.id for message in checks_runtime.check_engine()} <= {"sandboxes.E007"}
        settings.DOCKER_HOST = "unix:///nowhere/docker.sock"
        forget_runtimes()
        assert {message.id for message in checks_runtime.check_engine()} == {"sandboxes.W002"}
    finally:
        forget_runtimes()
