"""Subnets for tests of the firewall's rules, on the engine of this machine."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Network

import pytest

from sandboxes.doctor import firewall
from sandboxes.runtime import forget_runtimes
from tests.harness.runtimes import DockerHarness

FLAVOURS = ("iptables", "nftables")


def run_script(script: str) -> None:
    subprocess.run(["sh", "-c", script], check=True, capture_output=True)


@pytest.fixture
def subnets(docker_harness: DockerHarness, settings) -> Iterator[IPv4Network]:
    """Use subnets of this test only, and remove its rules afterwards."""
    settings.SANDBOX_SUBNETS = IPv4Network(f"10.222.{secrets.randbelow(256)}.0/24")
    settings.SANDBOX_RUNTIME, settings.SANDBOX_INSTANCE = "docker", docker_harness.instance
    docker_harness.runtime = docker_harness.new_runtime(settings.SANDBOX_SUBNETS)
    forget_runtimes()
    yield settings.SANDBOX_SUBNETS
    forget_runtimes()
    for flavour in FLAVOURS:
        run_script(firewall.rules(flavour, undo=True))
