"""Where the data of services is: directories in their images, shared volumes, files of the folder.

Data of one service lives in its container's own layer, where the disk limit, resets and save
points apply. Files of the blueprint's folder are copied into images.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sandboxes.blueprints.compose.findings import Findings, Malformed
from sandboxes.blueprints.compose.models import Mount
from sandboxes.blueprints.compose.reading.source_files import SourceFiles
from sandboxes.blueprints.compose.stack import Stack
from sandboxes.blueprints.compose.tree import KeyPath, Map
from sandboxes.blueprints.fields import is_mount_point
from sandboxes.runtime import Bind

TIME_ZONE_FILES = ("/etc/localtime", "/etc/timezone")
SOCKETS = ("/var/run/docker.sock", "/run/docker.sock")
HOME = "~"
OTHER_PATH = "Choose another path in the container."
KERNEL_DIRECTORIES = ("dev", "proc", "sys")
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - the path in a container


@dataclass
class Mounts:
    """What is mounted in one service, by path in the container."""

    directories: list[str] = field(default_factory=list)
    volumes: dict[str, str] = field(default_factory=dict)
    """Volumes that several services share, by name."""
    binds: dict[str, Bind] = field(default_factory=dict)
    tmpfs: dict[str, int] = field(default_factory=dict)
    """Sizes in bytes."""
    shared_memory: int = 0
    """Size of /dev/shm in bytes, if a mount says so."""

    @property
    def writable_layer(self) -> bool:
        """Whether the service writes to its own layer."""
        return bool(self.directories) or any(not bind.read_only for bind in self.binds.values())

    @property
    def targets(self) -> set[str]:
        """All paths at which something is mounted."""
        return {*self.directories, *self.volumes, *self.binds, *self.tmpfs}


@dataclass(frozen=True)
class _Use:
    """One mount of one service."""

    service: str
    path: KeyPath
    mount: Mount


def plan_mounts(stack: Stack, files: SourceFiles, findings: Findings) -> dict[str, Mounts]:
    """Return what is mounted in each service."""
    planner = _Planner(stack, files, findings)
    return {name: planner.plan(name) for name in stack.services}


class _Planner:
    def __init__(self, stack: Stack, files: SourceFiles, findings: Findings) -> None:
        self.stack, self.files, self.findings = stack, files, findings
        uses = [one for name in stack.services for one in self._uses(name)]
        self.volume_uses = Counter(one.mount.source for one in uses if one.mount.type == "volume")
        binds = [one.mount for one in uses if one.mount.type == "bind"]
        self.bind_uses = Counter(mount.source for mount in binds)
        self.written = {mount.source for mount in binds if not mount.read_only}

    def _uses(self, name: str) -> Iterator[_Use]:
        for index, mount in enumerate(self.stack.services[name].volumes):
            yield _Use(name, ("services", name, "volumes", index), mount)

    def plan(self, name: str) -> Mounts:
        service = self.stack.services[name]
        mounts = Mounts(tmpfs=dict(service.tmpfs))
        mounts.shared_memory = mounts.tmpfs.pop(SHARED_MEMORY, 0)
        for target in filter(is_of_the_kernel, list(mounts.tmpfs)):
            path = ("services", name, "tmpfs")
            message = f"Nothing can be mounted here: {target} belongs to the kernel."
            self.findings.problem(self.stack.place(path), path, message, OTHER_PATH)
        for use in self._uses(name):
            target = use.mount.target
            if target == SHARED_MEMORY and use.mount.type == "tmpfs":
                mounts.shared_memory = use.mount.tmpfs.size
            elif target == SHARED_MEMORY:
                message = "Nothing can be mounted here: each service has a /dev/shm of its own."
                self._problem(use, message, "Remove it, and set its size with `shm_size`.")
            elif target in mounts.targets or not self._can_mount(use):
                message = "Nothing can be mounted here, or something is mounted here already."
                self._problem(use, message, OTHER_PATH)
            elif use.mount.type == "tmpfs":
                mounts.tmpfs[target] = use.mount.tmpfs.size
            elif use.mount.type == "volume":
                self._volume(use, mounts)
            else:
                self._bind(use, mounts)
        return mounts

    def _can_mount(self, use: _Use) -> bool:
        """Return whether something can be mounted here, or put into the image."""
        target = use.mount.target
        name = use.mount.source if use.mount.type == "volume" else ""
        is_mounted = use.mount.type == "tmpfs" or (name and self.volume_uses[name] > 1)
        if is_of_the_kernel(target):
            return False
        return is_mount_point(target) if is_mounted else target != "/"

    def _problem(self, use: _Use, message: str, remedy: str) -> None:
        self.findings.problem(self.stack.place(use.path), use.path, message, remedy)

    def _note(self, use: _Use, message: str) -> None:
        self.findings.note(self.stack.place(use.path), use.path, message)

    def _volume(self, use: _Use, mounts: Mounts) -> None:
        name = use.mount.source
        declared = self.stack.tree.get("volumes")
        if name and not (isinstance(declared, Map) and name in declared):
            self._note(use, f"The volume {name} is not declared at the top level.")
        if name and self.volume_uses[name] > 1:
            mounts.volumes[use.mount.target] = volume_name(name)
        else:
            mounts.directories.append(use.mount.target)

    def _bind(self, use: _Use, mounts: Mounts) -> None:
        source = use.mount.source
        if source in TIME_ZONE_FILES:
            self._note(use, "This has no effect. Set the variable TZ to choose a time zone.")
            return
        if source in SOCKETS:
            message = "This would weaken the confinement. The engine's socket is root on the host."
            self._problem(use, message, "Remove it.")
            return
        try:
            if source.startswith(HOME):
                raise Malformed("This is a folder of the host.", "Use a folder next to this file.")
            found = self.files.resolve(Path(source))
        except Malformed as error:
            self.findings.malformed(self.stack.place(use.path), use.path, error)
            return
        if found.is_file() or found.is_dir():
            self._copy(use, found, mounts)
        elif found.exists():
            self._problem(use, "This is neither a file nor a folder.", "Name a file or a folder.")
        else:
            self._missing(use, found, mounts)

    def _copy(self, use: _Use, source: Path, mounts: Mounts) -> None:
        mounts.binds[use.mount.target] = Bind(source, use.mount.read_only)
        if self.bind_uses[use.mount.source] > 1 and use.mount.source in self.written:
            self._note(use, "Each service has its own copy, so others don't see what it writes.")

    def _missing(self, use: _Use, source: Path, mounts: Mounts) -> None:
        if use.mount.read_only:
            self._note(
                use, "This doesn't exist in the folder, so the service sees an empty folder."
            )
        if self.bind_uses[use.mount.source] > 1:
            name = source.relative_to(self.files.boundary).as_posix()
            mounts.volumes[use.mount.target] = volume_name(f"folder-{name}")
        else:
            mounts.directories.append(use.mount.target)


def is_of_the_kernel(path: str) -> bool:
    """Return whether a path is in a directory of the kernel, such as /proc."""
    return path.split("/")[1] in KERNEL_DIRECTORIES


def volume_name(name: str) -> str:
    """Return a name for a volume on the engine; one that has to be changed gets a hash."""
    safe = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("_.-")[:40]
    return name if safe == name else f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
