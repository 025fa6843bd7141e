"""Fixtures for pytest: `sandbox`, one for the whole run.

    def test_orders(sandbox):
        assert sandbox.endpoints["api"]

Its options are `--sandbox-blueprint` and `--sandbox-reset` (reset the data before each test).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from sandbox_client.synchronous import Sandbox

HEARTBEAT_SECONDS = 60


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("sandbox", "Sandboxes of the portal")
    group.addoption("--sandbox-blueprint", help="Blueprint to launch; by default, the portal's.")
    group.addoption(
        "--sandbox-reset", action="store_true", help="Reset the sandbox's data before each test."
    )


@pytest.fixture(scope="session")
def shared_sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """Return the sandbox of this run; it is destroyed at the end."""
    from sandbox_client.synchronous import Sandbox

    blueprint = request.config.getoption("--sandbox-blueprint")
    metadata = {"launched-by": "pytest"}
    with Sandbox.launch(
        blueprint, metadata=metadata, heartbeat_seconds=HEARTBEAT_SECONDS
    ) as launched:
        yield launched


@pytest.fixture
def sandbox(request: pytest.FixtureRequest, shared_sandbox: Sandbox) -> Sandbox:
    """Return the sandbox of this run, reset if `--sandbox-reset` says so."""
    if request.config.getoption("--sandbox-reset"):
        shared_sandbox.reset()
    return shared_sandbox
