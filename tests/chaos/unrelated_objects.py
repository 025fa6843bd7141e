"""Objects on the engine that are none of the portal's, and look as if they were."""

from __future__ import annotations

from typing import Any

from sandboxes.models.sandbox import new_public_id
from sandboxes.runtime.docker.names import INSTANCE, SANDBOX
from tests.chaos.environment import World


def plant(world: World, image: str = "") -> int:
    """Some without labels and some of another instance, named as ours are; how many."""
    image = image or _image(world)
    others = {INSTANCE: f"{world.instance}-other", SANDBOX: new_public_id()}
    half = {SANDBOX: new_public_id()}
    clothes: list[dict[str, str]] = [{}, others, half]
    for number, labels in enumerate(clothes):
        _plant(world, image, new_public_id(), labels, running=number % 2 == 0)
    return 3 * len(clothes)


def _image(world: World) -> str:
    from sandboxes.blueprints import load

    return load("tiny").services[0].image


def _plant(world: World, image: str, name: str, labels: dict[str, str], *, running: bool) -> None:
    """A container, a network and a volume."""
    labels = labels | {"planted-for": world.instance}
    network = f"{name}_default"
    # The engine's own choice of a subnet is none of ours.
    world.engine.create_network(network, labels=labels, internal=True)
    world.engine.create_volume(name, labels=labels)
    host: Any = world.engine.create_host_config(network_mode=network)
    made = world.engine.create_container(
        image, ["sleep", "1000000"], name=f"{name}-web-1", labels=labels, host_config=host
    )
    if running:
        world.engine.start(made["Id"])
