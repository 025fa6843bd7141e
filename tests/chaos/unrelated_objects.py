"""Engine objects that look like the portal's but don't belong to it."""

from __future__ import annotations

from typing import Any

from sandboxes.models.sandbox import new_public_id
from sandboxes.runtime.docker.names import INSTANCE, SANDBOX
from tests.chaos.environment import UNRELATED, ChaosEnvironment


def create_unrelated_objects(env: ChaosEnvironment) -> int:
    """Create objects named like the portal's and return their number.

    Some have no labels, some have labels of another instance, and some have incomplete labels.
    """
    image = _image()
    other_instance = {INSTANCE: f"{env.instance}-other", SANDBOX: new_public_id()}
    incomplete = {SANDBOX: new_public_id()}
    variants: list[dict[str, str]] = [{}, other_instance, incomplete]
    for number, labels in enumerate(variants):
        _create(env, image, new_public_id(), labels, running=number % 2 == 0)
    return 3 * len(variants)


def _image() -> str:
    from sandboxes.blueprints import load

    return load("tiny").services[0].image


def _create(
    env: ChaosEnvironment, image: str, name: str, labels: dict[str, str], *, running: bool
) -> None:
    """Create a container, a network and a volume."""
    labels = labels | {UNRELATED: env.instance}
    network = f"{name}_default"
    # Without a subnet, so that the engine chooses one outside the portal's subnets.
    env.engine.create_network(network, labels=labels, internal=True)
    env.engine.create_volume(name, labels=labels)
    host: Any = env.engine.create_host_config(network_mode=network)
    container = env.engine.create_container(
        image, ["sleep", "1000000"], name=f"{name}-web-1", labels=labels, host_config=host
    )
    if running:
        env.engine.start(container["Id"])
