"""Files of a service that exist when it starts: in its container's layer, or in memory.

The engine's copy API writes to a container that was created, but not to a tmpfs, which exists only
while the container runs. So a shell writes the files that are in memory, before it becomes the
service.
"""

from __future__ import annotations

import io
import shlex
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from sandboxes.runtime import File, ServiceSpec
from sandboxes.runtime.specs import SECRETS_DIRECTORY

VARIABLE = "SANDBOX_SECRET_FILE_"
"""Prefix of the environment variables with the contents, which the service doesn't get."""
SECRETS_MB = 1


def archive(service: ServiceSpec) -> bytes:
    """Return a tar archive of what the layer needs, relative to the root directory."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        if service.secret_files:
            # From the second start on, runc gives a tmpfs the mode of the directory below it.
            directory = tarfile.TarInfo(SECRETS_DIRECTORY.lstrip("/"))
            directory.type, directory.mode = tarfile.DIRTYPE, 0o1777
            tar.addfile(directory)
        for path, file in sorted(service.layer_files.items()):
            content = file.content.encode()
            member = tarfile.TarInfo(path.lstrip("/"))
            member.size, member.mode = len(content), file.mode
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def variables(files: Mapping[str, File]) -> dict[str, str]:
    """Return the environment variables that tell the shell what to write."""
    contents = [file.content for _, file in sorted(files.items())]
    return {f"{VARIABLE}{number}": content for number, content in enumerate(contents)}


def writing_first(files: Mapping[str, File], words: Sequence[str]) -> dict[str, list[str]]:
    """Return the entrypoint and the command that write the files and then become `words`."""
    lines = ["set -e"]
    for number, (path, file) in enumerate(sorted(files.items())):
        variable, directory = f"{VARIABLE}{number}", PurePosixPath(path).parent
        if str(directory) != SECRETS_DIRECTORY:
            lines.append(f"mkdir -p {shlex.quote(str(directory))}")
        # Nothing but the shell itself, since small images have no other programs.
        mask = 0o777 & ~file.mode
        lines.append(f'(umask {mask:o}; printf %s "${variable}" > {shlex.quote(path)})')
        lines.append(f"unset {variable}")
    lines.append('exec "$@"')
    return {"Entrypoint": ["/bin/sh", "-c", "\n".join(lines), "sh"], "Cmd": list(words)}


def start_words(service: ServiceSpec, image: Mapping[str, Any]) -> list[str]:
    """Return the words with which the engine would start a service of an image.

    `image` is the image's configuration. An entrypoint of the service replaces both the entrypoint
    and the command of the image.
    """
    if service.entrypoint:
        return [*service.entrypoint, *service.command]
    command = service.command or image.get("Cmd") or ()
    return [*(image.get("Entrypoint") or ()), *command]
