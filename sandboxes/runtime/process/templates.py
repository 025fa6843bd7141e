"""What services start from: made once, as an image is, and never changed afterwards.

    <home>/prepared/<image>/<fingerprint>/files/           the blueprint's files
                                          site-packages/   what its requirements.txt names
                                          data/            what each sandbox gets a copy of
                            current → <fingerprint>

A changed blueprint gets another fingerprint; what sandboxes still run from stays.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from sandboxes.runtime import RuntimeFailure
from sandboxes.runtime.process.environment import chown_tree, environment, template_user
from sandboxes.runtime.process.interpreter import Interpreter
from sandboxes.runtime.process.state_dir import PREPARED, StateDir

RECIPE = "1"
"""Part of every fingerprint; another one makes all anew after a change to how it is done."""
BUILD_TIMEOUT_SECONDS = 300
LOG_TAIL_LINES = 12
"""Lines of a failed command that are told."""
NOT_COPIED = shutil.ignore_patterns("__pycache__", "*.pyc")

Say = Callable[[str], None]


class PreparationFailed(RuntimeFailure):
    """A service can't be prepared here; the message has what its command wrote last."""


@dataclass(frozen=True)
class TemplateBuild:
    """What stands in for an image: files, packages, and a command that makes `data` of them."""

    image: str
    files: Sequence[Path]
    requirements: Path | None = None
    command: Sequence[str] = ()

    @property
    def fingerprint(self) -> str:
        digest = hashlib.sha256(f"{RECIPE} {sys.version} {self.command}".encode())
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
    """The prepared directories of one portal, by image."""

    home: StateDir

    @property
    def python(self) -> Interpreter:
        return Interpreter(self.home)

    def find(self, image: str) -> Path | None:
        """What services of this image start from now."""
        current = self._of(image) / "current"
        return current.resolve() if current.exists() else None

    def ensure(self, wanted: Iterable[TemplateBuild], say: Say) -> None:
        """All are there and up to date, made side by side. Raises PreparationFailed."""
        self.home.root.mkdir(mode=0o711, parents=True, exist_ok=True)
        wanted = list(wanted)
        self.python.ensure()
        with ThreadPoolExecutor(max(1, len(wanted))) as pool:
            for done in [pool.submit(self._ensure, one, say) for one in wanted]:
                done.result()

    def _ensure(self, wanted: TemplateBuild, say: Say) -> None:
        folder, fingerprint = self._of(wanted.image), wanted.fingerprint
        if (folder / fingerprint).exists():
            say(f"{wanted.image}: up to date")
        else:
            say(f"{wanted.image}: preparing it to run as a process")
            started = time.monotonic()
            draft = folder / f"draft-{os.getpid()}"
            shutil.rmtree(draft, ignore_errors=True)
            build_template(draft, wanted, self.python)
            draft.rename(folder / fingerprint)
            say(f"{wanted.image}: prepared in {time.monotonic() - started:.1f} s")
        link = folder / f"link-{os.getpid()}"
        link.unlink(missing_ok=True)
        link.symlink_to(fingerprint)
        link.replace(folder / "current")
        self._remove_old(folder, fingerprint)

    def _remove_old(self, folder: Path, fingerprint: str) -> None:
        records = [one.record() for one in self.home.sandboxes().values()]
        used = str([service.environment for one in records if one for service in one.services])
        for old in folder.iterdir():
            if old.name not in (fingerprint, "current") and str(old) not in used:
                shutil.rmtree(old, ignore_errors=True)

    def _of(self, image: str) -> Path:
        return self.home.root / PREPARED / re.sub(r"[^\w.-]", "_", image)


def build_template(draft: Path, wanted: TemplateBuild, python: Interpreter) -> None:
    """Fill a directory that is not there yet. Raises PreparationFailed."""
    user = template_user()
    for name in ("files", "site-packages", "data"):
        (draft / name).mkdir(parents=True)
    for top in wanted.files:
        copy = draft / "files" / top.name
        shutil.copytree(top, copy, ignore=NOT_COPIED) if top.is_dir() else shutil.copy2(top, copy)
    for folder in (draft.parent.parent, draft.parent, draft):
        folder.chmod(0o755)
    chown_tree(draft / "data", user)
    trouble = _install(draft, wanted.requirements) if wanted.requirements else ""
    _run([sys.executable, "-m", "compileall", "-q", str(draft / "files")])
    if wanted.command:
        around = environment(python, draft, draft / "data")
        said = _run(python.words(wanted.command), cwd=draft / "data", env=around, user=user)
        # It may do with what the machine has in place of a package.
        trouble = f"{trouble}\n{said}" if said else ""
    if trouble:
        raise PreparationFailed(f"{wanted.image} can't be prepared here: {trouble.strip()}")
    (draft / "data").chmod(0o700)


def _install(draft: Path, requirements: Path) -> str:
    """Unpack the wheels of a list, each as it is pinned; what pip said if it could not."""
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
    """The last that a command said, if it failed; nothing if it did not."""
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
    said = "\n".join(done.stdout.splitlines()[-LOG_TAIL_LINES:])
    return (said or f"{command[0]} failed") if done.returncode else ""
