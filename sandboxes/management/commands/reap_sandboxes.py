"""`manage.py reap_sandboxes`: end what is due, clean up what was left behind."""

from __future__ import annotations

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

LONGEST_PAUSE = 86_400


@contextmanager
def _quiet() -> Iterator[None]:
    """Cron mails whatever a command writes to stderr, and logs go there."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(max(before, logging.WARNING))
    try:
        yield
    finally:
        root.setLevel(before)


class Command(BaseCommand):
    help = (
        "One sweep: ends sandboxes that are idle or expired, warns their owners, takes up stale "
        "requests again and removes what is left on the engine without need. Safe to run beside "
        "another copy of itself. Exits with 1 when something could not be done."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--loop", type=float, metavar="SECONDS", help="sweep again and again, so far apart"
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="say what would be done, and do nothing"
        )
        parser.add_argument("--json", action="store_true", help="print the result as JSON")
        parser.add_argument(
            "--max-endings",
            type=int,
            metavar="N",
            help="end at most N sandboxes by the clock in one sweep; 0 takes the bound away",
        )

    def handle(self, **options: Any) -> None:
        if options["loop"] is not None and not 0 < options["loop"] <= LONGEST_PAUSE:
            raise CommandError(
                f"--loop: give the seconds between two sweeps, over 0, up to {LONGEST_PAUSE}."
            )
        if options["max_endings"] is not None and options["max_endings"] < 0:
            raise CommandError("--max-endings: give 0 or more.")
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
                f"The database can't be read, so nothing was done: {error}"
            ) from error

    def _loop(self, options: dict[str, Any]) -> None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        self.stdout.write(f"Sweeping every {options['loop']:g} s.")
        # Whoever reads it through a pipe would otherwise see it much later.
        self.stdout.flush()
        while not stop.is_set():
            close_old_connections()
            try:
                self._sweep(options)
            except Exception as error:  # noqa: BLE001 - the next sweep may succeed: a database restarts, say
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
            what = "would be acted upon" if sweep.dry_run else "acted upon"
            self.stdout.write(f"Swept: {len(sweep.lines)} {what}, {len(sweep.errors)} errors.")
