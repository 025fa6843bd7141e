"""The proxy in front of this machine's engine."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.runtimes import SUBNETS
from tests.helpers.engine_faults import RepairedSandbox
from tests.socket_proxy.harness import ProxiedHarness, running_proxy


@pytest.fixture(scope="package")
def proxied(tiny_image: str) -> Iterator[ProxiedHarness]:
    """Return a harness whose runtime uses a proxy of its own."""
    with tempfile.TemporaryDirectory(prefix="proxy-") as folder:
        path = Path(folder) / "engine.sock"
        harness = ProxiedHarness(tiny_image, path)
        with running_proxy(path, SANDBOX_INSTANCE=harness.instance, SANDBOX_SUBNETS=str(SUBNETS)):
            yield harness
            harness.clear()


@pytest.fixture(scope="module")
def sandbox(proxied: ProxiedHarness) -> RepairedSandbox:
    return RepairedSandbox(proxied)
