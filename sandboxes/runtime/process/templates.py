"""Templates of services: built once, like an image, and never changed afterwards.

    <home>/prepared/<image>/<fingerprint>/files/           the blueprint's files
                                          site-packages/   packages of its requirements.txt
                                          data/            copied for each sandbox
                            current → <fingerprint>

A changed blueprint gets another fingerprint; templates in use by sandboxes stay.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from sandboxes.runtime import RuntimeFailure
from sandboxes.runtime.process.environment import chown_tree, environment, template_user
from sandboxes.runtime.process.interpreter import Interpreter
from sandboxes.runtime.process.state_dir import TEMPLATES, StateDir

RECIPE_VERSION = "1"
"""Part of every fingerprint. Change it to rebuild all templates after a change of the procedure."""
BUILD_TIMEOUT_SECONDS = 300
LOG_TAIL_LINES = 12
"""Lines shown of a failed command."""
ID_SEPARATOR = "#"
"""Between the name of an image and the fingerprint of its template; no image name contains it."""
NOT_COPIED = shutil.ignore_patterns("__pycache__", "*.pyc")

Log = Callable[[str], None]


class PreparationFailed(RuntimeFailure):
    """A template couldn't be built; the message has the last output of its command."""


@dataclass(frozen=True)
class TemplateBuild:
    """The equivalent of an image: files, packages, and a command that creates `data`."""

    image: str
    files: Sequence[Path]
    requirements: Path | None = None
    command: Sequence[str] = ()

    @property
    def fingerprint(self) -> str:
        digest = hashlib.sha256(f"{RECIPE_VERSION} {sys.version} {self.command}".encode())
        for name, content in self._inputs():
            digest.update(f"\n{name} {len(content)}\n".encode() + content)
        return digest.hexdigest()[:16]

    def _inputs(self) -> Iterator[tuple[str, bytes]]:
        if self.requirements:
            yield "requirements", self.requirements.read_bytes()
        for top in self.files:
            found = sorted(top.rglob("*")) if top.is_dir() else [top]
            for path in found:
                if path.is_file() and "__pycache__" not in path.parts:
                    yield str(path.relative_to(top.parent)), path.read_bytes()


@dataclass(frozen=True)
class TemplateStore:
    """The templates of one portal, by image."""

    home: StateDir

    @property
    def python(self) -> Interpreter:
        return Interpreter(self.home)

    def find(self, image: str) -> Path | None:
        """Return the current template of this image, or the one with this id."""
        name, _, fingerprint = image.partition(ID_SEPARATOR)
        template = self._directory(name) / (fingerprint or "current")
        return template.resolve() if template.exists() else None

    def ensure(self, wanted: Iterable[TemplateBuild], log: Log, keep: Collection[str] = ()) -> None:
        """Build all missing or outdated templates, in parallel. Raises PreparationFailed.

        `keep` has the ids of earlier templates that are still needed.
        """
        self.home.root.mkdir(mode=0o711, parents=True, exist_ok=True)
        wanted = list(wanted)
        self.python.ensure()
        with ThreadPoolExecutor(max(1, len(wanted))) as pool:
            for done in [pool.submit(self._ensure, one, log, keep) for one in wanted]:
                done.result()

    def _ensure(self, wanted: TemplateBuild, log: Log, keep: Collection[str]) -> None:
        directory, fingerprint = self._directory(wanted.image), wanted.fingerprint
        if (directory / fingerprint).exists():
            log(f"{wanted.image}: up to date")
        else:
            log(f"{wanted.image}: preparing to run as a process")
            started = time.monotonic()
            draft = directory / f"draft-{os.getpid()}"
            shutil.rmtree(draft, ignore_errors=True)
            build_template(draft, wanted, self.python)
            draft.rename(directory / fingerprint)
            log(f"{wanted.image}: prepared in {time.monotonic() - started:.1f} s")
        link = directory / f"link-{os.getpid()}"
        link.unlink(missing_ok=True)
        link.symlink_to(fingerprint)
        link.replace(directory / "current")
        self._remove_old(wanted.image, fingerprint, keep)

    def _remove_old(self, image: str, fingerprint: str, keep: Collection[str]) -> None:
        directory = self._directory(image)
        manifests = [one.manifest() for one in self.home.sandboxes().values()]
        used = str([service.environment for one in manifests if one for service in one.services])
        for old in directory.iterdir():
            kept = old.name in (fingerprint, "current") or template_id(image, old) in keep
            if not kept and str(old) not in used:
                shutil.rmtree(old, ignore_errors=True)

    def _directory(self, image: str) -> Path:
        return self.home.root / TEMPLATES / re.sub(r"[^\w.-]", "_", image)


def template_id(image: str, template: Path) -> str:
    """Return the id of a template, which `find` takes like the name of its image."""
    return f"{image.partition(ID_SEPARATOR)[0]}{ID_SEPARATOR}{template.name}"


def build_template(draft: Path, wanted: TemplateBuild, python: Interpreter) -> None:
    """Build a template in a new directory. Raises PreparationFailed."""
    user = template_user()
    for name in ("files", "site-packages", "data"):
        (draft / name).mkdir(parents=True)
    for top in wanted.files:
        copy = draft / "files" / top.name
        shutil.copytree(top, copy, ignore=NOT_COPIED) if top.is_dir() else shutil.copy2(top, copy)
    for directory in (draft.parent.parent, draft.parent, draft):
        directory.chmod(0o755)
    chown_tree(draft / "data", user)
    error = _install(draft, wanted.requirements) if wanted.requirements else ""
    _run([sys.executable, "-m", "compileall", "-q", str(draft / "files")])
    if wanted.command:
        base_environment = environment(python, draft, draft / "data")
        output = _run(
            python.words(wanted.command), cwd=draft / "data", env=base_environment, user=user
        )
        # The command may succeed without a package, with a program of the machine.
        error = f"{error}\n{output}" if output else ""
    if error:
        raise PreparationFailed(f"{wanted.image} can't be prepared here: {error.strip()}")
    (draft / "data").chmod(0o700)


def _install(draft: Path, requirements: Path) -> str:
    """Unpack the pinned wheels of a list; return pip's error, empty on success."""
    options = ["--quiet", "--disable-pip-version-check", "--no-input", "--no-deps", "--retries=2"]
    options += ["--require-hashes", "--only-binary=:all:", "--root-user-action=ignore"]
    target = ["--target", str(draft / "site-packages"), "-r", str(requirements)]
    return _run([sys.executable, "-m", "pip", "install", *options, *target])


def _run(
    command: Sequence[str],
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    user: int | None = None,
) -> str:
    """Return the last output of a command that failed, empty on success."""
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=env,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=BUILD_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    output = "\n".join(done.stdout.splitlines()[-LOG_TAIL_LINES:])
    return (output or f"{command[0]} failed") if done.returncode else ""
