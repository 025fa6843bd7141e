"""Checks of subnets, routes, ports, and the host's firewall."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandboxes.doctor import firewall, network
from sandboxes.doctor.findings import Level
from tests.doctor.findings import FINE, WARNING, WRONG, levels, the_one

if TYPE_CHECKING:
    from pytest_django.fixtures import SettingsWrapper


@pytest.mark.parametrize(
    ("taken", "level"), [(0, FINE), (3600, FINE), (3700, WARNING), (4096, WRONG)]
)
def test_few_remaining_subnets_are_reported(taken: int, level: Level) -> None:
    finding = network.remaining_subnets(taken, 4096)
    assert finding.level is level
    assert f"{4096 - taken} of 4096" in finding.message


ROUTES = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT
eth0\t00000000\t0102A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
sbx1\t1000D50A\t00000000\t0001\t0\t0\t0\tF0FFFFFF\t0\t0\t0
tun0\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0
"""


def test_foreign_routes_into_the_subnets_are_reported(tmp_path: Path) -> None:
    (tmp_path / "route").write_text(ROUTES)
    known = network.routes(tmp_path / "route")
    engines = [IPv4Network("10.213.0.16/28")]
    assert "10.0.0.0/8 (tun0)" in the_one(network.foreign_networks(known, engines), WARNING).message
    assert levels(network.foreign_networks(known[:2], engines)) == [FINE]
    assert levels(network.foreign_networks(known[:2], [])) == [WARNING]


@pytest.mark.parametrize(
    ("closed", "level", "words"),
    [(True, FINE, "don't"), (False, WARNING, "do"), (None, WARNING, "can't be told")],
)
def test_a_reachable_host_is_reported(
    monkeypatch: pytest.MonkeyPatch,
    settings: SettingsWrapper,
    closed: bool | None,
    level: Level,
    words: str,
) -> None:
    assert levels(network.host_reachability()) == [FINE]
    settings.SANDBOX_RUNTIME = "docker"
    found = firewall.FirewallStatus(closed, words, "Close it." if closed is False else "")
    monkeypatch.setattr(firewall, "check_firewall", lambda: found)
    assert words in the_one(network.host_reachability(), level).message


def test_ports_can_be_published_on_an_address_of_this_machine_only(
    settings: SettingsWrapper,
) -> None:
    assert levels(network.ports()) == [FINE]
    settings.SANDBOX_BIND_ADDRESS = "203.0.113.7"
    assert "203.0.113.7" in the_one(network.ports(), WRONG).message
    settings.DOCKER_HOST = "tcp://engine.example.com:2376"
    assert levels(network.ports()) == [FINE]
