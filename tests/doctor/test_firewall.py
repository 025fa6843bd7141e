"""The rules that keep sandboxes from the engine's machine, and the look at whether they hold."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Network

import pytest
from django.core.management import CommandError, call_command

from sandboxes import blueprints
from sandboxes.doctor import firewall
from sandboxes.runtime import get_runtime
from sandboxes.runtime.memory import MemoryRuntime
from tests.harness.runtimes import DockerHarness, fetch
from tests.runtime.docker.test_networks import page_on


def test_what_is_printed_is_of_the_range_that_sandboxes_have(settings, capsys) -> None:
    settings.SANDBOX_SUBNETS = IPv4Network("10.99.0.0/20")
    for flavour in ("", "--nftables"):
        call_command("print_firewall", *flavour.split())
        assert "10.99.0.0/20" in capsys.readouterr().out


def test_a_blueprint_that_may_get_out_is_kept_from_the_metadata_alone(monkeypatch) -> None:
    assert "! -d 10.213.0.0/16" in firewall.rules()
    open_one = replace(blueprints.load("billing"), egress=True)
    monkeypatch.setattr(blueprints, "available", lambda: {"open": open_one})
    for flavour in ("iptables", "nftables"):
        assert "-d 169.254.0.0/16" in firewall.rules(flavour).replace("daddr", "-d")
        assert "!= 10.213.0.0/16" not in firewall.rules(flavour)
    assert "! -d" not in firewall.rules()


@pytest.mark.parametrize(
    ("output", "closed", "words"),
    [
        ("done\n", True, "can't reach"),
        ("9 refused\ndone\n", False, "no tested port is open"),
        ("9 refused\n22 open\n8000 open\ndone\n", False, "open ports: 22, 8000"),
        ("Traceback\n", None, "Can't test"),
    ],
)
def test_a_trial_from_inside_tells(
    runtime: MemoryRuntime, monkeypatch, output: str, closed: bool | None, words: str
) -> None:
    monkeypatch.setattr(runtime, "execute", lambda *_: (0, output))
    found = firewall.check_firewall()
    assert found.is_closed is closed
    assert words in found.message
    assert bool(found.remedy) is (closed is False)
    assert runtime.observe() == {}


def test_the_command_fails_unless_the_way_is_closed(runtime: MemoryRuntime, monkeypatch) -> None:
    monkeypatch.setattr(runtime, "execute", lambda *_: (0, "9 open\ndone"))
    with pytest.raises(CommandError, match="print_firewall"):
        call_command("print_firewall", "--check")
    runtime.unreachable = True
    with pytest.raises(CommandError, match="Can't test"):
        call_command("print_firewall", "--check")


def test_without_isolation_there_is_nothing_to_close(settings) -> None:
    settings.SANDBOX_RUNTIME = "process"
    assert firewall.check_firewall().is_closed is None


def run(script: str) -> None:
    subprocess.run(["sh", "-c", script], check=True, capture_output=True)


@pytest.fixture
def subnets(docker_harness: DockerHarness, settings) -> Iterator[IPv4Network]:
    """Of this test alone, so that its rules concern nobody else; they are gone afterwards."""
    settings.SANDBOX_SUBNETS = IPv4Network(f"10.222.{secrets.randbelow(256)}.0/24")
    settings.SANDBOX_RUNTIME, settings.SANDBOX_INSTANCE = "docker", docker_harness.instance
    docker_harness.runtime = docker_harness.make(settings.SANDBOX_SUBNETS)
    get_runtime.cache_clear()
    yield settings.SANDBOX_SUBNETS
    get_runtime.cache_clear()
    for flavour in ("iptables", "nftables"):
        run(firewall.rules(flavour, undo=True))


@pytest.mark.engine
@pytest.mark.root
@pytest.mark.parametrize("flavour", ["iptables", "nftables"])
def test_the_rules_close_the_way_to_the_host_and_leave_the_others_open(
    docker_harness: DockerHarness, subnets: IPv4Network, flavour: str
) -> None:
    spec, facts = docker_harness.create()
    own = docker_harness.inspect(spec, "web")["NetworkSettings"]["Networks"].popitem()[1]
    host = str(IPv4Network((own["IPAddress"], 28), strict=False)[1])
    with page_on("0.0.0.0") as port:
        assert docker_harness.reaches(spec, host, port)
        assert firewall.check_firewall().is_closed is False
        for _ in range(2):
            run(firewall.rules(flavour))
        assert not docker_harness.reaches(spec, host, port)
        assert firewall.check_firewall().is_closed is True
        fetch(facts)
        assert docker_harness.reaches(spec, "web", 8080)
        run(firewall.rules(flavour, undo=True))
        assert docker_harness.reaches(spec, host, port)


@pytest.mark.engine
@pytest.mark.root
def test_the_rules_close_what_lies_behind_the_host_where_callers_are_elsewhere(
    docker_harness: DockerHarness, subnets: IPv4Network
) -> None:
    """Published on an address that others reach, services need a way back to them, which is a way
    out: what they send leaves the machine, if only under an address that nobody answers to."""
    docker_harness.runtime = docker_harness.make(subnets, bind_address="0.0.0.0")
    spec, facts = docker_harness.create()

    def sent() -> int:
        """What came from the sandboxes and was to be forwarded, as the first rule counts it."""
        command = ["iptables", "-w", "-nvxL", "DOCKER-USER"]
        listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return sum(int(line.split()[0]) for line in listed.splitlines() if str(subnets) in line)

    run(firewall.rules())
    assert not docker_harness.reaches(spec, "169.254.169.254", 80)
    assert sent() > 0, "it came as far as the rule, and no further"
    fetch(facts)
