"""The layer that a prepared image has on top: files of the blueprint, and directories."""

from __future__ import annotations

import io
import posixpath
import stat
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from sandboxes.runtime import Bind, ImageRecipe
from sandboxes.runtime.docker.images.build_context import describe
from sandboxes.runtime.docker.images.errors import ImageError
from sandboxes.runtime.docker.images.folder_contents import FolderContents, unreadable
from sandboxes.runtime.docker.images.image_files import ImageFiles, User

OPAQUE, DELETED = ".wh..wh..opq", ".wh."
"""Names that hide a directory's earlier content, or one path, in a layer."""
ROOT = User(0, 0)
TOO_LARGE = "Mount only what the service needs, or put large data into an image of its own."
OPEN_MODE = 0o777
TMPFS_MODE = 0o1777


@dataclass
class Layer:
    """Entries of a layer in the order in which they are written; each path occurs once."""

    files: ImageFiles
    user: User
    entries: dict[str, tarfile.TarInfo] = field(default_factory=dict)
    contents: dict[str, Path] = field(default_factory=dict)
    folders: FolderContents = field(default_factory=lambda: FolderContents(TOO_LARGE))

    def add_recipe(self, recipe: ImageRecipe, volumes: Sequence[str]) -> None:
        """Add everything that the recipe and the image's volumes ask for. Raises ImageError."""
        own = [*recipe.directories, *volumes]
        mounts = [self.files.resolve(path) for path in (*own, *recipe.shared_directories)]
        binds = {self.files.resolve(path): bind for path, bind in sorted(recipe.binds.items())}
        for path, bind in binds.items():
            self.add_bind(path, bind, mounts, [one for one in binds if is_below(one, path)])
        for path in own:
            self.add_directory(self.files.resolve(path), 0)
        for path in recipe.shared_directories:
            self.add_directory(self.files.resolve(path), OPEN_MODE)
        for path in recipe.tmpfs:
            self.add_directory(self.files.resolve(path), TMPFS_MODE)

    def add_directory(self, path: str, mode: int) -> None:
        """Add a directory that the service's user can write to, with at least this mode."""
        found = self._lookup(path)
        if found and not found.isdir():
            raise ImageError(
                f"{path} is a file in the image, not a directory.", "Mount the volume elsewhere."
            )
        if found and self.user.may_write(found) and found.mode & mode == mode:
            return
        self._add_parents(path)
        entry = self._copy(found, path) if found else new_entry(path, tarfile.DIRTYPE, 0o755)
        if not self.user.may_write(entry):
            entry.uid, entry.gid = self.user.uid, self.user.gid
            entry.mode |= 0o700
        entry.mode |= mode
        self.entries[path] = entry

    def add_bind(self, path: str, bind: Bind, mounts: Sequence[str], others: Sequence[str]) -> None:
        """Add a file or folder of the blueprint in place of what the image has at the path.

        Mount points below the path keep what the image has there, and other binds, at `others`,
        take the place of what the folder has there.
        """
        self._add_parents(path)
        owner = ROOT if bind.read_only else self.user
        source = bind.source.resolve()
        kept = [mount for mount in mounts if is_below(mount, path)]
        try:
            for found in self.folders.paths(source):
                name = posixpath.normpath(f"{path}/{found.relative_to(source).as_posix()}")
                if not any(is_at_or_below(name, mount) for mount in (*kept, *others)):
                    self._add_file(name, found, owner)
        except OSError as error:
            raise unreadable(source, error) from error
        earlier = self.files.lstat(path)
        if source.is_dir() and earlier and earlier.isdir():
            self._hide_earlier(path, [mount for mount in kept if self.files.lstat(mount)])

    def _hide_earlier(self, path: str, kept: Sequence[str]) -> None:
        """Hide what the image has in a directory, except for the mount points below it."""
        if not kept:
            self._add_marker(posixpath.join(path, OPAQUE))
            return
        ways = {parent for mount in kept for parent in (mount, *parents(mount))}
        for name in self.files.names_below(path):
            parent, base = posixpath.split(name)
            if name in ways or parent not in ways or parent in kept:
                continue
            if name not in self.entries:
                self._add_parents(name)
                self._add_marker(posixpath.join(parent, DELETED + base))
            elif self.entries[name].isdir():
                self._add_marker(posixpath.join(name, OPAQUE))

    def _add_marker(self, path: str) -> None:
        self.entries[path] = new_entry(path, tarfile.REGTYPE, 0o644)

    def _add_file(self, path: str, source: Path, owner: User) -> None:
        """Add one path with the mode of a checkout: whether it is executable counts alone."""
        mode = source.lstat().st_mode
        if stat.S_ISLNK(mode):
            entry = new_entry(path, tarfile.SYMTYPE, OPEN_MODE)
            entry.linkname = str(source.readlink())
        elif stat.S_ISDIR(mode):
            entry = new_entry(path, tarfile.DIRTYPE, 0o755)
        else:
            entry = new_entry(path, tarfile.REGTYPE, 0o755 if mode & stat.S_IXUSR else 0o644)
            entry.size = source.stat().st_size
            self.contents[path] = source
        entry.uid, entry.gid = owner.uid, owner.gid
        self.entries[path] = entry

    def _add_parents(self, path: str) -> None:
        """Add the directories above a path as they are: a layer's directories replace others."""
        for parent in reversed(parents(path)):
            if parent not in self.entries:
                found = self.files.lstat(parent)
                entry = found if found and found.isdir() else None
                self.entries[parent] = (
                    self._copy(entry, parent)
                    if entry
                    else new_entry(parent, tarfile.DIRTYPE, 0o755)
                )

    def _lookup(self, path: str) -> tarfile.TarInfo | None:
        return self.entries.get(path) or self.files.lstat(path)

    def _copy(self, found: tarfile.TarInfo, path: str) -> tarfile.TarInfo:
        entry = new_entry(path, found.type, found.mode)
        entry.uid, entry.gid, entry.mtime = found.uid, found.gid, found.mtime
        entry.pax_headers = dict(found.pax_headers)
        return entry

    def write(self) -> IO[bytes]:
        """Return the layer as a tar archive. Raises ImageError if a file can't be read."""
        archive = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
        with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for path, entry in self.entries.items():
                source = self.contents.get(path)
                try:
                    with source.open("rb") if source else io.BytesIO() as content:
                        tar.addfile(entry, content)
                except OSError as error:
                    raise unreadable(source or Path(path), error) from error
        archive.seek(0)
        return archive


def new_entry(path: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path.lstrip("/"))
    entry.type, entry.mode = kind, mode
    return entry


def parents(path: str) -> list[str]:
    """Return the directories above a path, the nearest first, without the root."""
    found = []
    while (path := posixpath.dirname(path)) not in ("/", ""):
        found.append(path)
    return found


def is_at_or_below(path: str, directory: str) -> bool:
    return path == directory or is_below(path, directory)


def is_below(path: str, directory: str) -> bool:
    return path.startswith(directory.rstrip("/") + "/")


def bind_fingerprints(binds: Mapping[str, Bind], folders: FolderContents) -> list[str]:
    """Return descriptions of the content of all binds, for the hash of an image's inputs.

    Raises ImageError.
    """
    found = []
    for path, bind in sorted(binds.items()):
        source = bind.source.resolve()
        lines = [f"{name.relative_to(source)} {describe(name)}" for name in folders.paths(source)]
        found += [f"{path} {bind.read_only}", *lines]
    return found
