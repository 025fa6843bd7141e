"""Firewall rules for the engine's host, and the test of them."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from ipaddress import IPv4Network

import pytest
from django.core.management import CommandError, call_command

from sandboxes import blueprints
from sandboxes.doctor import firewall
from sandboxes.runtime.memory import MemoryRuntime
from tests.harness.networks import page_on
from tests.harness.runtimes import DockerHarness, fetch_page
from tests.helpers.firewall_rules import FLAVOURS, run_script, subnets
from tests.isolation import containers

__all__ = ["subnets"]


def test_printed_rules_use_the_subnets_of_sandboxes(settings, capsys) -> None:
    settings.SANDBOX_SUBNETS = IPv4Network("10.99.0.0/20")
    for flavour in ("", "--nftables"):
        call_command("print_firewall", *flavour.split())
        assert "10.99.0.0/20" in capsys.readouterr().out


def test_with_egress_only_metadata_services_are_blocked(monkeypatch) -> None:
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
def test_the_probe_determines_the_status(
    runtime: MemoryRuntime, monkeypatch, output: str, closed: bool | None, words: str
) -> None:
    monkeypatch.setattr(runtime, "execute", lambda *_: (0, output))
    found = firewall.check_firewall()
    assert found.is_closed is closed
    assert words in found.message
    assert bool(found.remedy) is (closed is False)
    assert runtime.observe() == {}


def test_the_command_fails_unless_the_host_is_unreachable(
    runtime: MemoryRuntime, monkeypatch
) -> None:
    monkeypatch.setattr(runtime, "execute", lambda *_: (0, "9 open\ndone"))
    with pytest.raises(CommandError, match="print_firewall"):
        call_command("print_firewall", "--check")
    runtime.unreachable = True
    with pytest.raises(CommandError, match="Can't test"):
        call_command("print_firewall", "--check")


def test_process_sandboxes_have_no_firewall_status(settings) -> None:
    settings.SANDBOX_RUNTIME = "process"
    assert firewall.check_firewall().is_closed is None


@pytest.mark.engine
@pytest.mark.root
def test_the_rules_block_the_host_and_nothing_else(
    docker_harness: DockerHarness, subnets: IPv4Network
) -> None:
    spec, facts = docker_harness.create()
    own = docker_harness.inspect(spec, "web")["NetworkSettings"]["Networks"].popitem()[1]
    host = str(IPv4Network((own["IPAddress"], 28), strict=False)[1])
    with page_on("0.0.0.0") as port:
        assert docker_harness.reaches(spec, host, port)
        assert firewall.check_firewall().is_closed is False
        for flavour in FLAVOURS:
            for _ in range(2):
                run_script(firewall.rules(flavour))
            assert not docker_harness.reaches(spec, host, port), flavour
            assert firewall.check_firewall().is_closed is True, flavour
            fetch_page(facts)
            assert docker_harness.reaches(spec, "web", 8080), flavour
            run_script(firewall.rules(flavour, undo=True))
            assert docker_harness.reaches(spec, host, port), flavour


@pytest.mark.engine
@pytest.mark.root
@pytest.mark.slow
def test_packets_between_services_take_no_space_in_the_connection_table(
    docker_harness: DockerHarness, subnets: IPv4Network
) -> None:
    sandbox = containers.create_billing_sandbox(docker_harness)
    flood = ["python3", "-c", containers.FLOOD_DATAGRAMS, "db"]

    for flavour in FLAVOURS:
        run_script(firewall.rules(flavour))
        assert docker_harness.runtime.execute(sandbox.spec.id, "api", flood, 60)[0] == 0
        assert containers.tracked_connections(subnets) < 50, flavour
        facts = docker_harness.runtime.observe()
        checks = {sandbox.spec.id: sandbox.spec.ready}
        probes = docker_harness.runtime.probe(facts.values(), checks, 5.0)
        assert not probes[sandbox.spec.id].problem, "the API still reaches its database"
        run_script(firewall.rules(flavour, undo=True))

    docker_harness.runtime.execute(sandbox.spec.id, "api", flood, 60)
    assert containers.tracked_connections(subnets) > 5000, "without the rules, they fill it"


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_with_egress_the_connections_of_a_sandbox_are_limited(monkeypatch, flavour: str) -> None:
    open_one = replace(blueprints.load("billing"), egress=True)
    monkeypatch.setattr(blueprints, "available", lambda: {"open": open_one})
    assert str(firewall.MAX_CONNECTIONS) in firewall.rules(flavour)


@pytest.mark.engine
@pytest.mark.root
def test_the_rules_for_egress_are_valid(subnets: IPv4Network, monkeypatch) -> None:
    open_one = replace(blueprints.load("billing"), egress=True)
    monkeypatch.setattr(blueprints, "available", lambda: {"open": open_one})
    for flavour in FLAVOURS * 2:
        run_script(firewall.rules(flavour))


@pytest.mark.engine
@pytest.mark.root
def test_the_rules_block_forwarding_with_remote_clients(
    docker_harness: DockerHarness, subnets: IPv4Network
) -> None:
    """Check that replies to remote clients are forwarded, but no new connections.

    Services that are published on a reachable address need a route to their clients, through
    which other packets could leave the machine, too.
    """
    docker_harness.runtime = docker_harness.new_runtime(subnets, bind_address="0.0.0.0")
    spec, facts = docker_harness.create()

    def sent() -> int:
        """Return the number of forwarded packets that the first rule counted."""
        command = ["iptables", "-w", "-nvxL", "DOCKER-USER"]
        listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return sum(int(line.split()[0]) for line in listed.splitlines() if str(subnets) in line)

    run_script(firewall.rules())
    assert not docker_harness.reaches(spec, "169.254.169.254", 80)
    assert sent() > 0, "it came as far as the rule, and no further"
    fetch_page(facts)
