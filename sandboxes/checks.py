"""System checks: a misconfiguration is found at start, each with an id and what to do.

Those that reach the engine are deployment checks, so that neither the web process nor any other
command touches its socket: `manage.py check --deploy --tag engine`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Any

from cryptography.fernet import Fernet
from django.conf import settings
from django.core import checks
from django.core.checks.registry import CheckRegistry

from sandboxes import blueprints, presentation
from sandboxes.models.pool import A_DAY_MINUTES
from sandboxes.runtime import RUNTIMES, EngineUnreachable, RuntimeFailure, get_runtime

ENGINE = "engine"
SUBNET_PREFIX = 28
MAKE_A_KEY = (
    'Make one with `python -c "from cryptography.fernet import Fernet; '
    'print(Fernet.generate_key().decode())"`.'
)

Contradiction = tuple[bool, str, str]
"""Whether it is there, what it is, and what to do about it."""


def register(registry: CheckRegistry = checks.registry.registry) -> None:
    """Called once, when the app is ready."""
    for check in (check_blueprints, check_keys, check_limits, check_runtime, check_isolation):
        registry.register(check, "sandboxes")
    registry.register(check_engine, ENGINE, deploy=True)


def check_blueprints(**_: Any) -> list[checks.CheckMessage]:
    """Every blueprint is valid, and the default one is among them."""
    found: list[checks.CheckMessage] = [
        checks.Error(
            ": ".join(part for part in (str(one.file), one.key, one.message) if part),
            hint=one.remedy,
            id="sandboxes.E001",
        )
        for one in blueprints.problems()
    ]
    default = settings.SANDBOX_DEFAULT_BLUEPRINT
    if default not in blueprints.available():
        known = ", ".join(blueprints.available()) or "none"
        what = f"SANDBOX_DEFAULT_BLUEPRINT: there is no valid blueprint “{default}”."
        hint = f"Name one of the valid blueprints: {known}."
        found.append(checks.Error(what, hint=hint, id="sandboxes.E002"))
    return found


def check_keys(**_: Any) -> list[checks.CheckMessage]:
    """The secrets of sandboxes can be encrypted."""
    keys = settings.SANDBOX_ENCRYPTION_KEYS
    if not keys:
        what = "SANDBOX_ENCRYPTION_KEYS is empty: the secrets of sandboxes can't be encrypted."
        return [checks.Error(what, hint=MAKE_A_KEY, id="sandboxes.E003")]
    return [
        checks.Error(
            f"SANDBOX_ENCRYPTION_KEYS: number {number} is no Fernet key.",
            hint=MAKE_A_KEY,
            id="sandboxes.E004",
        )
        for number, key in enumerate(keys, 1)
        if not _is_key(key)
    ]


def check_limits(**_: Any) -> list[checks.CheckMessage]:
    """The numbers that limit sandboxes make sense, one by one and together."""
    return [
        checks.Error(what, hint=hint, id="sandboxes.E005")
        for there, what, hint in limit_faults(settings)
        if there
    ]


def check_runtime(**_: Any) -> list[checks.CheckMessage]:
    """What runs sandboxes is known, and told where to publish them."""
    found: list[checks.CheckMessage] = [
        checks.Error(what, hint=hint, id="sandboxes.E006")
        for there, what, hint in _runtime_faults()
        if there
    ]
    if settings.SANDBOX_RUNTIME == "memory":
        what = "SANDBOX_RUNTIME is “memory”: sandboxes are only pretended."
        hint = "Leave SANDBOX_RUNTIME away, unless this is a test."
        found.append(checks.Warning(what, hint=hint, id="sandboxes.W001"))
    return found


def check_isolation(**_: Any) -> list[checks.CheckMessage]:
    """Sandboxes are kept apart; blueprints that need an engine for it have one."""
    if presentation.is_isolated():
        return []
    what = "SANDBOX_RUNTIME is “process”: sandboxes are not isolated from each other, nor from us."
    hint = "Good for a first look by people you trust. For others take an engine: docs/process.md."
    found: list[checks.CheckMessage] = [checks.Warning(what, hint=hint, id="sandboxes.W003")]
    for name, blueprint in blueprints.available().items():
        if not blueprint.runs_on(settings.SANDBOX_RUNTIME):
            what = (
                f"The blueprint {name} does not say how it runs as processes: nobody can launch it."
            )
            hint = "Add x-sandbox.process to it (docs/blueprints.md), or take an engine."
            found.append(checks.Warning(what, hint=hint, id="sandboxes.W004"))
    return found


def check_engine(**_: Any) -> list[checks.CheckMessage]:
    """The engine answers, and holds every image that a launch needs. Asks the engine."""
    images = sorted({i for one in blueprints.available().values() for i in one.images})
    try:
        held = get_runtime().images(images)
    except EngineUnreachable as error:
        hint = "Start the engine, or correct DOCKER_HOST. A machine with only the web needs none."
        return [checks.Warning(str(error), hint=hint, id="sandboxes.W002")]
    except RuntimeFailure as error:
        return [checks.Error(str(error), hint="See the engine's log.", id="sandboxes.E008")]
    return [
        checks.Error(
            f"The engine has no image {image}, so nothing can be launched that needs it.",
            hint="Run `manage.py build_images`, or `prepare_processes` without an engine.",
            id="sandboxes.E007",
        )
        for image in images
        if image not in held
    ]


def _is_key(key: str) -> bool:
    try:
        Fernet(key)
    except ValueError:
        return False
    return True


LEAST = {
    "SANDBOX_TTL_MIN_MINUTES": 1,
    "SANDBOX_EXTENSION_MAX_MINUTES": 1,
    "SANDBOX_IDLE_MINUTES": 1,
    "SANDBOX_WARNING_MINUTES": 0,
    "SANDBOX_MAX_PER_USER": 1,
    "SANDBOX_LAUNCHES_PER_HOUR": 0,
    "SANDBOX_MAX_SITE": 0,
    "SANDBOX_MEMORY_OVERCOMMIT": 0.1,
    "SANDBOX_LAUNCHES_AT_ONCE": 1,
    "SANDBOX_POOL_SIZE": 0,
    "SANDBOX_POOL_MAX_AGE_MINUTES": 1,
    "SANDBOX_MEMORY_MB": 16,
    "SANDBOX_CPUS": 0.01,
    "SANDBOX_DISK_MB": 16,
    "SANDBOX_ENGINE_TIMEOUT_SECONDS": 1,
    "SANDBOX_REAPER_MAX_ENDINGS": 0,
    "SANDBOX_ORPHAN_GRACE_SECONDS": 0,
    "SANDBOX_RETENTION_DAYS": 1,
}

ORDERED = [
    ("SANDBOX_TTL_MIN_MINUTES", "SANDBOX_TTL_MINUTES"),
    ("SANDBOX_TTL_MINUTES", "SANDBOX_TTL_MAX_MINUTES"),
    ("SANDBOX_TTL_MAX_MINUTES", "SANDBOX_HARD_CAP_MINUTES"),
    ("SANDBOX_WARNING_MINUTES", "SANDBOX_IDLE_MINUTES"),
    ("SANDBOX_WARNING_MINUTES", "SANDBOX_TTL_MIN_MINUTES"),
    ("SANDBOX_ENGINE_TIMEOUT_SECONDS", "SANDBOX_PROVISION_TIMEOUT_SECONDS"),
]
"""Pairs of which the first may not be larger than the second."""


def limit_faults(values: Any) -> Iterator[Contradiction]:
    """What may be wrong with settings, given as attributes of `values`."""
    yield from _out_of_range(values)
    yield from _contradictions(values)


def _out_of_range(values: Any) -> Iterator[Contradiction]:
    for name, least in LEAST.items():
        value = getattr(values, name)
        yield value < least, f"{name} is {value}.", f"Set it to {least} or more."


def _contradictions(values: Any) -> Iterator[Contradiction]:
    for smaller, larger in ORDERED:
        low, high = getattr(values, smaller), getattr(values, larger)
        yield (
            low > high,
            f"{smaller} is {low}, which is more than {larger}, {high}.",
            f"Lower {smaller}, or raise {larger}.",
        )
    room = 1 << max(0, SUBNET_PREFIX - values.SANDBOX_SUBNETS.prefixlen)
    most = values.SANDBOX_MAX_SITE
    age = values.SANDBOX_POOL_MAX_AGE_MINUTES
    yield (
        age > A_DAY_MINUTES,
        f"SANDBOX_POOL_MAX_AGE_MINUTES is {age}: the dates in the seed would be too old.",
        f"Set it to {A_DAY_MINUTES} or less.",
    )
    yield (
        most > room,
        f"SANDBOX_MAX_SITE is {most}, but SANDBOX_SUBNETS has room for {room}.",
        "Lower SANDBOX_MAX_SITE, or give SANDBOX_SUBNETS a larger range.",
    )


def _runtime_faults() -> Iterator[Contradiction]:
    known = ", ".join(sorted(RUNTIMES))
    runtime, subnets = settings.SANDBOX_RUNTIME, settings.SANDBOX_SUBNETS
    yield (
        runtime not in RUNTIMES,
        f"SANDBOX_RUNTIME: there is no runtime “{runtime}”.",
        f"Take one of: {known}.",
    )
    yield (
        not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", settings.SANDBOX_INSTANCE),
        "SANDBOX_INSTANCE can't be a label on engine objects.",
        "Take letters, digits, dots, dashes and underscores, 63 at most.",
    )
    yield (
        subnets.prefixlen > SUBNET_PREFIX or not subnets.is_private,
        f"SANDBOX_SUBNETS is {subnets}, which is no private range with room for a /28.",
        "Take a private range that nothing else uses, for example 10.213.0.0/16.",
    )
    yield (
        not _is_address(settings.SANDBOX_BIND_ADDRESS),
        f"SANDBOX_BIND_ADDRESS is “{settings.SANDBOX_BIND_ADDRESS}”, which is no IP address.",
        "Write the address of this host's interface, 127.0.0.1, or 0.0.0.0 for all of them.",
    )
    yield (
        settings.SANDBOX_PUBLIC_HOST in ("", "0.0.0.0", "::"),  # noqa: S104 - it is refused
        "SANDBOX_PUBLIC_HOST is no host that developers could connect to.",
        "Write the name or address under which they reach SANDBOX_BIND_ADDRESS.",
    )


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
