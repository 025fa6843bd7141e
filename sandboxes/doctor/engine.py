"""The engine: whether it answers, what it can enforce, and whether it holds the images."""

from __future__ import annotations

from django.conf import settings
from django.core.checks import CheckMessage

from sandboxes import blueprints
from sandboxes.checks import runtime as checks_runtime
from sandboxes.doctor.findings import Finding, Findings, Level, error, ok, warning
from sandboxes.runtime import RuntimeFailure, get_runtime
from sandboxes.runtime.docker.client import EngineClient
from sandboxes.runtime.docker.engine_info import EngineInfo, outdated, read_engine_info
from sandboxes.runtime.docker.images import ImageBuild

OLDEST_API = (1, 41)
DAEMON = "/etc/docker/daemon.json"
START_ENGINE_REMEDY = "Start the engine (systemctl start docker), or correct DOCKER_HOST."


def connection() -> EngineClient:
    return EngineClient(settings.DOCKER_HOST, settings.SANDBOX_ENGINE_TIMEOUT_SECONDS)


def runtime_answers() -> Findings:
    """Whatever runs sandboxes: it answers, and says what becomes of the disk limit."""
    try:
        able = get_runtime().capabilities()
    except RuntimeFailure as exc:
        yield error(str(exc), START_ENGINE_REMEDY)
        return
    yield ok(f"The runtime {able.name} answers (version {able.version}).")
    if able.hard_disk_limit:
        yield ok("It enforces the disk limit of sandboxes.")
    else:
        yield ok("It can't enforce the disk limit: sweeps measure, and end what is over.")


def engine_limits() -> Findings:
    """What a Docker engine says of itself."""
    if settings.SANDBOX_RUNTIME != "docker":
        yield ok("No engine is in use.")
        return
    yield from evaluate(read_engine_info(connection()))


def evaluate(found: EngineInfo) -> Findings:
    yield _api(found)
    yield ok(f"Storage: {found.storage}; control groups: version {found.cgroup_version}.")
    yield _limits(found)
    yield _container_runtime(found)
    if not found.seccomp:
        yield error(
            "It filters no system calls (seccomp).", "Take an engine that is built with seccomp."
        )
    yield _live_restore(found)
    yield _userland_proxy(found)


def _api(found: EngineInfo) -> Finding:
    words = f"Docker {found.version}, API {found.api_version}"
    if tuple(map(int, found.api_version.split("."))) < OLDEST_API:
        return error(f"{words}: too old.", "Install Docker 20.10 or newer.")
    return ok(f"{words}.")


def _limits(found: EngineInfo) -> Finding:
    missing = [kind for kind, there in found.limits.items() if not there]
    if not missing:
        return ok(f"It limits {', '.join(found.limits)}.")
    words = f"It can't limit {', '.join(missing)}: a sandbox may take what others need."
    remedy = "Enable these control groups in the kernel (cgroup_enable=memory swapaccount=1)."
    # Without swap to be had, a limit on it decides nothing.
    only_swap = missing == ["swap"]
    return warning(words, remedy) if only_swap else error(words, remedy)


def _container_runtime(found: EngineInfo) -> Finding:
    wanted = settings.SANDBOX_CONTAINER_RUNTIME
    if wanted and wanted not in found.runtimes:
        known = ", ".join(sorted(found.runtimes))
        words = f"SANDBOX_CONTAINER_RUNTIME is “{wanted}”, which the engine doesn't have."
        return error(words, f"Add it to {DAEMON}, or take one of: {known}.")
    return ok(f"Containers run with {wanted or 'the runtime of the engine'}.")


def _live_restore(found: EngineInfo) -> Finding:
    if found.live_restore:
        return ok("Sandboxes go on while the engine is restarted (live-restore).")
    words = "Restarting the engine stops all sandboxes; sweeps start them again."
    return warning(words, f'Set "live-restore": true in {DAEMON}, unless it is a swarm.')


def _userland_proxy(found: EngineInfo) -> Finding:
    if not found.local or not found.proxies:
        return ok("No process of the engine stands behind published ports.")
    words = f"The engine has started {found.proxies} processes to publish ports (userland-proxy)."
    return warning(words, f'To save their memory, set "userland-proxy": false in {DAEMON}.')


def images_up_to_date() -> Findings:
    """Every image is there, and is what would be built now."""
    missing = checks_runtime.check_engine()
    yield from map(from_check, missing)
    if missing:
        return
    builds = [one for each in blueprints.available().values() for one in each.builds.items()]
    wanted = [ImageBuild(image, spec.context, spec.dockerfile) for image, spec in builds]
    old = outdated(connection(), wanted) if settings.SANDBOX_RUNTIME == "docker" else []
    for image in old:
        yield warning(
            f"{image} is not what its blueprint says now.", "Run `manage.py build_images`."
        )
    if not old:
        yield ok("All images of the blueprints are there, and up to date.")


def from_check(message: CheckMessage) -> Finding:
    """What Django's kind of check says, as a finding."""
    level = Level.ERROR if message.is_serious() else Level.WARNING
    remedy = message.hint or f"Look {message.id} up in the documentation of Django's checks."
    return Finding(level, f"{message.msg} ({message.id})", remedy)
