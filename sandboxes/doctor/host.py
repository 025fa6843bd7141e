"""Checks of the host: disks, memory, clocks, and file permissions."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db import connection as database
from django.db.models import Q

from sandboxes import blueprints
from sandboxes.blueprints import Blueprint
from sandboxes.core import capacity
from sandboxes.core.fleet import Fleet
from sandboxes.doctor.engine import connection as engine
from sandboxes.doctor.findings import Finding, Findings, error, ok, warning
from sandboxes.lib import clock
from sandboxes.models import Engine, Event, Sandbox
from sandboxes.runtime import get_runtime
from sandboxes.runtime.docker.engine_info import read_engine_info
from sandboxes.runtime.host_resources import MEMINFO, disk_space

MIN_VAR_MB = 200
LOW_VAR_MB = 1024
LOW_DISK_SHARE = 0.1
MAX_DRIFT = timedelta(seconds=2)
SERIOUS_DRIFT = timedelta(seconds=30)
PRIVATE_FILES = ("env", "demo-accounts.json", "portal.sqlite3", "queue", "mail")
"""Files in VAR_DIR that only the portal's user may read."""
WRITTEN_FILES = ("portal.sqlite3*", "queue", "mail", "disk-reserve")
"""Files in VAR_DIR, as patterns, that the portal's user must be able to write."""


def disks() -> Findings:
    yield var_disk(*disk_space(settings.VAR_DIR))
    space = get_runtime().capabilities().resources
    yield engine_disk(space.disk_total_mb, space.disk_free_mb)
    yield from large_blueprints(blueprints.available().values(), space.disk_free_mb)


def var_disk(total: int | None, free: int | None) -> Finding:
    if free is None:
        return error(f"VAR_DIR, {settings.VAR_DIR}, can't be read.", "Create that directory.")
    words = f"{free:,} of {total:,} MB are free on the disk of VAR_DIR."
    remedy = "Free space, or move VAR_DIR."
    if free < MIN_VAR_MB:
        return error(words, remedy)
    return warning(words, remedy) if free < LOW_VAR_MB else ok(words)


def engine_disk(total: int | None, free: int | None) -> Finding:
    if total is None or free is None:
        return warning(
            "The engine's disk can't be measured from here.", "Monitor it on the engine's host."
        )
    words = f"{free:,} of {total:,} MB are free on the engine's disk."
    if free < settings.SANDBOX_DISK_MB:
        return error(
            f"{words} Launches are rejected.", "Free space; `docker system df` shows what uses it."
        )
    if free < LOW_DISK_SHARE * total:
        return warning(words, "Free space; `docker system df` shows what uses it.")
    return ok(words)


def large_blueprints(known: Iterable[Blueprint], free: int | None) -> Findings:
    """Find blueprints that need more disk space than is free, although others are launched."""
    for blueprint in known:
        if free is not None and settings.SANDBOX_DISK_MB <= free < blueprint.disk_mb:
            words = f"Launches of {blueprint.name} are rejected: {blueprint.disk_mb:,} MB of disk "
            yield warning(f"{words}space aren't free.", "Free space, or lower its limit.")


def memory() -> Findings:
    facts = _memory_mb()
    yield enough_memory(
        facts["MemTotal"], facts["MemAvailable"], capacity.site_limit(Fleet([Engine()]))
    )


def enough_memory(total: int, available: int, slots: int) -> Finding:
    words = f"{available:,} of {total:,} MB of memory are available, for up to {slots} sandboxes."
    if available < capacity.RESERVED_MEMORY_MB:
        return warning(words, "Stop other programs, or lower SANDBOX_MAX_SITE.")
    return ok(words)


def _memory_mb() -> dict[str, int]:
    lines = (line.split() for line in MEMINFO.read_text().splitlines())
    return {words[0].rstrip(":"): int(words[1]) // 1024 for words in lines}


def clocks() -> Findings:
    yield clock_agrees("the database", _database_time())
    if settings.SANDBOX_RUNTIME == "docker":
        yield clock_agrees("the engine", read_engine_info(engine()).system_time)


def recorded_times() -> Findings:
    yield no_times_ahead(clock.now())


def no_times_ahead(now: datetime) -> Finding:
    """Find times in the database that are in the future because the clock was set back."""
    ahead = now + clock.TOLERANCE
    sandboxes = Sandbox.objects.live().filter(Q(created_at__gt=ahead) | Q(started_at__gt=ahead))
    newest = Event.objects.order_by("-pk").values_list("created_at", flat=True).first()
    if not sandboxes.exists() and (newest is None or newest <= ahead):
        return ok("No time that was recorded is ahead of this machine's clock.")
    latest = max([newest or now, *sandboxes.values_list("created_at", flat=True)])
    return warning(
        f"The clock was set back: {latest:%Y-%m-%d %H:%M} UTC is recorded as a past time. "
        f"{sandboxes.count()} running sandboxes may end later than they should.",
        "Check the clock and its time service. Destroy these sandboxes if they end too late.",
    )


def _database_time() -> datetime:
    if database.vendor == "sqlite":
        return clock.now()  # SQLite uses this machine's clock.
    with database.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now


def clock_agrees(name: str, now: datetime) -> Finding:
    apart = abs(clock.now() - now)
    if apart <= MAX_DRIFT:
        return ok(f"The clock of {name} agrees with this machine's.")
    words = f"The clock of {name} is {apart.total_seconds():.0f} s off this machine's."
    remedy = "Synchronize both with a time service (chrony, systemd-timesyncd)."
    return error(words, remedy) if apart > SERIOUS_DRIFT else warning(words, remedy)


def files() -> Findings:
    folder = Path(settings.VAR_DIR)
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        yield error(
            f"VAR_DIR, {folder}, isn't writable by this user.", "Change its owner to this user."
        )
        return
    found = [*_not_writable(folder), *_open_to_others(folder)]
    yield from found
    if not found:
        yield ok(f"This user can write to {folder}, and others can't read private files in it.")


def _not_writable(folder: Path) -> Iterator[Finding]:
    """Find what another user made, for example root by running a command directly."""
    written = (file for name in WRITTEN_FILES for file in sorted(folder.glob(name)))
    found = [file.name for file in written if not os.access(file, os.W_OK, effective_ids=True)]
    if found:
        user = pwd.getpwuid(os.geteuid()).pw_name
        yield error(
            f"This user, {user}, can't write to {', '.join(found)} in {folder}.",
            f"Change their owner (chown -R {user} {folder}), and run commands with "
            "`sandbox-portal manage`.",
        )


def _open_to_others(folder: Path) -> Iterator[Finding]:
    if not stat.S_IMODE(folder.stat().st_mode) & stat.S_IXOTH:
        return  # Others can't enter the directory.
    for file in (folder / name for name in PRIVATE_FILES):
        if file.exists() and stat.S_IMODE(file.stat().st_mode) & (stat.S_IROTH | stat.S_IWOTH):
            words = f"Other users of this machine can read {file}."
            remedy = f"chmod o-rwx {file}"
            yield error(words, remedy) if file.name == "env" else warning(words, remedy)
