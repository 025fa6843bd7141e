"""deploy/compose.yaml on a Debian with Docker and Compose, in version 1 and 2."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.helpers.wait import wait_for
from tests.install.machine import Machine, unpack
from tests.install.source import copy_source
from tests.install.visitor import DOMAIN, PORTAL, Visitor, use_a_sandbox

COMPOSE = "cd source/deploy && docker-compose --project-name sandbox-portal"
"""Version 1 on Debian 12, version 2 on Debian 13."""
CONTAINERS = {
    *("postgresql", "redis", "socket-proxy", "web", "streams", "worker", "reaper", "gateway"),
}


def install_engine(machine: Machine, base: Path) -> None:
    """Install what the page requires, and a base image, since no registry is reached."""
    machine.run("apt-get -qq update && apt-get -qq install --yes docker.io docker-compose")
    engine = "docker version"
    if machine.run(engine, check=False).returncode:
        machine.run("setsid dockerd >/var/log/docker.log 2>&1 </dev/null &")
    wait_for(lambda: machine.run(engine, check=False).returncode == 0, "the engine starts")
    machine.copy_tree(base, "/root/base")
    machine.run("tar -C base -c . | docker import - debian:bookworm-slim && rm -r base")


def health(machine: Machine) -> dict[str, str]:
    """Return the health of each container by its service."""
    name = '{{index .Config.Labels "com.docker.compose.service"}}'
    state = "{{if .State.Health}}{{.State.Health.Status}}{{end}}"
    project = "label=com.docker.compose.project=sandbox-portal"
    listed = f"docker inspect --format '{name} {state}' $(docker ps --quiet --filter {project})"
    lines = machine.run(listed).stdout.splitlines()
    return {line.split()[0]: line.partition(" ")[2] for line in lines}


def test_a_bare_machine_has_a_portal_behind_tls_in_time(
    machine: Machine, tmp_path: Path, bare_debian: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unpack(bare_debian, tmp_path / "base")
    copy_source(machine)
    settings = f"SITE_URL=https://{PORTAL}\nSANDBOX_DOMAIN={DOMAIN}\n"
    machine.run("cat > source/deploy/.env", text_input=settings)
    started = time.monotonic()
    install_engine(machine, tmp_path / "base")
    machine.run(f"{COMPOSE} up --detach --build", seconds=machine.max_seconds)
    wait_for(
        lambda: set(health(machine).items()) == {(one, "healthy") for one in CONTAINERS},
        "all containers are healthy",
        120 * machine.slowness,
        1,
    )
    run = f"{COMPOSE} exec -T worker sandbox-portal manage"
    machine.run(f"{run} create_demo_accounts")
    accounts = "/var/lib/sandbox-portal/demo-accounts.json"
    text = machine.run(f"{COMPOSE} exec -T --user portal worker cat {accounts}").stdout
    authority = tmp_path / "ca.pem"
    certificate = "/etc/sandbox-portal/tls/ca.pem"
    authority.write_text(machine.run(f"{COMPOSE} exec -T gateway cat {certificate}").stdout)
    use_a_sandbox(Visitor(machine.address, authority, json.loads(text)["developer"]))
    seconds = time.monotonic() - started
    with capsys.disabled():
        print(f"\nInstalled with Compose and used in {seconds:.0f} s")
    assert seconds <= machine.max_seconds

    users = machine.run(
        "for p in /proc/[0-9]*; do echo $(stat -c %u $p) $(tr '\\0' ' ' <$p/cmdline); done"
    ).stdout
    for program in ("gunicorn", "celery", "reap_sandboxes", "docker_socket_proxy", "traefik"):
        assert not [line for line in users.splitlines() if program in line and line[:2] == "0 "]
    doctor = machine.run(f"{run} doctor", check=False)
    assert doctor.returncode == 0, doctor.stdout
