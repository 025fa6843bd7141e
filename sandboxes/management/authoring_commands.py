"""`manage.py blueprint check|try|new|import`, for authors of blueprints."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from django.conf import settings
from django.core.management.base import CommandError, OutputWrapper
from django.core.management.color import Style

from sandboxes.authoring import importing, scaffold, trial
from sandboxes.authoring.checking import Report, check
from sandboxes.authoring.errors import AuthoringError, printable
from sandboxes.runtime import RuntimeFailure

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SHOWN_LOG_LINES = 5
MAX_SHOWN_PATH = 200


class Terminal(Protocol):
    """What the commands need of Django's."""

    stdout: OutputWrapper
    stderr: OutputWrapper
    style: Style


def add_parsers(commands: Any) -> None:
    """Add the parsers of these commands."""
    checking = commands.add_parser("check", help="report all problems of a blueprint's files")
    checking.add_argument("path", metavar="PATH", help="its folder, or its Compose file")
    checking.add_argument("--files-only", action="store_true", help="don't look at images")
    checking.add_argument("--json", action="store_true", help="write JSON")
    checking.set_defaults(run=check_blueprint)

    trying = commands.add_parser(
        "try", help="launch a blueprint once, reset it, measure it, and remove it"
    )
    trying.add_argument("path", nargs="?", metavar="PATH", help="its folder, or its Compose file")
    trying.add_argument(
        "--parameter",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a value other than the default; can be repeated",
    )
    trying.add_argument("--keep", action="store_true", help="leave the sandbox running")
    trying.add_argument(
        "--remove",
        nargs="?",
        const="",
        metavar="ID",
        help="remove a sandbox that was kept, or all of them",
    )
    trying.add_argument(
        "--logs",
        type=int,
        default=SHOWN_LOG_LINES,
        metavar="N",
        help="lines of each service's log to show",
    )
    trying.add_argument("--json", action="store_true", help="write JSON")
    trying.set_defaults(run=try_blueprint)

    new = commands.add_parser("new", help="write a commented blueprint to start from")
    new.add_argument("name", metavar="NAME")
    new.add_argument("--directory", default=".", help="where its folder is created; by default, .")
    new.add_argument(
        "--image", default=scaffold.DEFAULT_IMAGE, help="an image with Python (%(default)s)"
    )
    new.set_defaults(run=new_blueprint)

    adding = commands.add_parser("import", help="copy a blueprint into SANDBOX_BLUEPRINTS_DIR")
    adding.add_argument(
        "source", metavar="SOURCE", help="a folder, an archive, or the https address of a git repo"
    )
    adding.add_argument("--name", default="", help="by default, the name of the source")
    adding.add_argument(
        "--folder", default="", metavar="DIR", help="the folder inside of the source"
    )
    adding.add_argument("--branch", default="", help="a branch or tag of the repository")
    adding.add_argument("--replace", action="store_true", help="replace an imported blueprint")
    adding.set_defaults(run=import_blueprint)


def check_blueprint(terminal: Terminal, options: Mapping[str, Any]) -> None:
    if not options["path"]:
        raise CommandError("Name the folder of a blueprint; `.` is the current one.")
    with _explained():
        report = check(Path(options["path"]), images=not options["files_only"])
    if options["json"]:
        terminal.stdout.write(json.dumps(report.as_json(), indent=2))
    else:
        _print_report(terminal, report)
    if not report.is_valid:
        raise CommandError(_count(len(report.problems), "problem"))
    if not options["json"]:
        services = ", ".join(report.unchecked)
        rest = f" in its files. Images that aren't checked: {services}" if services else ""
        terminal.stdout.write(terminal.style.SUCCESS(f"{report.name}: no problems{rest}."))
        terminal.stdout.write(f"Next: manage.py blueprint try {options['path']}")


def new_blueprint(terminal: Terminal, options: Mapping[str, Any]) -> None:
    with _explained():
        folder = scaffold.create(Path(options["directory"]), options["name"], options["image"])
    shown = os.path.relpath(folder)
    terminal.stdout.write(f"{shown}: written. Next: manage.py blueprint try {shown}")


def import_blueprint(terminal: Terminal, options: Mapping[str, Any]) -> None:
    wanted = {name: options[name] for name in ("source", "name", "folder", "branch", "replace")}
    blueprints = Path(settings.SANDBOX_BLUEPRINTS_DIR)
    try:
        with _explained(), _interruptible(terminal):
            report = importing.import_blueprint(importing.Request(**wanted), blueprints)
    except importing.ImportRefused as error:
        _print_report(terminal, error.report)
        raise CommandError(str(error)) from error
    except KeyboardInterrupt:
        raise CommandError("Interrupted; nothing was imported.") from None
    _print_report(terminal, report)
    terminal.stdout.write(
        terminal.style.SUCCESS(f"{report.name}: imported into {blueprints / report.name}.")
    )
    terminal.stdout.write(f"Next: manage.py blueprint prepare {report.name}")


def try_blueprint(terminal: Terminal, options: Mapping[str, Any]) -> None:
    with _explained():
        runtime = trial.trial_runtime()
    if options["remove"] is not None:
        _remove_kept(terminal, runtime, options["remove"])
        return
    if not options["path"]:
        raise CommandError("Name the folder of a blueprint, or --remove what was kept.")

    def log(line: str) -> None:
        # Results go to stdout, so that they can be read by other programs.
        terminal.stderr.write(printable(line), style_func=str)
        terminal.stderr.flush()

    with _explained():
        report = check(Path(options["path"]), images=False)
    if not report.is_valid:
        _print_report(terminal, report)
        raise CommandError(_count(len(report.problems), "problem"))
    try:
        with _interruptible(terminal):
            _run_trial(terminal, options, runtime, report, log)
    except KeyboardInterrupt:
        raise CommandError("Interrupted; nothing is left running.") from None


def _run_trial(
    terminal: Terminal, options: Mapping[str, Any], runtime: Any, report: Report, log: trial.Log
) -> None:
    with _explained(terminal):
        blueprint = trial.load(report.folder, report.name)
        others = trial.kept(runtime)
        parameters = trial.parse_parameters(blueprint, options["parameter"])
        run = trial.Trial(
            blueprint,
            runtime,
            log,
            parameters,
            keep=options["keep"],
            log_lines=max(options["logs"], trial.LOG_LINES),
        )
        run.prepare()
        with run.running() as outcome:
            pass
    if options["json"]:
        terminal.stdout.write(json.dumps(trial.as_json(outcome), indent=2))
    else:
        _print_outcome(terminal, outcome, options["logs"])
    if others:
        log(
            f"Sandboxes of earlier trials: {', '.join(others)}. "
            "Remove them with: manage.py blueprint try --remove"
        )


def _remove_kept(terminal: Terminal, runtime: Any, sandbox_id: str) -> None:
    with _explained():
        found = trial.kept(runtime)
        if sandbox_id and sandbox_id not in found:
            raise CommandError(f"There is no sandbox {sandbox_id} of a trial.")
        for one in [sandbox_id] if sandbox_id else found:
            trial.remove(runtime, one)
            terminal.stdout.write(f"{one}: removed.")
    if not found:
        terminal.stdout.write("There is nothing to remove.")


# --- output --------------------------------------------------------------------------------------


def _print_report(terminal: Terminal, report: Report) -> None:
    def place(finding: Any) -> str:
        file = finding.file
        path = file.relative_to(report.folder) if file.is_relative_to(report.folder) else file
        where = "" if path == Path() else str(path)  # The folder as a whole.
        where += f":{finding.line}" if finding.line else ""
        return "".join(f"{part}: " for part in (where, finding.key) if part)

    for note in report.notes:
        terminal.stdout.write(printable(f"note: {place(note)}{note.message}"))
    for problem in report.problems:
        line = f"problem: {place(problem)}{problem.message} {problem.remedy}"
        terminal.stdout.write(terminal.style.ERROR(printable(line)))
    if report.suggestion:
        terminal.stdout.write("A sandbox.yaml next to the Compose file could start as:\n")
        terminal.stdout.write("".join(f"    {line}\n" for line in report.suggestion.splitlines()))


def _print_outcome(terminal: Terminal, outcome: trial.Outcome, log_lines: int) -> None:
    write = terminal.stdout.write
    for title, values in (("Endpoints", outcome.endpoints), ("Credentials", outcome.credentials)):
        if values:
            write(f"{title}:")
            width = max(map(len, values))
            for name, value in values.items():
                write(printable(f"  {name.ljust(width)}  {value}"))
    if log_lines > 0:
        for name, service in outcome.services.items():
            _print_service(terminal.stdout, name, service, log_lines)
    steps = ", ".join(f"{name} {took:.1f} s" for name, took in outcome.step_seconds.items())
    write(f"Images:  prepared in {outcome.prepare_seconds:.1f} s")
    write(f"Start:   ready after {outcome.start_seconds:.1f} s ({steps})")
    write(f"Reset:   {outcome.reset_seconds:.1f} s, by {outcome.reset_by}")
    write(f"Memory:  {_amount(outcome.memory_mb, outcome.memory_limit_mb)}")
    write(f"Disk:    {_amount(outcome.disk_mb, outcome.disk_limit_mb)}")
    if outcome.kept:
        write(
            f"Kept:    {outcome.sandbox_id}; remove it with "
            f"`manage.py blueprint try --remove {outcome.sandbox_id}`"
        )
    write(terminal.style.SUCCESS("The blueprint works."))


def _print_service(
    output: OutputWrapper, name: str, service: trial.ServiceReport, log_lines: int
) -> None:
    lines = printable(service.log).splitlines()[-log_lines:]
    output.write(f"Log of {name} ({service.state}):", style_func=str)
    output.write("".join(f"  {line}\n" for line in lines or ["(empty)"]), style_func=str)


def _amount(used: float | None, limit: int) -> str:
    return f"not measured, limit {limit} MB" if used is None else f"{used:.0f} of {limit} MB"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}."


@contextmanager
def _explained(terminal: Terminal | None = None) -> Iterator[None]:
    """Turn errors that authors can correct into the command's; print logs that explain them."""
    try:
        yield
    except importing.ImportRefused:
        raise
    except trial.TrialFailed as error:
        if terminal:
            for name, service in error.services.items():
                _print_service(terminal.stderr, name, service, trial.LOG_LINES)
        raise CommandError(printable(str(error))) from error
    except (AuthoringError, RuntimeFailure) as error:
        if terminal and (output := getattr(error, "output", "")):
            terminal.stderr.write(printable(output), style_func=str)
        raise CommandError(printable(str(error))) from error
    except OSError as error:
        place, reason = str(error.filename or "A file")[:MAX_SHOWN_PATH], error.strerror or error
        raise CommandError(printable(f"{place} can't be read or written: {reason}.")) from error


@contextmanager
def _interruptible(terminal: Terminal) -> Iterator[None]:
    """Let the first Ctrl-C or end of the terminal interrupt the work; clean up undisturbed."""

    def interrupt(*_: object) -> None:
        for one in SIGNALS:
            signal.signal(one, signal.SIG_IGN)
        terminal.stderr.write("Interrupted; cleaning up.", style_func=str)
        raise KeyboardInterrupt

    before = {one: signal.signal(one, interrupt) for one in SIGNALS}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
