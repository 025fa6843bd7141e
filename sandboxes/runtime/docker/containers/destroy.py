"""Removal of all objects of a sandbox. Missing objects aren't an error."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from docker.errors import APIError

from sandboxes.runtime import EngineRefused
from sandboxes.runtime.docker.client import EngineClient, is_gone, run_parallel
from sandboxes.runtime.docker.names import Names

MAX_ATTEMPTS = 6
PAUSE_SECONDS = 0.15
REMOVAL_TIMEOUT_FACTOR = 3
"""Killing a container that writes a lot may take longer than other calls, and the engine removes
networks one after the other: parallel sweeps and workers wait for each other."""


@dataclass(frozen=True)
class Destroyer:
    """Removes objects that have this instance's labels. They are found by label, never by name."""

    engine: EngineClient
    names: Names

    def destroy(self, sandbox_id: str) -> None:
        """Remove the sandbox's objects until a new query finds none.

        Raises EngineRefused, EngineUnreachable.
        """
        rejection = ""
        for attempt in range(MAX_ATTEMPTS):
            containers, networks, volumes = self._list_objects(sandbox_id)
            if not (containers or networks or volumes):
                return
            time.sleep(PAUSE_SECONDS * max(0, attempt - 1))
            try:
                self._remove_once(containers, networks, volumes, force=attempt > 0)
            except EngineRefused as error:
                rejection = f" {error}"
        raise EngineRefused(f"The sandbox {sandbox_id} couldn't be removed completely.{rejection}")

    def _list_objects(self, sandbox_id: str) -> tuple[list[str], list[str], list[str]]:
        filters = self.names.filters(sandbox_id)
        with self.engine.calling("list the sandbox's objects") as client:
            return (
                [row["Id"] for row in client.containers(all=True, filters=filters)],
                [row["Id"] for row in client.networks(filters=filters)],
                [row["Name"] for row in client.volumes(filters=filters)["Volumes"] or ()],
            )

    def _remove_once(
        self, containers: list[str], networks: list[str], volumes: list[str], force: bool
    ) -> None:
        run_parallel([partial(remove_container, self.engine, name) for name in containers])
        if force:
            run_parallel([partial(self.disconnect_all, name) for name in networks])
        run_parallel([partial(self.remove_network, name) for name in networks])
        run_parallel([partial(self._remove_volume, name) for name in volumes])

    def remove_network(self, network_id: str) -> None:
        """Remove a network to which nothing is attached."""
        with self.engine.calling(
            "remove the sandbox's network", timeout_factor=REMOVAL_TIMEOUT_FACTOR
        ) as client:
            ignore_gone(partial(client.remove_network, network_id))

    def _remove_volume(self, name: str) -> None:
        with self.engine.calling("remove the sandbox's volume") as client:
            ignore_gone(partial(client.remove_volume, name, force=True))

    def disconnect_all(self, network_id: str) -> None:
        """Disconnect everything that is still attached to the network.

        These are endpoints left over from a crash of the engine, or a container that an operator
        connected. The container itself isn't changed.
        """
        with self.engine.calling("disconnect containers from the sandbox's network") as client:
            try:
                endpoints: dict[str, Any] = client.inspect_network(network_id)["Containers"]
            except APIError as error:
                if is_gone(error):
                    return
                raise
            for key, endpoint in endpoints.items():
                container = endpoint["Name"] if key.startswith("ep-") else key
                ignore_gone(
                    partial(
                        client.disconnect_container_from_network, container, network_id, force=True
                    )
                )


def remove_container(engine: EngineClient, container_id: str) -> None:
    """Kill and remove a container and its anonymous volumes."""
    with engine.calling("remove a container", timeout_factor=REMOVAL_TIMEOUT_FACTOR) as client:
        ignore_gone(partial(client.remove_container, container_id, force=True, v=True))


def stop_container(engine: EngineClient, container_id: str, seconds: int) -> None:
    """Stop a container, and kill it if it still runs after `seconds`."""
    # The SDK adds the seconds to the time limit of the call.
    with engine.calling("stop a container") as client:
        ignore_gone(partial(client.stop, container_id, timeout=seconds))


def ignore_gone(call: Callable[[], object]) -> None:
    """Make a call; treat an object that is gone or being removed as success."""
    try:
        call()
    except APIError as error:
        if not is_gone(error):
            raise
