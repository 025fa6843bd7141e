"""System checks of blueprints, keys, limits, and the runtime.

Checks that call the engine are deployment checks, so that the web process and other commands don't
use its socket: `manage.py check --deploy --tag engine`.
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
from sandboxes.blueprints import folders
from sandboxes.checks.limits import (
    SUBNET_PREFIX,
    Problem,
    limit_problems,
)
from sandboxes.runtime import RUNTIMES, EngineDenied, EngineUnreachable, RuntimeFailure, get_runtime

ENGINE = "engine"
GENERATE_KEY_HINT = (
    'Generate one with `python -c "from cryptography.fernet import Fernet; '
    'print(Fernet.generate_key().decode())"`.'
)


def check_blueprints(**_: Any) -> list[checks.CheckMessage]:
    """Check that the files of all blueprints are valid, and that the default one exists.

    The problems are warnings, since the other blueprints work, and so do the sweeps. The database
    isn't read: it may not have been migrated yet.
    """
    found: list[checks.CheckMessage] = [
        checks.Warning(str(one), hint=one.remedy, id="sandboxes.E001")
        for one in blueprints.problems()
    ]
    default, valid = settings.SANDBOX_DEFAULT_BLUEPRINT, folders.valid()
    if default not in valid:
        known = ", ".join(valid) or "none"
        text = f"SANDBOX_DEFAULT_BLUEPRINT: no valid blueprint “{default}”."
        hint = f"Use one of the valid blueprints: {known}."
        found.append(checks.Warning(text, hint=hint, id="sandboxes.E002"))
    return found


def check_keys(**_: Any) -> list[checks.CheckMessage]:
    """Check that the secrets of sandboxes can be encrypted."""
    keys = settings.SANDBOX_ENCRYPTION_KEYS
    if not keys:
        text = "SANDBOX_ENCRYPTION_KEYS is empty, so the secrets of sandboxes can't be encrypted."
        return [checks.Error(text, hint=GENERATE_KEY_HINT, id="sandboxes.E003")]
    return [
        checks.Error(
            f"SANDBOX_ENCRYPTION_KEYS: key {number} isn't a Fernet key.",
            hint=GENERATE_KEY_HINT,
            id="sandboxes.E004",
        )
        for number, key in enumerate(keys, 1)
        if not _is_key(key)
    ]


def check_limits(**_: Any) -> list[checks.CheckMessage]:
    """Check that the limits are valid, alone and in combination."""
    return [
        checks.Error(text, hint=hint, id="sandboxes.E005")
        for is_problem, text, hint in limit_problems(settings)
        if is_problem
    ]


def check_runtime(**_: Any) -> list[checks.CheckMessage]:
    """Check the runtime and the addresses where it publishes sandboxes."""
    found: list[checks.CheckMessage] = [
        checks.Error(text, hint=hint, id="sandboxes.E006")
        for is_problem, text, hint in _runtime_problems()
        if is_problem
    ]
    if settings.SANDBOX_RUNTIME == "memory":
        text = "SANDBOX_RUNTIME is “memory”, which only simulates sandboxes."
        hint = "Unset SANDBOX_RUNTIME, except in tests."
        found.append(checks.Warning(text, hint=hint, id="sandboxes.W001"))
    return found


def check_isolation(**_: Any) -> list[checks.CheckMessage]:
    """Check that sandboxes are isolated, and that blueprints support the runtime."""
    if sandboxes_runtime.is_isolated():
        return []
    text = "SANDBOX_RUNTIME is “process”: sandboxes aren't isolated from each other or the portal."
    hint = "Only for trusted users. Otherwise, use a Docker engine: docs/trial-mode.md."
    found: list[checks.CheckMessage] = [checks.Warning(text, hint=hint, id="sandboxes.W003")]
    for name, blueprint in folders.valid().items():
        if not blueprint.supports_runtime(settings.SANDBOX_RUNTIME):
            text = f"The blueprint {name} can't be launched, since it can't run as processes."
            hint = "Add x-sandbox.process to it (docs/blueprints.md), or use a Docker engine."
            found.append(checks.Warning(text, hint=hint, id="sandboxes.W004"))
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
    """Check that the engine responds and has all images. Calls the engine."""
    known = blueprints.available().values()
    images = dict(
        pair for one in known for pair in zip(one.images, one.image_references, strict=True)
    )
    try:
        held = get_runtime().images(sorted(images.values()))
    except EngineDenied as error:
        hint = "`sandbox-portal manage` runs commands as a user who may."
        return [checks.Warning(str(error), hint=hint, id="sandboxes.W002")]
    except EngineUnreachable as error:
        hint = "Start the engine, or correct DOCKER_HOST. Web processes don't need an engine."
        return [checks.Warning(str(error), hint=hint, id="sandboxes.W002")]
    except RuntimeFailure as error:
        return [checks.Error(str(error), hint="See the engine's log.", id="sandboxes.E008")]
    return [
        checks.Error(
            f"The engine doesn't have the image {image}, so launches that need it fail.",
            hint="Run `manage.py blueprint prepare`.",
            id="sandboxes.E007",
        )
        for image, reference in sorted(images.items())
        if reference not in held
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
        f"SANDBOX_RUNTIME: unknown runtime “{runtime}”.",
        f"Use one of: {known}.",
    )
    yield (
        not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", settings.SANDBOX_INSTANCE),
        "SANDBOX_INSTANCE isn't valid as a label of engine objects.",
        "Use at most 63 letters, digits, dots, dashes and underscores.",
    )
    yield (
        subnets.prefixlen > SUBNET_PREFIX or not subnets.is_private,
        f"SANDBOX_SUBNETS is {subnets}, which isn't a private range of at least a /28.",
        "Use an unused private range, for example 10.213.0.0/16.",
    )
    yield (
        not _is_address(settings.SANDBOX_BIND_ADDRESS),
        f"SANDBOX_BIND_ADDRESS is “{settings.SANDBOX_BIND_ADDRESS}”, which isn't an IP address.",
        "Use the address of an interface of this host, 127.0.0.1, or 0.0.0.0 for all.",
    )
    yield (
        settings.SANDBOX_PUBLIC_HOST in ("", "0.0.0.0", "::"),  # noqa: S104 - rejected
        "SANDBOX_PUBLIC_HOST isn't a host that clients can connect to.",
        "Use a name or address under which clients reach SANDBOX_BIND_ADDRESS.",
    )


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
