"""The engines that operators added: whether they can be used, their certificates and images."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial

from sandboxes.core.fleet import Fleet
from sandboxes.doctor.findings import Finding, Findings, error, ok, warning
from sandboxes.lib import clock
from sandboxes.lib.exceptions import ValidationFailed
from sandboxes.models import BlueprintVersion, Engine
from sandboxes.preparation import engines as preparation
from sandboxes.preparation.engine_certificates import RENEW_BEFORE
from sandboxes.runtime import call_engines, get_runtime

Wanted = Mapping[str, frozenset[str]]
"""IDs of the images of each blueprint."""


def added_engines() -> Findings:
    """Ask all engines that were added at once."""
    added = [engine for engine in Fleet.read().engines if not engine.is_default]
    if not added:
        yield ok("No engines were added to that of the environment.")
        return
    wanted = {
        version.name: frozenset(version.images.values())
        for version in BlueprintVersion.objects.active()
    }
    calls = {engine.name: partial(_findings, engine, wanted) for engine in added}
    found, failures = call_engines(calls)
    for name in calls:
        if name in failures:
            yield error(f"{name}: {failures[name]}", "Correct what it says, or remove the engine.")
        else:
            yield from found[name]


def _findings(engine: Engine, wanted: Wanted) -> list[Finding]:
    remedy = f"Then run `manage.py engine check {engine}`."
    try:
        able = preparation.check(engine)
    except ValidationFailed as refused:
        return [error(f"{engine}: {refused}", remedy)]
    held = get_runtime(engine.connection).images(sorted(frozenset().union(*wanted.values())))
    found = [ok(f"{engine}: {able.name} {able.version} can be used.")]
    if able.certificate_expires_at:
        found.append(_certificate(engine, able.certificate_expires_at))
    if lacking := [name for name, images in wanted.items() if not images <= held.keys()]:
        found.append(
            warning(
                f"{engine} lacks images of {', '.join(lacking)}, so it launches none of them.",
                "Run `manage.py blueprint prepare --engines`.",
            )
        )
    return found


def _certificate(engine: Engine, at: datetime) -> Finding:
    words = f"{engine}: the first certificate of its connection expires on {at:%Y-%m-%d}."
    if at - clock.now() > RENEW_BEFORE:
        return ok(words)
    return warning(words, f"Renew it: `manage.py engine issue-certificate {engine}`.")
