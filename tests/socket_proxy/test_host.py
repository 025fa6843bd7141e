"""What is free on the proxy's machine, which a portal in a container can't read itself."""

from __future__ import annotations

import pytest

from sandboxes.runtime.docker import runtime
from sandboxes.runtime.host_resources import available_memory, disk_space
from tests.socket_proxy.harness import ProxiedHarness

pytestmark = pytest.mark.engine
TOLERANCE_MB = 2048
"""Other tests use the disk and the memory at the same time."""


def test_the_proxy_tells_the_runtime_the_free_memory_and_disk_space(
    proxied: ProxiedHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As in a container, which has no such directory.
    monkeypatch.setattr(runtime, "disk_space", lambda _: (None, None))
    found = proxied.runtime.capabilities().resources
    total, free = disk_space(proxied.client.info()["DockerRootDir"])
    assert found.disk_total_mb == total
    assert found.disk_free_mb == pytest.approx(free, abs=TOLERANCE_MB)
    assert found.memory_available_mb == pytest.approx(available_memory(), abs=TOLERANCE_MB)
