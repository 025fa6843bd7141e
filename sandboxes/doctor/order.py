"""All that is looked at, from what everything stands on to what stands on it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from sandboxes.doctor import (
    configuration,
    engine,
    keys,
    machine,
    networks,
    outside,
    stores,
    work,
)
from sandboxes.doctor.findings import Check

CHECKS = (
    Check("settings", configuration.settings_in_force),
    Check("DEBUG", configuration.debug),
    Check("files", machine.files),
    Check("database", stores.database),
    Check("cache", stores.shared_cache),
    Check("keys", keys.encryption_keys),
    Check("sessions", keys.earlier_secret_keys),
    Check("runtime", engine.runs_sandboxes, 15),
    Check("engine", engine.enforces_limits, 15),
    Check("images", engine.has_images, 15),
    Check("subnets", networks.subnets, 15),
    Check("firewall", networks.way_to_the_machine, 45),
    Check("ports", networks.ports),
    Check("disks", machine.disks, 15),
    Check("memory", machine.memory),
    Check("clocks", machine.clocks, 15),
    Check("queue", work.queue, 15),
    Check("reaper", work.reaper),
    Check("console", work.alarms),
    Check("friendbot", outside.friendbot),
    Check("mail", outside.mail, 15),
)


def chosen(mail_to: str = "") -> Iterator[Check]:
    """All of them; with an address, a mail is sent there as well."""
    yield from CHECKS
    if mail_to:
        yield Check("a mail", partial(outside.mail_to, mail_to), 15)
