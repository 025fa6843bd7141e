"""Import a blueprint into the folder of the portal's blueprints: all of it, or nothing."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sandboxes.authoring import archives, git, sources
from sandboxes.authoring.checking import Report, check
from sandboxes.authoring.errors import AuthoringError
from sandboxes.authoring.locations import folder_of, name_from
from sandboxes.blueprints.compose.reading.project import COMPOSE_FILES
from sandboxes.blueprints.loader import IMPORT_RECORD, find_compose_file, is_valid_name
from sandboxes.lib import clock

ARCHIVE_ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
STAGING_PREFIX = ".import-"
LEFTOVER_SECONDS = 3600


class ImportRefused(AuthoringError):
    """The source was read, but its blueprint has problems."""

    def __init__(self, report: Report) -> None:
        super().__init__("Nothing was imported.", "Correct the problems, and import it again.")
        self.report = report


@dataclass(frozen=True)
class Request:
    """What to import: a folder, an archive, or the address of a repository."""

    source: str
    name: str = ""
    """The blueprint's name; by default that of the source."""
    folder: str = ""
    """The folder with the Compose file, inside of the source."""
    branch: str = ""
    """A branch or tag of a repository; its default branch if empty."""
    replace: bool = False
    """Whether to replace a folder that was imported before."""


def import_blueprint(request: Request, blueprints: Path) -> Report:
    """Import a blueprint, and return what there is to say about it. Raises AuthoringError.

    After an error, nothing has changed.
    """
    name = request.name or name_from(_own_name(request))
    if not is_valid_name(name):
        raise AuthoringError(
            f"“{name}” can't be the name of a blueprint.",
            "Use at most 40 lower-case letters, digits, dashes and underscores in --name.",
        )
    target = blueprints / name
    _check_target(target, request)
    if not git.is_git_url(request.source) and _contains(Path(request.source), blueprints):
        raise AuthoringError(
            f"{request.source} contains SANDBOX_BLUEPRINTS_DIR, {blueprints}.",
            "Import only the folder with the Compose file.",
        )
    try:
        blueprints.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(blueprints)
        staging = Path(tempfile.mkdtemp(prefix=STAGING_PREFIX, dir=blueprints))
    except OSError as error:
        raise AuthoringError(
            f"{blueprints} can't be written: {error.strerror}.", "Correct SANDBOX_BLUEPRINTS_DIR."
        ) from error
    try:
        fetched = staging / ".fetched"
        fetched.mkdir()
        new = staging / name
        _fetch(request, fetched)
        _chosen(fetched, request).rename(new)
        sources.check_links(new)
        (new / IMPORT_RECORD).write_text(f"{request.source}\n{clock.now().isoformat()}\n")
        report = check(new, images=False, name=name)
        if not report.is_valid:
            raise ImportRefused(report)
        _install(new, target, staging / ".previous")
        return report
    finally:
        sources.remove_folder(staging)


def _own_name(request: Request) -> str:
    """Return what a source is called."""
    if request.folder:
        return PurePosixPath(request.folder).name
    if git.is_git_url(request.source):
        return PurePosixPath(request.source.rstrip("/")).name.removesuffix(".git")
    path = Path(request.source).absolute()
    if path.name in COMPOSE_FILES and path.is_file():
        path = path.parent
    ending = next((one for one in ARCHIVE_ENDINGS if path.name.lower().endswith(one)), "")
    return path.name[: len(path.name) - len(ending)]


def _check_target(target: Path, request: Request) -> None:
    if not os.path.lexists(target):
        return
    if not request.replace:
        raise AuthoringError(
            f"{target} exists already.",
            "Choose another --name, or replace it with --replace. Running sandboxes keep their "
            "version.",
        )
    if not (target / IMPORT_RECORD).exists():
        raise AuthoringError(
            f"{target} wasn't imported, so it isn't replaced.", "Choose another --name."
        )


def _contains(source: Path, folder: Path) -> bool:
    copied = source.parent if source.is_file() and source.name in COMPOSE_FILES else source
    return folder.resolve().is_relative_to(copied.resolve())


def _fetch(request: Request, target: Path) -> None:
    if git.is_git_url(request.source):
        clone = target.with_name(".clone")
        git.clone(request.source, request.branch, clone)
        sources.copy_folder(clone, target, sources.Budget())
        return
    if request.branch:
        raise AuthoringError("Only a repository has branches.", "Leave --branch out.")
    path = Path(request.source)
    if path.is_dir() or (path.is_file() and path.name in COMPOSE_FILES):
        folder = path.absolute() if request.folder else folder_of(path)
        sources.copy_folder(folder, target, sources.Budget())
    elif path.is_file():
        archives.unpack(path, target, sources.Budget())
    else:
        raise AuthoringError(
            f"{path} doesn't exist, or is neither a folder nor a file.",
            "Name a folder, an archive, or the https address of a git repository.",
        )


def _chosen(fetched: Path, request: Request) -> Path:
    """Return the folder with the Compose file: the chosen one, or the only one of an archive."""
    if request.folder:
        chosen = (fetched / request.folder).resolve()
        if not chosen.is_relative_to(fetched.resolve()) or not chosen.is_dir():
            raise AuthoringError(f"The source has no folder {request.folder}.", "Correct --folder.")
    else:
        inside = list(fetched.iterdir())
        alone = len(inside) == 1 and inside[0].is_dir() and not inside[0].is_symlink()
        chosen = inside[0] if alone and not find_compose_file(fetched) else fetched
    if find_compose_file(chosen) is None:
        raise AuthoringError(
            f"The source has no Compose file{_known_places(fetched)}.",
            "Name its folder with --folder.",
        )
    return chosen


def _known_places(fetched: Path) -> str:
    found: Sequence[str] = sorted(
        str(path.parent.relative_to(fetched))
        for name in COMPOSE_FILES
        for path in fetched.rglob(name)
    )
    return f", but there is one in {', '.join(found[:5])}" if found else ""


def _install(new: Path, target: Path, previous: Path) -> None:
    """Move a folder to its place; undo that if it fails or is interrupted."""
    try:
        if target.exists():
            target.rename(previous)
        new.rename(target)
    except BaseException:
        if previous.exists() and not target.exists():
            previous.rename(target)
        raise


def _remove_leftovers(blueprints: Path) -> None:
    """Remove what killed imports left, which no import in progress needs."""
    for folder in blueprints.glob(f"{STAGING_PREFIX}*"):
        if time.time() - folder.stat().st_mtime > LEFTOVER_SECONDS:
            sources.remove_folder(folder)
