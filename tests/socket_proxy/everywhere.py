"""A pytest plugin that puts the socket proxy in front of the engine in all tests of a runtime.

    make test-socket-proxy

What a runtime can't do behind the proxy fails, and the proxy's log, printed at the end, says why.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from sandboxes.runtime.docker import DockerRuntime
from tests.harness import runtimes
from tests.socket_proxy.harness import running_proxy

ALL_SUBNETS = "10.214.0.0/16"
"""Those of all runtimes in these tests."""
USUAL_OPTIONS = {"bind_address": "127.0.0.1", "container_runtime": "", "root_services": False}
LOGS: list[str] = []


class Proxies:
    """A proxy for each instance and its settings."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.sockets: dict[tuple[object, ...], Path] = {}

    def socket(self, instance: str, options: dict[str, Any]) -> Path:
        chosen = USUAL_OPTIONS | {name: options[name] for name in USUAL_OPTIONS if name in options}
        key = (instance, *chosen.values())
        if key not in self.sockets:
            folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="proxy-")))
            self.sockets[key] = folder / "engine.sock"
            self.stack.enter_context(
                running_proxy(
                    self.sockets[key],
                    SANDBOX_INSTANCE=instance,
                    SANDBOX_SUBNETS=ALL_SUBNETS,
                    SANDBOX_BIND_ADDRESS=str(chosen["bind_address"]),
                    SANDBOX_CONTAINER_RUNTIME=str(chosen["container_runtime"]),
                    SANDBOX_ROOT_SERVICES="on" if chosen["root_services"] else "off",
                )
            )
        return self.sockets[key]


@pytest.fixture(scope="session", autouse=True)
def proxy_everywhere() -> Iterator[None]:
    """Let every Docker runtime use a proxy, unless a test chooses the engine's address."""
    new_runtime = runtimes.DockerHarness.new_runtime
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        proxies = Proxies(stack)

        def proxied(
            harness: runtimes.DockerHarness,
            subnets: IPv4Network = runtimes.SUBNETS,
            **options: Any,
        ) -> DockerRuntime:
            if "engine_url" not in options:
                path = proxies.socket(harness.instance, options)
                options["engine_url"] = f"unix://{path}"
            return new_runtime(harness, subnets, **options)

        patch.setattr(runtimes.DockerHarness, "new_runtime", proxied)
        yield
        for path in proxies.sockets.values():
            LOGS.extend(path.with_suffix(".log").read_text().splitlines())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.section("socket proxy")
    for line in dict.fromkeys(LOGS):
        terminalreporter.write_line(line[:250])
