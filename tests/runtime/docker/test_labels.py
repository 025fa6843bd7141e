"""Labels of engine objects for operators, and objects that don't belong to the portal."""

from __future__ import annotations

import json
import subprocess

import pytest

from sandboxes.runtime import (
    EngineRefused,
)
from tests.harness.runtimes import TIME_LIMIT, DockerHarness, SharedSandbox, ignore_step

pytestmark = pytest.mark.engine


# Labels for operators.


def test_docker_commands_show_the_sandboxes(docker_sandbox: SharedSandbox[DockerHarness]) -> None:
    spec = docker_sandbox.spec
    label = f"label=sandboxportal.sandbox={spec.id}"
    shown = subprocess.run(
        ["docker", "ps", "--filter", label, "--format", "{{.Names}}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(shown.stdout.split()) == {f"{spec.id}-web-1", f"{spec.id}-store-1"}


def test_compose_finds_its_own_labels(docker_sandbox: SharedSandbox[DockerHarness]) -> None:
    """Check the labels that `docker compose ls` and `docker compose -p … ps` filter by."""
    harness, spec = docker_sandbox.harness, docker_sandbox.spec
    labels = harness.inspect(spec, "web")["Config"]["Labels"]
    compose = {
        key.removeprefix("com.docker.compose."): value
        for key, value in labels.items()
        if key.startswith("com.docker.compose.")
    }
    assert compose.pop("config-hash")
    assert compose == {
        "project": spec.id,
        "service": "web",
        "container-number": "1",
        "oneoff": "False",
        "project.config_files": "tiny/compose.yaml",
    }
    assert "not-to-be-told" not in json.dumps(labels)


# Foreign objects.


def test_a_foreign_container_of_the_same_name_is_neither_used_nor_removed(
    docker_harness: DockerHarness,
) -> None:
    spec = docker_harness.spec()
    stranger = docker_harness.client.create_container_from_config(
        {"Image": docker_harness.image, "Cmd": ["sleep", "60"]}, f"{spec.id}-web-1"
    )["Id"]
    try:
        with pytest.raises(EngineRefused, match=r"another program|the label of this instance"):
            docker_harness.runtime.create(spec, ignore_step, TIME_LIMIT)
        docker_harness.runtime.destroy(spec.id)
        assert docker_harness.client.inspect_container(stranger)["State"]["Status"] == "created"
    finally:
        docker_harness.client.remove_container(stranger, force=True)


def test_sandboxes_of_another_portal_are_neither_observed_nor_removed(
    docker_sandbox: SharedSandbox[DockerHarness],
) -> None:
    harness, spec = docker_sandbox.harness, docker_sandbox.spec
    other = DockerHarness(harness.image)
    assert other.runtime.observe() == {}
    other.runtime.destroy(spec.id)
    assert harness.runtime.observe()[spec.id].alive


def test_a_container_that_an_operator_connected_does_not_prevent_removal(
    docker_harness: DockerHarness,
) -> None:
    spec, _ = docker_harness.create()
    client = docker_harness.client
    debugger = client.create_container_from_config(
        {"Image": docker_harness.image, "Cmd": ["sleep", "60"]}
    )["Id"]
    try:
        client.start(debugger)
        client.connect_container_to_network(debugger, f"{spec.id}_default")
        docker_harness.runtime.destroy(spec.id)
        assert client.inspect_container(debugger)["State"]["Running"]
    finally:
        client.remove_container(debugger, force=True)
