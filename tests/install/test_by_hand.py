"""The steps of docs/installation.md on a bare Debian, as the users that they name."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandboxes.gateway import development_ca
from tests.harness.portal import ROOT
from tests.helpers.wait import wait_for
from tests.install.machine import Machine, bare_machine
from tests.install.source import copy_source
from tests.install.visitor import DOMAIN, PORTAL, Visitor, use_a_sandbox

pytestmark = pytest.mark.installation

PAGE = (ROOT / "docs" / "installation.md").read_text()
MAX_SECONDS = 600
SKIPPED = "With systemd:"
"""Machines of these tests have none."""


@dataclass(frozen=True)
class Step:
    """Commands of the page, and the user who runs them."""

    user: str
    commands: str


def steps() -> list[Step]:
    """Return the commands under “By hand”, with the text before them that names a user."""
    section = PAGE.partition("## By hand")[2]
    found = []
    for before, commands in re.findall(
        r"((?:[^\n`]|`(?!``))*)\n\n```sh\n(.*?)```", section, re.DOTALL
    ):
        if SKIPPED in before:
            continue
        user = re.match(r"As `([a-z-]+)`", before)
        found.append(Step(user[1] if user else "root", commands))
    return found


def follow(machine: Machine) -> None:
    for step in steps():
        if "manage prepare" in step.commands:
            start_services(machine)
        if "manage doctor" in step.commands:
            trust(machine, "tls/ca.pem")
        drop = f"setpriv --reuid {step.user} --regid {step.user} --init-groups"
        machine.run(
            f"cd source && {'' if step.user == 'root' else drop} bash -euo pipefail",
            text_input=step.commands,
        )


def start_services(machine: Machine) -> None:
    """Start what the packages start under systemd."""
    machine.run("service redis-server start; setsid dockerd >/var/log/docker.log 2>&1 </dev/null &")
    engine = "docker version"
    wait_for(lambda: machine.run(engine, check=False).returncode == 0, "the engine starts")


def trust(machine: Machine, authority: str) -> None:
    """Let the machine trust the authority of the certificates, as it trusts public ones."""
    known = "/usr/local/share/ca-certificates/tests.crt"
    machine.run(f"cp {authority} {known} && update-ca-certificates")


def test_the_page_says_which_commands_another_user_runs() -> None:
    assert [step.user for step in steps()].count("postgres") == 1
    assert len(steps()) == 11


def test_a_bare_machine_has_a_portal_behind_tls_within_ten_minutes(
    tmp_path: Path, bare_debian: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with bare_machine(tmp_path, bare_debian) as machine:
        copy_source(machine)
        tls = tmp_path / "tls"
        development_ca.write(tls, DOMAIN, [PORTAL])
        for name in ("portal", "sandboxes"):
            (tls / f"{name}.pem").write_bytes((tls / "certificate.pem").read_bytes())
            (tls / f"{name}.key").write_bytes((tls / "key.pem").read_bytes())
        machine.copy_tree(tls, "/root/tls")
        started = time.monotonic()
        follow(machine)
        machine.run("sandbox-portal manage create_demo_accounts")
        accounts = machine.read_text("/var/lib/sandbox-portal/demo-accounts.json")
        account = json.loads(accounts)["developer"]
        use_a_sandbox(Visitor(machine.address, tls / "ca.pem", account))
        seconds = time.monotonic() - started
    with capsys.disabled():
        print(f"\nInstalled by hand and used in {seconds:.0f} s")
    assert seconds <= MAX_SECONDS
