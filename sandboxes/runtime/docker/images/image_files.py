"""Files, owners and users of an image, read without running anything of it."""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

from docker import APIClient
from docker.errors import APIError, NotFound, create_api_error_from_http_exception
from requests import HTTPError

MAX_LINKS = 40
CREATE_FILES = 0o3
"""The bits of a directory's mode that let a class of users create files in it."""
SERVICE_UIDS = range(70, 65534)
"""Numbers of users that images make for their services; Alpine's `postgres` is the first."""
MAX_USER_FILE_BYTES = 1024 * 1024
READING = "sandboxportal.reading"
"""Label, with the image's name, of the container by which it is read; it is never started."""


@dataclass(frozen=True)
class User:
    """The numbers of a user and its group."""

    uid: int
    gid: int

    @property
    def is_root(self) -> bool:
        return self.uid == 0

    def may_write(self, directory: tarfile.TarInfo) -> bool:
        """Return whether the user can create files in a directory."""
        if self.is_root:
            return True
        shift = 6 if directory.uid == self.uid else 3 if directory.gid == self.gid else 0
        return directory.mode >> shift & CREATE_FILES == CREATE_FILES


class UnknownUser(Exception):
    """An image has no user or group of this name."""


@dataclass
class ImageFiles:
    """The file system of an image."""

    client: APIClient
    container: str
    known: dict[str, tarfile.TarInfo | None] = field(default_factory=dict)

    def lstat(self, path: str) -> tarfile.TarInfo | None:
        """Return the entry of a path whose parents aren't links; None if it doesn't exist."""
        if path not in self.known:
            with closing(self._members(path)) as members:
                self.known[path] = next(members, None)
        return self.known[path]

    def resolve(self, path: str) -> str:
        """Return a path as it is in the image, without links; what doesn't exist stays."""
        done, rest, links = "/", path.strip("/").split("/"), 0
        while rest:
            name = rest.pop(0)
            here = posixpath.normpath(posixpath.join(done, name))
            found = self.lstat(here) if here != "/" else None
            if found and found.issym() and links < MAX_LINKS:
                links += 1
                done = "/" if found.linkname.startswith("/") else done
                rest = [*found.linkname.strip("/").split("/"), *rest]
            else:
                done = here
        return done

    def names_below(self, directory: str) -> Iterator[str]:
        """Yield the paths of everything in a directory, parents first."""
        for member in self._members(directory):
            name = posixpath.normpath(member.name).partition("/")[2]
            if name:
                yield posixpath.join(directory, name)

    def has_shell(self) -> bool:
        return self.lstat(self.resolve("/bin/sh")) is not None

    def user(self, text: str) -> User:
        """Return the user that the engine makes of `user`, `user:group` or nothing.

        Raises UnknownUser.
        """
        name, _, group = text.partition(":")
        rows = [(row[0], row[2], row[3]) for row in self._rows("/etc/passwd", 4)]
        row = next((row for row in rows if (name or "0") in row[:2]), None)
        user = User(int(row[1]), int(row[2])) if row else User(number(name or "0"), 0)
        return replace(user, gid=self._group(group)) if group else user

    def users(self) -> list[str]:
        """Return the names of users for services: neither root nor a part of the system."""
        return [
            row[0]
            for row in self._rows("/etc/passwd", 4)
            if int(row[2]) in SERVICE_UIDS and not row[0].startswith(("_", "systemd-"))
        ]

    def _group(self, text: str) -> int:
        found = (row[2] for row in self._rows("/etc/group", 3) if text in (row[0], row[2]))
        return number(next(found, text))

    def _rows(self, path: str, length: int) -> list[list[str]]:
        """Return the rows of a user database of at least this length, with valid numbers."""
        rows = (line.split(":") for line in self._read(self.resolve(path)).splitlines())
        return [row for row in rows if len(row) >= length and "".join(row[2:length]).isdigit()]

    def _read(self, path: str) -> str:
        with self._archive(path) as tar:
            member = tar.next() if tar else None
            file = tar.extractfile(member) if tar and member and member.isfile() else None
            return file.read(MAX_USER_FILE_BYTES).decode(errors="replace") if file else ""

    def _members(self, path: str) -> Generator[tarfile.TarInfo]:
        with self._archive(path) as tar:
            yield from tar or ()

    @contextmanager
    def _archive(self, path: str) -> Iterator[tarfile.TarFile | None]:
        """Yield the archive of a path that the engine sends; None if the path doesn't exist."""
        try:
            answer = self._request(path)
        except NotFound:
            yield None
            return
        try:
            with tarfile.open(fileobj=answer.raw, mode="r|") as tar:
                yield tar
        finally:
            # The rest isn't read: a directory's entry is all that is needed of it.
            answer.close()

    def _request(self, path: str) -> Any:
        client = self.client
        url = f"{client.base_url}/v{client.api_version}/containers/{self.container}/archive"
        answer = client.get(
            url,
            params={"path": path},
            headers={"Accept-Encoding": "identity"},
            stream=True,
            timeout=client.timeout,
        )
        try:
            answer.raise_for_status()
        except HTTPError as error:
            create_api_error_from_http_exception(error)
        return answer


def number(text: str) -> int:
    if not text.isdigit():
        raise UnknownUser(text)
    return int(text)


@contextmanager
def reading(client: APIClient, image: str, name: str) -> Iterator[ImageFiles]:
    """Yield the files of an image.

    What an earlier, interrupted reading for the same name left is removed.
    """
    for left in client.containers(all=True, quiet=True, filters={"label": f"{READING}={name}"}):
        remove(client, left["Id"])
    config = {
        "Image": image,
        "Entrypoint": ["/"],
        "Labels": {READING: name},
        "HostConfig": {"NetworkMode": "none"},
    }
    created = client.create_container_from_config(config)
    try:
        yield ImageFiles(client, created["Id"])
    finally:
        remove(client, created["Id"])


def remove(client: APIClient, container: str) -> None:
    try:
        client.remove_container(container, v=True, force=True)
    except APIError as error:
        if error.status_code not in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):
            raise
