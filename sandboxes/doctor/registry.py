"""All checks, ordered by dependency."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from sandboxes.doctor import (
    blueprints,
    configuration,
    databases,
    encryption_keys,
    engine,
    engines,
    external_services,
    gateway,
    host,
    network,
    stellar,
    streams,
    workers,
)
from sandboxes.doctor.findings import Check

CHECKS = (
    Check("settings", configuration.django_checks),
    Check("DEBUG", configuration.debug),
    Check("files", host.files),
    Check("database", databases.database),
    Check("cache", databases.shared_cache),
    Check("blueprints", blueprints.versions),
    Check("keys", encryption_keys.encryption_keys),
    Check("sessions", encryption_keys.earlier_secret_keys),
    Check("runtime", engine.runtime_answers, 15),
    Check("engine", engine.engine_limits, 15),
    Check("images", engine.images_up_to_date, 15),
    Check("engines", engines.added_engines, 30),
    Check("subnets", network.subnets, 15),
    Check("firewall", network.host_reachability, 45),
    Check("ports", network.ports),
    Check("gateway", gateway.gateway),
    Check("streams", streams.streams, 15),
    Check("disks", host.disks, 15),
    Check("memory", host.memory),
    Check("clocks", host.clocks, 15),
    Check("recorded times", host.recorded_times),
    Check("queue", workers.queue, 15),
    Check("worker", workers.heartbeat),
    Check("reaper", workers.reaper),
    Check("alerts", workers.operator_alerts),
    Check("friendbot", stellar.faucet),
    Check("certificate", external_services.site_certificate, 15),
    Check("mail", external_services.mail, 15),
)


def all_checks(mail_to: str = "") -> Iterator[Check]:
    """Yield all checks; with an address, also one that sends a test email."""
    yield from CHECKS
    if mail_to:
        yield Check("test email", partial(external_services.send_test_mail, mail_to), 15)
