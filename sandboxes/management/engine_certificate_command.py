"""`manage.py engine issue-certificate`: certificates for the machines of engines."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from getpass import getpass
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management.base import CommandError, OutputWrapper

from sandboxes.doctor import firewall
from sandboxes.models import Engine
from sandboxes.preparation import engine_machines
from sandboxes.preparation.engine_certificates import DAYS, PORTAL, Authority
from sandboxes.preparation.engine_machines import DEFAULT_PORT, MAX_DAYS, EngineMachine


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="name of the engine")
    parser.add_argument(
        "--portal", action="store_true", help="renew the portal's own certificates only"
    )
    parser.add_argument(
        "--host",
        action="append",
        default=[],
        dest="hosts",
        metavar="HOST",
        help="address at which the portal reaches the machine; may be repeated. By default, that "
        "of the engine, if it was added",
    )
    parser.add_argument(
        "--publish-address",
        default="",
        metavar="IP",
        help="address of the machine on which ports are published; by default the host",
    )
    parser.add_argument("--port", type=int, default=0, help=f"{DEFAULT_PORT} by default")
    parser.add_argument("--days", type=int, default=DAYS, help=f"how long it is valid: {DAYS}")
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="directory to write; engine-NAME by default"
    )
    parser.add_argument(
        "--passphrase-file",
        type=Path,
        metavar="FILE",
        help="file with the passphrase of the CA's key; by default, it is asked for",
    )


def issue(options: dict[str, Any], stdout: OutputWrapper) -> None:
    """Run the command. Raises CommandError, ValidationFailed."""
    if bool(options["name"]) == options["portal"]:
        raise CommandError("Name an engine, or use --portal.")
    if not 1 <= options["days"] <= MAX_DAYS:
        raise CommandError(f"--days: use a number from 1 to {MAX_DAYS}.")
    machine = None if options["portal"] else _machine(options)
    directory = Path(settings.SANDBOX_ENGINE_CA)
    is_new = not Authority.exists(directory)
    try:
        authority = Authority.open(directory, _passphrase(options["passphrase_file"], is_new))
        if is_new:
            stdout.write(f"Created a CA in {directory}. Keep its passphrase: it signs all others.")
        renewed = engine_machines.renew_clients(authority, options["days"], force=options["portal"])
        if PORTAL in renewed:
            stdout.write(
                f"Wrote the portal's certificate to {settings.SANDBOX_ENGINE_CERTIFICATES}."
            )
        if machine:
            output = (options["output"] or Path(f"engine-{machine.name}")).resolve()
            machine.write(output, authority, options["days"], firewall.rules())
            stdout.write(_next_steps(machine, output))
    except OSError as error:
        raise CommandError(f"Can't use {error.filename}: {error.strerror}.") from error


def _machine(options: dict[str, Any]) -> EngineMachine:
    known = Engine.objects.present().filter(name=options["name"]).first()
    url = urlsplit(known.address if known else "")
    hosts = options["hosts"] or ([url.hostname] if url.hostname else [])
    published = options["publish_address"] or (known and known.publish_address)
    if not published and hosts and _is_ip(hosts[0]):
        published = hosts[0]
    machine = EngineMachine(
        options["name"], hosts, published or "", options["port"] or url.port or DEFAULT_PORT
    )
    machine.check()
    return machine


def _is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _passphrase(file: Path | None, is_new: bool) -> str:
    if file:
        return file.read_text().strip()
    if not sys.stdin.isatty():
        raise CommandError("Give the passphrase of the CA's key with --passphrase-file.")
    given = getpass("Passphrase of the CA's key: ")
    if is_new and getpass("The same again: ") != given:
        raise CommandError("The passphrases differ.")
    return given


def _next_steps(machine: EngineMachine, output: Path) -> str:
    added = Engine.objects.present().filter(name=machine.name).exists()
    lines = [
        f"Wrote {output}. Copy it to the machine, and run there, from a release of this version:",
        f"  deploy/install.sh engine {output.name}",
    ]
    if not added:
        where = f"{machine.address} --publish-address {machine.publish_address}"
        lines += ["Then add it here:", f"  manage.py engine add {machine.name} {where}"]
    return "\n".join(lines)
