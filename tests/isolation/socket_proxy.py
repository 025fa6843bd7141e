"""Requests to the socket proxy by a worker that was taken over."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.harness.busybox_image import import_busybox_image
from tests.harness.runtimes import SUBNETS
from tests.isolation.containers import Outcomes
from tests.socket_proxy.attacker import FORBIDDEN_KEYS, FORBIDDEN_OPTIONS, Attacker
from tests.socket_proxy.harness import ProxiedHarness, running_proxy

DENIED = 403


def attack() -> Outcomes:
    """Ask the proxy for containers with more rights than a sandbox has."""
    with tempfile.TemporaryDirectory(prefix="proxy-") as folder:
        path = Path(folder) / "engine.sock"
        with import_busybox_image(Path(folder)) as image:
            harness = ProxiedHarness(image, path)
            environment = {"SANDBOX_INSTANCE": harness.instance, "SANDBOX_SUBNETS": str(SUBNETS)}
            with running_proxy(path, **environment):
                try:
                    spec, _ = harness.create()
                    attacker = Attacker(harness, spec, f"{spec.id}-web-1", "", "")
                    return _create_containers(attacker)
                finally:
                    harness.clear()


def _create_containers(attacker: Attacker) -> Outcomes:
    bodies = {name: attacker.body(**options) for name, options in FORBIDDEN_OPTIONS.items()}
    bodies |= {name: attacker.body() | keys for name, keys in FORBIDDEN_KEYS.items()}
    outcomes = {}
    for name, body in bodies.items():
        status, _ = attacker.ask("POST", "/v1.41/containers/create", body)
        outcomes[f"create a container: {name}"] = (status != DENIED, f"status {status}")
    return outcomes
