"""Network isolation: which addresses services can reach."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Network

import pytest
from docker.types import IPAMConfig, IPAMPool

from sandboxes.runtime import EngineRefused, SandboxSpec
from sandboxes.runtime.docker import DockerRuntime
from tests.harness.networks import host_address, own_address, page_on
from tests.harness.runtimes import (
    SUBNETS,
    TIME_LIMIT,
    DockerHarness,
    ignore_step,
    new_id,
    running_docker_harness,
    with_service,
)

pytestmark = pytest.mark.engine


def test_services_reach_one_another_by_name(docker_harness: DockerHarness) -> None:
    serve = ["httpd", "-f", "-p", "9000", "-h", "/www"]
    spec = with_service(docker_harness.spec(), "store", command=serve)
    docker_harness.runtime.create(spec, ignore_step, TIME_LIMIT)
    assert docker_harness.reaches(spec, "store", 9000)
    assert not docker_harness.reaches(spec, "store", 9001)


Pair = tuple[DockerHarness, SandboxSpec, SandboxSpec]


def create_pair(harness: DockerHarness) -> Pair:
    """Create two sandboxes at the same time."""
    with ThreadPoolExecutor(2) as pool:
        mine, other = pool.map(lambda _: harness.create()[0], range(2))
    return harness, mine, other


@pytest.fixture(scope="module")
def pair(tiny_image: str) -> Iterator[Pair]:
    with running_docker_harness(tiny_image) as harness:
        yield create_pair(harness)


def reaches_soon(harness: DockerHarness, spec: SandboxSpec, host: str, port: int) -> bool:
    """Return whether an address responds; one on this machine does in milliseconds."""
    return harness.reaches(spec, host, port, seconds=2)


def assert_separate(harness: DockerHarness, mine: SandboxSpec, other: SandboxSpec) -> None:
    assert harness.reaches(mine, "web", 8080)
    assert not reaches_soon(harness, mine, own_address(harness, other, "web"), 8080)


def test_sandboxes_cannot_reach_each_other(pair: Pair) -> None:
    assert_separate(*pair)


def test_sandboxes_with_ports_on_all_addresses_cannot_reach_each_other(
    docker_harness: DockerHarness,
) -> None:
    docker_harness.runtime = docker_harness.new_runtime(bind_address="0.0.0.0")
    assert_separate(*create_pair(docker_harness))


def test_sandboxes_cannot_reach_each_other_through_ports_on_loopback(pair: Pair) -> None:
    harness, mine, other = pair
    port = harness.runtime.observe()[other.id].services["web"].ports[8080].port
    networks = harness.inspect(mine, "web")["NetworkSettings"]["Networks"].values()
    subnet = IPv4Network((f"{next(iter(networks))['IPAddress']}", 28), strict=False)
    assert not reaches_soon(harness, mine, str(subnet[1]), port)
    assert not reaches_soon(harness, mine, "127.0.0.1", port)


def test_without_egress_no_other_network_is_reachable(pair: Pair) -> None:
    harness, mine, _ = pair
    with page_on(address := host_address()) as port:
        assert not reaches_soon(harness, mine, address, port)
    assert not reaches_soon(harness, mine, "169.254.169.254", 80)


def test_with_egress_other_networks_are_reachable(docker_harness: DockerHarness) -> None:
    spec, _ = docker_harness.create(egress=True)
    with page_on(address := host_address()) as port:
        assert docker_harness.reaches(spec, address, port)


def test_dns_queries_for_other_names_do_not_leave_the_container(pair: Pair) -> None:
    harness, spec, _ = pair

    def turned_away() -> int:
        """Return the number of datagrams sent to closed ports of the container."""
        text = harness.runtime.execute(spec.id, "web", ["cat", "/proc/net/snmp"], 10)[1]
        names, numbers = (line.split() for line in text.splitlines() if line.startswith("Udp:"))
        return int(numbers[names.index("NoPorts")])

    before = turned_away()
    assert not harness.reaches(spec, "nowhere.example", 80)
    assert turned_away() > before, "the question stays in the container"


def test_subnets_of_other_programs_count_as_taken(docker_harness: DockerHarness) -> None:
    runtime = docker_harness.new_runtime(IPv4Network("10.221.77.0/26"))
    assert runtime.capabilities().resources.subnets_taken == 0

    foreign = IPAMConfig(pool_configs=[IPAMPool(subnet="10.221.77.32/27")])
    name = f"{docker_harness.instance}-foreign"
    docker_harness.client.create_network(name, ipam=foreign)
    try:
        assert runtime.capabilities().resources.subnets_taken == 2
    finally:
        docker_harness.client.remove_network(name)


def test_subnets_are_small_distinct_and_within_the_range(pair: Pair) -> None:
    harness = pair[0]
    filters = {"label": f"sandboxportal.instance={harness.instance}"}
    networks = harness.client.networks(filters=filters)
    subnets = {IPv4Network(row["IPAM"]["Config"][0]["Subnet"]) for row in networks}
    assert len(subnets) == len(networks) == 2
    assert all(one.prefixlen == 28 and one.subnet_of(SUBNETS) for one in subnets)
    assert not any(row["EnableIPv6"] or row["Attachable"] for row in networks)


def test_a_subnet_in_use_is_skipped(docker_harness: DockerHarness) -> None:
    runtime = docker_harness.with_capacity_for_one()
    assert isinstance(runtime, DockerRuntime)
    subnet = str(runtime._creator.networks.subnets)
    ipam = {"Driver": "default", "Config": [{"Subnet": subnet}]}
    other = docker_harness.client.create_network(new_id(), ipam=ipam)
    try:
        with pytest.raises(EngineRefused, match="in use"):
            docker_harness.create()
    finally:
        docker_harness.client.remove_network(other["Id"])


def test_ports_are_published_on_the_bind_address_and_shown_at_the_public_host(
    docker_harness: DockerHarness,
) -> None:
    docker_harness.runtime = docker_harness.new_runtime(public_host="sandboxes.example.com")
    spec, facts = docker_harness.create()
    published = docker_harness.inspect(spec, "web")["NetworkSettings"]["Ports"]["8080/tcp"]
    assert [one["HostIp"] for one in published] == ["127.0.0.1"]
    assert facts.services["web"].ports[8080].host == "sandboxes.example.com"
