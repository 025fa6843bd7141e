"""System checks: a misconfiguration is found at start, each with an id and what to do.

Those that reach the engine are deployment checks, so that neither the web process nor any other
command touches its socket: `manage.py check --deploy --tag engine`.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator
from typing import Any

from cryptography.fernet import Fernet
from django.conf import settings
from django.core import checks

from sandboxes import blueprints
from sandboxes import runtime as sandboxes_runtime
from sandboxes.checks.limits import (
    SUBNET_PREFIX,
    Problem,
    limit_problems,
)
from sandboxes.runtime import RUNTIMES, EngineUnreachable, RuntimeFailure, get_runtime

ENGINE = "engine"
GENERATE_KEY_HINT = (
    'Make one with `python -c "from cryptography.fernet import Fernet; '
    'print(Fernet.generate_key().decode())"`.'
)


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
        return [checks.Error(what, hint=GENERATE_KEY_HINT, id="sandboxes.E003")]
    return [
        checks.Error(
            f"SANDBOX_ENCRYPTION_KEYS: number {number} is no Fernet key.",
            hint=GENERATE_KEY_HINT,
            id="sandboxes.E004",
        )
        for number, key in enumerate(keys, 1)
        if not _is_key(key)
    ]


def check_limits(**_: Any) -> list[checks.CheckMessage]:
    """The numbers that limit sandboxes make sense, one by one and together."""
    return [
        checks.Error(what, hint=hint, id="sandboxes.E005")
        for there, what, hint in limit_problems(settings)
        if there
    ]


def check_runtime(**_: Any) -> list[checks.CheckMessage]:
    """What runs sandboxes is known, and told where to publish them."""
    found: list[checks.CheckMessage] = [
        checks.Error(what, hint=hint, id="sandboxes.E006")
        for there, what, hint in _runtime_problems()
        if there
    ]
    if settings.SANDBOX_RUNTIME == "memory":
        what = "SANDBOX_RUNTIME is “memory”: sandboxes are only pretended."
        hint = "Leave SANDBOX_RUNTIME away, unless this is a test."
        found.append(checks.Warning(what, hint=hint, id="sandboxes.W001"))
    return found


def check_isolation(**_: Any) -> list[checks.CheckMessage]:
    """Sandboxes are kept apart; blueprints that need an engine for it have one."""
    if sandboxes_runtime.is_isolated():
        return []
    what = "SANDBOX_RUNTIME is “process”: sandboxes are not isolated from each other, nor from us."
    hint = "Good for a first look by people you trust. For others take an engine: docs/process.md."
    found: list[checks.CheckMessage] = [checks.Warning(what, hint=hint, id="sandboxes.W003")]
    for name, blueprint in blueprints.available().items():
        if not blueprint.supports_runtime(settings.SANDBOX_RUNTIME):
            what = (
                f"The blueprint {name} does not say how it runs as processes: nobody can launch it."
            )
            hint = "Add x-sandbox.process to it (docs/blueprints.md), or take an engine."
            found.append(checks.Warning(what, hint=hint, id="sandboxes.W004"))
    return found


def check_renamed_variables(**_: Any) -> list[checks.CheckMessage]:
    """Warn about environment variables that are set under their old name."""
    return [
        checks.Warning(
            f"{old} is deprecated.",
            hint=f"Rename it to {new}. The next release ignores the old name.",
            id="sandboxes.W006",
        )
        for old, new in settings.RENAMED_VARIABLES.items()
        if old in os.environ
    ]


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


def _runtime_problems() -> Iterator[Problem]:
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
