"""`manage.py blueprint`: write and prepare blueprints, and choose which version is launched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError, ProgrammingError, transaction

from sandboxes.actions import blueprint_versions
from sandboxes.authoring.errors import printable
from sandboxes.blueprints import Blueprint, folders
from sandboxes.lib.exceptions import StateConflict
from sandboxes.management import authoring_commands
from sandboxes.models import BlueprintVersion, Pool, Sandbox
from sandboxes.models.blueprint_version import SHORT_LENGTH
from sandboxes.operators import audit
from sandboxes.operators.audit import MAX_REASON_LENGTH, CommandActor
from sandboxes.preparation import distribution, versions
from sandboxes.runtime import EngineUnreachable, RuntimeFailure
from sandboxes.worker.version_images import record_missing_images

DEFAULT_REASON = "Run from the command line."


class Command(BaseCommand):
    help = "Checks, tries and prepares blueprints, and chooses which version is launched."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

        prepare = commands.add_parser(
            "prepare",
            help="build the images of blueprints, store their versions, and activate changed ones",
        )
        prepare.add_argument("names", nargs="*", metavar="NAME", help="all blueprints by default")
        prepare.add_argument(
            "--no-activate", action="store_true", help="leave the active versions as they are"
        )
        prepare.add_argument("--force", action="store_true", help="also build up-to-date images")
        prepare.add_argument(
            "--pull", action="store_true", help="look for newer images in the registries"
        )
        prepare.add_argument(
            "--engines", action="store_true", help="then bring the images to all engines"
        )
        prepare.set_defaults(run=Command._prepare)

        listing = commands.add_parser("list", help="list the versions of all blueprints")
        listing.set_defaults(run=Command._list)

        activate = commands.add_parser(
            "activate", help="launch new sandboxes from a version, such as an earlier one"
        )
        activate.add_argument("name", metavar="NAME")
        activate.add_argument(
            "version",
            nargs="?",
            default="",
            metavar="VERSION",
            help="the beginning of its id; by default the version that was prepared last",
        )
        activate.set_defaults(run=Command._activate)

        disable = commands.add_parser("disable", help="allow no launches of a blueprint")
        disable.add_argument("name", metavar="NAME")
        disable.set_defaults(run=Command._disable)
        for command in (activate, disable):
            command.add_argument("--reason", default=DEFAULT_REASON, help="for the audit log")

        authoring_commands.add_parsers(commands)

    def handle(self, **options: Any) -> None:
        if len(options.get("reason", "")) > MAX_REASON_LENGTH:
            raise CommandError(f"--reason: use at most {MAX_REASON_LENGTH} characters.")
        try:
            options["run"](self, options)
        except (OperationalError, ProgrammingError) as error:
            reason = str(error).partition("\n")[0]
            raise CommandError(
                f"The database can't be used: {reason}. Start it; if it lacks a table or a column, "
                "run `manage.py migrate`."
            ) from error

    def _prepare(self, options: dict[str, Any]) -> None:
        found, names = folders.read(), options["names"]
        for problem in found.problems:
            self._warn(f"Left out: {problem} {problem.remedy}")
        wanted = names or list(found.valid)
        failed = [name for name in wanted if not self._prepare_one(found, name, options)]
        if not names:
            self._withdraw_removed(found.valid)
        elif failed:
            raise CommandError(f"Not prepared: {', '.join(failed)}.")
        if options["engines"]:
            self._distribute(wanted)

    def _distribute(self, names: Collection[str]) -> None:
        """Bring the images to the other engines; an engine without them gets no launches."""
        try:
            failures = distribution.distribute(names, self._print)
        except RuntimeFailure as error:
            raise CommandError(str(error)) from error
        for name, failure in failures.items():
            self._warn(
                f"{name} didn't get the images, and gets no launch that needs them: {failure}"
            )
        if failures:
            raise CommandError(f"Without images: {', '.join(failures)}.")

    def _prepare_one(self, found: folders.Folders, name: str, options: dict[str, Any]) -> bool:
        """Prepare one blueprint; return whether that succeeded. Other blueprints go on."""
        if (blueprint := found.valid.get(name)) is None:
            where = " or ".join(map(str, folders.directories()))
            self._warn(f"There is no valid blueprint “{name}” in {where}.")
            return False
        try:
            done = versions.prepare(
                blueprint,
                CommandActor.current(),
                self._print,
                activate=not options["no_activate"],
                force=options["force"],
                pull=options["pull"],
            )
        except EngineUnreachable as error:
            raise CommandError(str(error)) from error
        except (RuntimeFailure, OSError) as error:
            if output := getattr(error, "output", ""):
                self.stderr.write(printable(output))
            self._warn(f"The blueprint {name} couldn't be prepared, and is left out: {error}")
            return False
        self._print(_outcome(blueprint, done))
        return True

    def _withdraw_removed(self, valid: Collection[str]) -> None:
        """Withdraw blueprints without a folder, unless a wrong setting may be the reason."""
        directories = folders.directories()
        if not valid or not all(map(Path.is_dir, directories)):
            return
        present = {path.name for directory in directories for path in directory.iterdir()}
        for version in versions.withdraw_removed(present | {*valid}, CommandActor.current()):
            self._print(
                f"{version.name}: withdrawn, since its folder was removed. Running sandboxes keep "
                f"version {version.short_digest}."
            )

    def _list(self, _options: dict[str, Any]) -> None:
        _look_for_images()
        rows = BlueprintVersion.objects.order_by("name", "-prepared_at", "-pk")
        launched_from = Sandbox.objects.live().values_list("blueprint_version", flat=True)
        live: Counter[Any] = Counter(launched_from)
        disabled = set(Pool.objects.filter(switched_off=True).values_list("blueprint", flat=True))
        lines = [
            (
                row.name,
                row.short_digest,
                "disabled" if row.is_active and row.name in disabled else row.state,
                f"{row.prepared_at:%Y-%m-%d %H:%M}",
                str(live[row.digest]),
            )
            for row in rows
        ]
        titles = ("BLUEPRINT", "VERSION", "STATE", "PREPARED (UTC)", "SANDBOXES")
        self._print_table([titles, *lines])

    def _activate(self, options: dict[str, Any]) -> None:
        version = _find_version(options["name"], options["version"])
        _look_for_images()
        try:
            with transaction.atomic():
                audit.record(CommandActor.current(), "activate", version, options["reason"])
                blueprint_versions.activate(version)
        except StateConflict as error:
            raise CommandError(str(error)) from error
        self._print(f"{version.name}: version {version.short_digest} is active.")

    def _disable(self, options: dict[str, Any]) -> None:
        version = _find_version(options["name"], "")
        try:
            with transaction.atomic():
                audit.record(CommandActor.current(), "disable", version, options["reason"])
                blueprint_versions.disable(version.name)
        except StateConflict as error:
            raise CommandError(str(error)) from error
        self._print(f"{version.name}: disabled. Running sandboxes continue.")

    def _print(self, line: str) -> None:
        self.stdout.write(printable(line))
        self.stdout.flush()

    def _print_table(self, rows: Sequence[Sequence[str]]) -> None:
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self._print("  ".join(cells).rstrip())

    def _warn(self, line: str) -> None:
        self.stderr.write(self.style.WARNING(printable(f"Warning: {line}")))


def _outcome(blueprint: Blueprint, done: versions.Prepared) -> str:
    name, prepared = blueprint.name, done.version.short_digest
    if done.other_active is None:
        return f"{name}: version {prepared} is active."
    return (
        f"{name}: version {prepared} is prepared, and {done.other_active.short_digest} stays "
        f"active. To change that, run `manage.py blueprint activate {name} {prepared}`."
    )


def _look_for_images() -> None:
    """Update which versions lack images. Without the engine, what a sweep found counts."""
    with suppress(RuntimeFailure):
        record_missing_images()


def _find_version(name: str, digest: str) -> BlueprintVersion:
    """Return a version by the beginning of its id, or the last one. Raises CommandError."""
    known = list(BlueprintVersion.objects.of(name))
    if not known:
        raise CommandError(f"No version of a blueprint “{name}” has been prepared.")
    found = [version for version in known if version.digest.startswith(digest.lower())]
    if not found or (len(found) > 1 and digest):
        names = ", ".join(version.digest[:SHORT_LENGTH] for version in known)
        raise CommandError(f"{name}: give one of its versions: {names}.")
    return found[0]
