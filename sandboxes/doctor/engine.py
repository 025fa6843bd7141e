"""The engine: whether it responds, which limits it enforces, and whether images are up to date."""

from __future__ import annotations

from django.conf import settings
from django.core.checks import CheckMessage

from sandboxes.blueprints import folders
from sandboxes.checks import runtime as checks_runtime
from sandboxes.doctor.findings import Finding, Findings, Level, error, ok, warning
from sandboxes.runtime import EngineDenied, RuntimeFailure, get_runtime
from sandboxes.runtime.docker.client import EngineClient
from sandboxes.runtime.docker.engine_info import EngineInfo, outdated, read_engine_info

OLDEST_API = (1, 41)
DAEMON = "/etc/docker/daemon.json"
START_ENGINE_REMEDY = "Start the engine (systemctl start docker), or correct DOCKER_HOST."
RUN_AS_PORTAL_REMEDY = "Run the doctor with `sandbox-portal manage doctor`."


def connection() -> EngineClient:
    return EngineClient(settings.DOCKER_HOST, settings.SANDBOX_ENGINE_TIMEOUT_SECONDS)


def runtime_answers() -> Findings:
    """Check that the runtime responds, and whether it enforces the disk limit."""
    try:
        able = get_runtime().capabilities()
    except RuntimeFailure as exc:
        denied = isinstance(exc, EngineDenied)
        yield error(str(exc), RUN_AS_PORTAL_REMEDY if denied else START_ENGINE_REMEDY)
        return
    yield ok(f"The runtime {able.name} answers (version {able.version}).")
    if able.hard_disk_limit:
        yield ok("The disk limit is a hard limit.")
    else:
        yield ok("The disk limit is a soft limit: sweeps end sandboxes that exceed it.")


def engine_limits() -> Findings:
    """Check what the Docker engine can enforce."""
    if settings.SANDBOX_RUNTIME != "docker":
        yield ok("No Docker engine is used.")
        return
    yield from evaluate(read_engine_info(connection()))


def evaluate(found: EngineInfo) -> Findings:
    yield _api(found)
    yield ok(f"Storage: {found.storage}; control groups: version {found.cgroup_version}.")
    yield _limits(found)
    yield _container_runtime(found)
    if not found.seccomp:
        yield error(
            "The engine doesn't filter system calls (seccomp).",
            "Use an engine that is built with seccomp.",
        )
    yield _root_services()
    yield _live_restore(found)
    yield _userland_proxy(found)


def _api(found: EngineInfo) -> Finding:
    words = f"Docker {found.version}, API {found.api_version}"
    if tuple(map(int, found.api_version.split("."))) < OLDEST_API:
        return error(f"{words}: too old.", "Install Docker 20.10 or newer.")
    return ok(f"{words}.")


def _limits(found: EngineInfo) -> Finding:
    missing = [kind for kind, is_enforced in found.limits.items() if not is_enforced]
    if not missing:
        return ok(f"The engine limits {', '.join(found.limits)}.")
    words = f"The engine can't limit {', '.join(missing)}; a sandbox may starve others."
    remedy = "Enable these control groups in the kernel (cgroup_enable=memory swapaccount=1)."
    # If there is no swap, its limit doesn't matter.
    only_swap = missing == ["swap"]
    return warning(words, remedy) if only_swap else error(words, remedy)


def _container_runtime(found: EngineInfo) -> Finding:
    wanted = settings.SANDBOX_CONTAINER_RUNTIME
    if wanted and wanted not in found.runtimes:
        known = ", ".join(sorted(found.runtimes))
        words = f"SANDBOX_CONTAINER_RUNTIME is “{wanted}”, which the engine doesn't have."
        return error(words, f"Add it to {DAEMON}, or use one of: {known}.")
    return ok(f"Containers use {wanted or 'the default runtime'}.")


def _root_services() -> Finding:
    if not settings.SANDBOX_ROOT_SERVICES:
        return ok("No service may run as its container's root.")
    words = "Services may run as their container's root, with a few capabilities."
    return warning(words, "Unset SANDBOX_ROOT_SERVICES if no blueprint needs it (x-sandbox.root).")


def _live_restore(found: EngineInfo) -> Finding:
    if found.live_restore:
        return ok("Sandboxes keep running while the engine restarts (live-restore).")
    words = "Restarting the engine stops all sandboxes; sweeps restart them."
    return warning(
        words, f'Set "live-restore": true in {DAEMON}, unless the engine is a swarm node.'
    )


def _userland_proxy(found: EngineInfo) -> Finding:
    if not found.local or not found.proxies:
        return ok("The engine publishes ports without proxy processes.")
    words = f"The engine runs {found.proxies} proxy processes to publish ports (userland-proxy)."
    return warning(words, f'To save their memory, set "userland-proxy": false in {DAEMON}.')


def images_up_to_date() -> Findings:
    """Check that all images exist and are up to date."""
    missing = checks_runtime.check_engine()
    yield from map(from_check, missing)
    if missing:
        return
    old: list[str] = []
    if settings.SANDBOX_RUNTIME == "docker":
        for blueprint in folders.read().valid.values():
            old += outdated(connection(), blueprint.name, blueprint.recipes)
    for image in old:
        yield warning(f"{image} is out of date.", "Run `manage.py blueprint prepare`.")
    if not old:
        yield ok("All images of the blueprints are up to date.")


def from_check(message: CheckMessage) -> Finding:
    """Convert a message of Django's checks to a finding."""
    level = Level.ERROR if message.is_serious() else Level.WARNING
    remedy = message.hint or f"See {message.id} in the documentation of Django's checks."
    return Finding(level, f"{message.msg} ({message.id})", remedy)
