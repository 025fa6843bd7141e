"""`manage.py reap_sandboxes`: end sandboxes that are due and remove orphans."""

from __future__ import annotations

import gc
import json
import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, close_old_connections

from sandboxes.reaper.sweep import Sweep
from sandboxportal.postgresql import limit_answers

MAX_INTERVAL_SECONDS = 86_400


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence info logs of all loggers: cron sends everything on stderr by email."""
    before = logging.root.manager.disable
    logging.disable(max(before, logging.INFO))
    try:
        yield
    finally:
        logging.disable(before)


class Command(BaseCommand):
    help = (
        "Run one sweep: end idle and expired sandboxes, warn owners, requeue overdue work, and "
        "remove orphans from the engine. Concurrent runs are safe. Exits with 1 if an action "
        "failed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--loop", type=float, metavar="SECONDS", help="repeat the sweep with this interval"
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="report the actions without performing them"
        )
        parser.add_argument("--json", action="store_true", help="print the result as JSON")
        parser.add_argument(
            "--max-endings",
            type=int,
            metavar="N",
            help="end at most N expired or idle sandboxes per sweep; 0 is unlimited",
        )

    def handle(self, **options: Any) -> None:
        if options["loop"] is not None and not 0 < options["loop"] <= MAX_INTERVAL_SECONDS:
            raise CommandError(
                f"--loop must be more than 0 and at most {MAX_INTERVAL_SECONDS} seconds."
            )
        if options["max_endings"] is not None and options["max_endings"] < 0:
            raise CommandError("--max-endings must be 0 or more.")
        limit_answers()
        if options["loop"] is not None:
            self._loop(options)
        else:
            with _quiet():
                errors = self._once(options).errors
            if errors:
                raise SystemExit(1)

    def _once(self, options: dict[str, Any]) -> Sweep:
        try:
            return self._sweep(options)
        except DatabaseError as error:
            raise CommandError(
                f"Couldn't read the database; no action was performed: {error}"
            ) from error

    def _loop(self, options: dict[str, Any]) -> None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        self.stdout.write(f"Sweeping every {options['loop']:g} s.")
        # Output to a pipe is buffered otherwise.
        self.stdout.flush()
        # What is loaded by now stays: collecting it takes longer than a sweep.
        gc.collect()
        gc.freeze()
        while not stop.is_set():
            close_old_connections()
            try:
                self._sweep(options)
            except Exception as error:  # noqa: BLE001 - the next sweep may succeed
                self.stderr.write(f"The sweep failed: {type(error).__name__}: {error}")
            stop.wait(options["loop"])

    def _sweep(self, options: dict[str, Any]) -> Sweep:
        sweep = Sweep(dry_run=options["dry_run"])
        if options["max_endings"] is not None:
            sweep.max_expirations = options["max_endings"]
        sweep.run()
        if options["json"]:
            result = {"counts": sweep.counts, "lines": sweep.lines, "errors": sweep.errors}
            self.stdout.write(json.dumps(result | {"dry_run": sweep.dry_run}))
        else:
            self._print(sweep, quiet=options["loop"] is not None)
        return sweep

    def _print(self, sweep: Sweep, quiet: bool) -> None:
        for line in sweep.lines:
            self.stdout.write(line)
        for error in sweep.errors:
            self.stderr.write(self.style.ERROR(error))
        if not quiet:
            done = (
                "Dry run finished. Planned actions" if sweep.dry_run else "Sweep finished. Actions"
            )
            self.stdout.write(f"{done}: {len(sweep.lines)}, errors: {len(sweep.errors)}.")
