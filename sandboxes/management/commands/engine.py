"""`manage.py engine`: add, list, drain, activate, check and remove engines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from sandboxes.actions import engines as actions
from sandboxes.core.fleet import Fleet
from sandboxes.lib.exceptions import StateConflict, ValidationFailed
from sandboxes.management import engine_certificate_command
from sandboxes.models import Engine
from sandboxes.models.engine import format_labels, parse_labels
from sandboxes.operators import audit
from sandboxes.operators.audit import MAX_REASON_LENGTH, CommandActor
from sandboxes.operators.engines import statuses
from sandboxes.preparation import engines as preparation

DEFAULT_REASON = "Run from the command line."
TITLES = ("ENGINE", "STATE", "ADDRESS", "PUBLISHES ON", "WEIGHT", "SANDBOXES", "LABELS", "VERSION")


class Command(BaseCommand):
    help = "Adds, lists, drains and removes the engines that run sandboxes."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

        listing = commands.add_parser("list", help="list all engines")
        listing.set_defaults(run=Command._list)

        add = commands.add_parser("add", help="check an engine, and place sandboxes on it")
        add.add_argument("name", metavar="NAME")
        add.add_argument("address", metavar="ADDRESS", help="tcp://HOST:PORT or unix:///PATH")
        add.add_argument(
            "--publish-address",
            required=True,
            metavar="IP",
            help="address of its machine on which ports are published",
        )
        add.add_argument("--public-host", default="", help="shown to users in its place")
        add.add_argument("--weight", type=int, default=100, help="from 1 to 1000; 100 by default")
        add.set_defaults(run=Command._add)

        change = commands.add_parser("set", help="change the weight or the labels")
        change.add_argument("name", metavar="NAME")
        change.add_argument("--weight", type=int, help="from 1 to 1000")
        change.set_defaults(run=Command._set)
        for command in (add, change):
            command.add_argument(
                "--label",
                action="append",
                default=[],
                metavar="KEY=VALUE",
                help="for blueprints with engine_selector; without a value, removes the label",
            )

        check = commands.add_parser("check", help="ask engines whether they can be used")
        check.add_argument("names", nargs="*", metavar="NAME", help="all engines by default")
        check.set_defaults(run=Command._check)

        issue = commands.add_parser(
            "issue-certificate", help="write what the machine of an engine needs"
        )
        engine_certificate_command.add_arguments(issue)
        issue.set_defaults(run=Command._issue_certificate)

        drain = commands.add_parser("drain", help="place nothing new; running sandboxes stay")
        drain.set_defaults(run=Command._drain)
        activate = commands.add_parser("activate", help="place sandboxes again")
        activate.set_defaults(run=Command._activate)
        remove = commands.add_parser("remove", help="remove an engine without sandboxes")
        remove.add_argument(
            "--force", action="store_true", help="give up its sandboxes; needs --reason"
        )
        remove.set_defaults(run=Command._remove)
        for command in (drain, activate, remove):
            command.add_argument("name", metavar="NAME")
        for command in (add, change, drain, activate, remove):
            command.add_argument("--reason", default=DEFAULT_REASON, help="for the audit log")

    def handle(self, **options: Any) -> None:
        if len(options.get("reason", "")) > MAX_REASON_LENGTH:
            raise CommandError(f"--reason: use at most {MAX_REASON_LENGTH} characters.")
        try:
            options["run"](self, options)
        except ValidationFailed as error:
            raise CommandError(f"{error.field}: {error}") from error
        except StateConflict as error:
            raise CommandError(str(error)) from error

    def _list(self, _options: dict[str, Any]) -> None:
        engines = Fleet.read().engines
        found = statuses(engines)
        lines = [
            (
                one.name,
                found[one.name].progress or one.state.value,
                one.address or "(environment)",
                one.published_on,
                str(one.weight),
                str(found[one.name].sandboxes),
                format_labels(one.labels),
                one.version or "unknown",
            )
            for one in engines
        ]
        self._print_table([TITLES, *lines])

    def _add(self, options: dict[str, Any]) -> None:
        engine = Engine(
            name=options["name"],
            address=options["address"],
            publish_address=options["publish_address"],
            public_host=options["public_host"],
            weight=options["weight"],
            labels=labels_of(options),
        )
        preparation.add(engine, CommandActor.current(), options["reason"])
        self.stdout.write(f"{engine}: added ({engine.version}, {engine.memory_mb:,} MB of memory).")

    def _set(self, options: dict[str, Any]) -> None:
        engine = find(options["name"])
        former = {"weight": str(engine.weight), "labels": format_labels(engine.labels)}
        removed = {pair.removesuffix("=") for pair in options["label"] if pair.endswith("=")}
        kept = {key: value for key, value in engine.labels.items() if key not in removed}
        labels = kept | labels_of(options)
        engine.weight = engine.weight if options["weight"] is None else options["weight"]
        try:
            engine.clean_fields()
        except ValidationError as error:
            raise CommandError(f"--weight: {' '.join(error.messages)}") from error
        changed = {"weight": str(engine.weight), "labels": format_labels(labels)}
        with transaction.atomic():
            changes = {
                key: [former[key], new] for key, new in changed.items() if new != former[key]
            }
            audit.record(CommandActor.current(), "change", engine, options["reason"], changes)
            actions.change(engine, engine.weight, labels)
        shown = changed["labels"] or "none"
        self.stdout.write(f"{engine}: weight {engine.weight}, labels: {shown}.")

    def _check(self, options: dict[str, Any]) -> None:
        names = options["names"] or [one.name for one in Fleet.read().engines]
        failed = [name for name in names if not self._check_one(find(name))]
        if failed:
            raise CommandError(f"Can't be used: {', '.join(failed)}.")

    def _check_one(self, engine: Engine) -> bool:
        try:
            found = preparation.check(engine)
        except ValidationFailed as error:
            self.stderr.write(self.style.WARNING(f"{engine}: {error}"))
            return False
        self.stdout.write(f"{engine}: {found.name} {found.version}, {found.architecture}")
        return True

    def _issue_certificate(self, options: dict[str, Any]) -> None:
        engine_certificate_command.issue(options, self.stdout)

    def _drain(self, options: dict[str, Any]) -> None:
        engine = self._move("drain", options, actions.drain)
        left = statuses([engine])[engine.name].sandboxes
        self.stdout.write(f"{engine}: draining; {left} sandboxes are left.")

    def _activate(self, options: dict[str, Any]) -> None:
        engine = self._move("activate", options, actions.activate)
        self.stdout.write(f"{engine}: {engine.state}.")

    def _remove(self, options: dict[str, Any]) -> None:
        force = options["force"]
        if force and options["reason"] == DEFAULT_REASON:
            raise CommandError("--force: give a --reason.")
        engine = self._move("remove", options, lambda one: actions.remove(one, force=force))
        self.stdout.write(f"{engine}: removed.")

    def _move(
        self, act: str, options: dict[str, Any], change: Callable[[Engine], object]
    ) -> Engine:
        engine = find(options["name"])
        with transaction.atomic():
            audit.record(CommandActor.current(), act, engine, options["reason"])
            change(engine)
        return engine

    def _print_table(self, rows: Sequence[Sequence[str]]) -> None:
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self.stdout.write("  ".join(cells).rstrip())


def labels_of(options: dict[str, Any]) -> dict[str, str]:
    """Return the labels that the options set. Raises CommandError."""
    try:
        return parse_labels(pair for pair in options["label"] if not pair.endswith("="))
    except ValidationError as error:
        raise CommandError(f"--label: {' '.join(error.messages)}") from error


def find(name: str) -> Engine:
    """Return an engine by its name. Raises CommandError."""
    engine = Engine.objects.filter(name=name).first()
    if engine is None:
        known = ", ".join(one.name for one in Fleet.read().engines)
        raise CommandError(f"Unknown engine “{name}”. Engines: {known}.")
    return engine
