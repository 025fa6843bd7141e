"""The socket proxy in front of a real engine: what the portal needs works, and nothing else."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import quote

import pytest
from docker.errors import APIError

from tests.harness.runtimes import TIME_LIMIT, fetch_page, ignore_step, new_id
from tests.socket_proxy.attacker import FORBIDDEN_KEYS, FORBIDDEN_OPTIONS, TAKE_OVER, Attacker
from tests.socket_proxy.harness import ProxiedHarness, foreign_objects

pytestmark = [pytest.mark.engine, pytest.mark.slow]

API_VERSIONS = [f"/v1.{minor}" for minor in (12, 18, 20, 21, 22, 23, 24, 30, 40, 42, 50)]


@pytest.fixture(scope="module")
def attacker(proxied: ProxiedHarness) -> Iterator[Attacker]:
    proxied.clear()
    with foreign_objects(proxied.client, proxied.image) as (foreign, foreign_network):
        spec, _ = proxied.create()
        yield Attacker(proxied, spec, f"{spec.id}-web-1", foreign, foreign_network)
        proxied.clear()


def test_a_sandbox_works_through_the_proxy(attacker: Attacker) -> None:
    proxied = attacker.harness
    runtime = proxied.new_runtime()
    assert runtime.capabilities().version
    assert runtime.images([proxied.image])
    spec, facts = proxied.create()
    fetch_page(facts)
    runtime.create(spec, ignore_step, TIME_LIMIT)
    assert runtime.execute(spec.id, "web", ["echo", "hello"], 10) == (0, "hello\n")
    assert runtime.logs(spec.id, "web", 5) == ""
    assert runtime.observe(sizes=True)[spec.id].alive
    assert runtime.usage([spec.id])[spec.id].memory_mb > 0
    runtime.destroy(spec.id)
    assert spec.id not in runtime.observe()


def test_a_container_with_more_rights_than_a_sandbox_is_denied(attacker: Attacker) -> None:
    before = attacker.state_of_engine()
    bodies = {name: attacker.body(**options) for name, options in FORBIDDEN_OPTIONS.items()}
    bodies |= {name: attacker.body() | keys for name, keys in FORBIDDEN_KEYS.items()}
    for name, body in bodies.items():
        for path in ("/v1.41/containers/create", "/containers/create"):
            status, text = attacker.ask("POST", path, body)
            assert (status, "Denied by" in text) == (403, True), (name, text)
    assert attacker.state_of_engine() == before


def test_a_container_gets_the_confinement_that_was_asked_for(attacker: Attacker) -> None:
    status, text = attacker.ask("POST", "/v1.41/containers/create", attacker.body())
    assert status == 201, text
    found = attacker.harness.client.inspect_container(json.loads(text)["Id"])
    try:
        assert found["Name"] == f"/{attacker.spec.id}-spare-1"
        network = attacker.harness.client.inspect_network(f"{attacker.spec.id}_default")["Id"]
        assert found["HostConfig"]["NetworkMode"] == network
        [endpoint] = found["NetworkSettings"]["Networks"].values()
        assert endpoint["NetworkID"] == network
        assert found["HostConfig"]["CapDrop"] == ["ALL"]
        assert not found["HostConfig"]["Binds"]
    finally:
        assert attacker.ask("DELETE", f"/containers/{found['Id']}?force=1")[0] == 204


def test_no_body_and_no_api_version_changes_a_container_at_its_start(attacker: Attacker) -> None:
    _, text = attacker.ask("POST", "/containers/create", attacker.body())
    container = json.loads(text)["Id"]
    try:
        for version in ("", "/v1.41", *API_VERSIONS):
            assert (
                attacker.ask("POST", f"{version}/containers/{container}/start", TAKE_OVER)[0] == 403
            )
        for version in API_VERSIONS:
            assert attacker.ask("POST", f"{version}/containers/{container}/start")[0] == 403
            assert attacker.ask("GET", f"{version}/info")[0] == 403
            assert attacker.ask("POST", f"{version}/containers/create", attacker.body())[0] == 403
        found = attacker.harness.client.inspect_container(container)
        assert found["State"]["Status"] == "created"
        assert not found["HostConfig"]["Privileged"]
    finally:
        attacker.ask("DELETE", f"/containers/{container}?force=1")


def test_a_container_is_named_after_its_sandbox_and_service(attacker: Attacker) -> None:
    foreign = attacker.harness.client.inspect_container(attacker.foreign)["Id"]
    for name in (foreign[:12], foreign, attacker.foreign, attacker.own, f"/{foreign[:12]}", "x-1"):
        path = f"/containers/create?name={quote(name)}"
        assert attacker.ask("POST", path, attacker.body())[0] == 403, name


@pytest.mark.parametrize("rounds", [5, pytest.param(20, marks=pytest.mark.exhaustive)])
def test_a_name_that_changes_its_meaning_reaches_only_what_was_checked(
    attacker: Attacker, rounds: int
) -> None:
    """A container of ours is named like the beginning of a foreign ID, and goes away meanwhile."""
    client = attacker.harness.client
    foreign = client.inspect_container(attacker.foreign)["Id"]
    labels = {"sandboxportal.instance": attacker.harness.instance}
    for _ in range(rounds):
        # Only an operator can create such a container; the proxy doesn't allow the name.
        decoy = client.create_container(
            attacker.harness.image, ["sleep", "60"], name=foreign[:12], labels=labels
        )["Id"]
        with ThreadPoolExecutor(4) as pool:
            removal = pool.submit(client.remove_container, decoy, force=True)
            paths = [f"/containers/{foreign[:12]}/{what}" for what in ("json", "logs?stdout=1")]
            asked = [pool.submit(attacker.ask, "GET", path) for path in paths * 10]
            removal.result()
            answers = [one.result() for one in asked]
        assert {status for status, _ in answers} <= {200, 403, 404, 409}
        assert not any("foreign-secret" in text for _, text in answers)


@contextmanager
def labelled(attacker: Attacker, sandbox: str) -> Iterator[dict[str, Any]]:
    """Yield the request for a container that claims to belong to another sandbox."""
    body = attacker.body(NetworkMode=f"{sandbox}_default")
    for name in ("sandboxportal.sandbox", "com.docker.compose.project"):
        body["Labels"][name] = sandbox
    body["NetworkingConfig"] = {"EndpointsConfig": {f"{sandbox}_default": {"Aliases": ["x"]}}}
    yield body


def test_a_container_joins_only_the_network_of_its_sandbox(attacker: Attacker) -> None:
    before = attacker.state_of_engine()
    client = attacker.harness.client
    own = f"{attacker.spec.id}_default"
    foreign_id = client.inspect_network(attacker.foreign_network)["Id"]
    container = client.inspect_container(attacker.foreign)["Id"]
    names = [
        attacker.foreign_network.removesuffix("_default"),
        f"container:{container}",
        f"container:{attacker.own}",
        "host",
        new_id(),
    ]
    for sandbox in names:
        with labelled(attacker, sandbox) as body:
            assert attacker.ask("POST", "/containers/create", body)[0] == 403, sandbox
    endpoints: list[dict[str, Any]] = [
        {"bridge": {}},
        {own: {"NetworkID": "bridge"}},
        {own: {"NetworkID": foreign_id}},
        {own: {"networkid": foreign_id}},
        {own: {"Links": ["other"]}},
        {own: {"IPAMConfig": {"IPv4Address": "10.214.0.2"}}},
        {own: {"MacAddress": "02:42:ac:11:00:02"}},
        {own: {"DriverOpts": {"x": "y"}}},
        {own: {"Aliases": ["web"]}, attacker.foreign_network: {}},
        {foreign_id: {}},
    ]
    for one in endpoints:
        body = attacker.body() | {"NetworkingConfig": {"EndpointsConfig": one}}
        assert attacker.ask("POST", "/containers/create", body)[0] == 403, one
        lower = attacker.body() | {"NetworkingConfig": {"endpointsconfig": one}}
        assert attacker.ask("POST", "/containers/create", lower)[0] == 403, one
    for path in (f"/networks/{own}/connect", f"/networks/{attacker.foreign_network}/connect"):
        assert attacker.ask("POST", path, {"Container": attacker.own})[0] == 403
    assert attacker.state_of_engine() == before


def test_a_container_stays_bound_to_the_network_that_was_checked(attacker: Attacker) -> None:
    """A foreign network takes the name of the sandbox's after the container was created."""
    client, sandbox = attacker.harness.client, new_id()
    name = f"{sandbox}_default"
    labels = {
        "sandboxportal.instance": attacker.harness.instance,
        "sandboxportal.sandbox": sandbox,
    }
    own = client.create_network(name, labels=labels)["Id"]
    with labelled(attacker, sandbox) as body:
        status, text = attacker.ask("POST", "/containers/create", body)
    assert status == 201, text
    container = json.loads(text)["Id"]
    client.remove_network(own)
    foreign = client.create_network(name)["Id"]
    try:
        status, text = attacker.ask("POST", f"/containers/{container}/start")
        assert (status, "not found" in text) == (404, True), text
        assert not client.inspect_network(foreign)["Containers"]
    finally:
        client.remove_container(container, force=True)
        client.remove_network(foreign)


def test_networks_of_other_drivers_and_ranges_are_denied(attacker: Attacker) -> None:
    before = attacker.state_of_engine()
    labels = {
        "sandboxportal.instance": attacker.harness.instance,
        "sandboxportal.sandbox": "sbx_1",
    }
    allowed = {
        "Name": "sbx_1_default",
        "Driver": "bridge",
        "Labels": labels,
        "Options": {"com.docker.network.bridge.name": "sbxtest"},
        "IPAM": {"Config": [{"Subnet": "10.214.15.240/28"}]},
    }
    forbidden: list[dict[str, Any]] = [
        {"Driver": "macvlan", "Options": {"parent": "eth0"}},
        {"Driver": "host"},
        {"Options": {"com.docker.network.bridge.name": "docker0"}},
        {"Options": {"com.docker.network.bridge.name": "sbx../x"}},
        {"Options": {"com.docker.network.bridge.host_binding_ipv4": "0.0.0.0"}},
        {"IPAM": {"Config": [{"Subnet": "192.168.0.0/24"}]}},
        {"IPAM": {"Config": [{"Subnet": "10.214.0.0/20"}]}},
        {"IPAM": {"Config": [{"Subnet": "10.214.15.240/28", "Gateway": "10.213.0.1"}]}},
        {"IPAM": {"Config": [{"Subnet": "10.214.15.240/28"}, {"Subnet": "10.1.0.0/28"}]}},
        {"IPAM": {"config": [{"Subnet": "10.214.15.240/28"}]}},
        {"IPAM": {"Driver": "null", "Config": [{"Subnet": "10.214.15.240/28"}]}},
        {"IPAM": {}},
        {"Labels": {}},
        {"Labels": labels | {"sandboxportal.sandbox": "sbx_2"}},
        {"Labels": labels | {"com.docker.compose.project": "other"}},
        {"Labels": labels | {"traefik.enable": "true"}},
        {"Name": attacker.foreign_network},
        {"Name": "bridge"},
        {"Attachable": True},
        {"Ingress": True},
        {"EnableIPv6": True},
        {"Scope": "swarm"},
        {"ConfigOnly": True},
        {"ConfigFrom": {"Network": "x"}},
    ]
    for change in forbidden:
        assert attacker.ask("POST", "/networks/create", allowed | change)[0] == 403, change
    assert attacker.state_of_engine() == before


def test_unrelated_objects_on_the_engine_are_out_of_reach(attacker: Attacker) -> None:
    client = attacker.harness.client
    foreign = client.inspect_container(attacker.foreign)["Id"]
    network = client.inspect_network(attacker.foreign_network)["Id"]
    command = client.exec_create(foreign, ["id"])["Id"]
    before = attacker.state_of_engine()
    for reference in (attacker.foreign, foreign, foreign[:12], foreign[:3]):
        for method, suffix, body in (
            ("GET", "/json", None),
            ("GET", "/logs?stdout=1", None),
            ("GET", "/stats?stream=0", None),
            ("POST", "/start", None),
            ("POST", "/exec", {"Cmd": ["id"]}),
            ("POST", "/update", {"NanoCpus": 1_000_000_000}),
            ("DELETE", "?force=1", None),
        ):
            status, text = attacker.ask(method, f"/containers/{reference}{suffix}", body)
            # The engine refuses a prefix that isn't unique.
            assert status in ((403,) if len(reference) > 3 else (400, 403, 404, 500)), suffix
            assert "foreign-secret" not in text
    start = {"Detach": False, "Tty": False}
    assert attacker.ask("POST", f"/exec/{command}/start", start)[0] == 403
    assert attacker.ask("GET", f"/exec/{command}/json")[0] == 403
    for reference in (network, attacker.foreign_network, "bridge", "host", "none"):
        disconnect = {"Container": attacker.foreign, "Force": True}
        assert attacker.ask("GET", f"/networks/{reference}")[0] == 403
        assert attacker.ask("DELETE", f"/networks/{reference}")[0] == 403
        assert attacker.ask("POST", f"/networks/{reference}/disconnect", disconnect)[0] == 403
    own = f"/networks/{attacker.spec.id}_default/disconnect"
    assert attacker.ask("POST", own, {"Container": attacker.foreign, "Force": True})[0] == 403
    assert attacker.ask("DELETE", "/containers/nowhere")[0] == 404
    assert attacker.state_of_engine() == before


def test_lists_show_foreign_objects_only_as_subnets(attacker: Attacker) -> None:
    label = f"sandboxportal.instance={attacker.harness.instance}"
    own = quote(json.dumps({"label": [label]}))
    everything = quote("{}")
    for path in ("/containers/json", "/volumes"):
        for query in (
            "",
            f"?filters={everything}",
            f"?filters=&filters={everything}",
            f"?filters={own}&filters={everything}",
            f"?filters={everything}&filters={own}",
            f"?filters={own}&%66ilters={everything}",
            f"?filters={own};filters={everything}",
            f"?Filters={own}",
            f"?filters={quote(own)}",
            f"?filters={own}&since={attacker.foreign}",
            f"?filters={own}&before={attacker.foreign}",
            "?filters=" + quote('{"name": [".*"]}'),
            "?filters=" + quote(json.dumps({"label": ["sandboxportal.instance"]})),
            "?filters=" + quote(json.dumps({"label": [label], "Label": []})),
            "?filters=" + quote(f'{{"label": ["{label}"], "label": []}}'),
            "?filters=" + quote(f'{{"label": ["{label}"]}}{{}}'),
        ):
            assert attacker.ask("GET", path + query)[0] == 403, (path, query)
    status, text = attacker.ask("GET", f"/containers/json?all=1&filters={own}")
    assert (status, attacker.foreign in text, attacker.own in text) == (200, False, True)
    # The number of matches would tell the names and labels of foreign networks.
    for filters in (
        {"name": [attacker.foreign_network]},
        {"name": [attacker.foreign_network[:9]]},
        {"label": ["com.docker.compose.project"]},
        {"driver": ["bridge"]},
        {"label": [label], "name": ["x"]},
    ):
        path = f"/networks?filters={quote(json.dumps(filters))}"
        assert attacker.ask("GET", path)[0] == 403, filters
    status, text = attacker.ask("GET", "/networks")
    network = attacker.harness.client.inspect_network(attacker.foreign_network)
    assert status == 200
    assert attacker.foreign_network not in text
    assert network["Id"] not in text
    assert network["IPAM"]["Config"][0]["Subnet"] in text


def test_requests_that_the_portal_does_not_need_are_denied(attacker: Attacker) -> None:
    mine = attacker.own
    for method, path, body in (
        ("POST", "/build", None),
        ("POST", "/images/create?fromImage=x", None),
        ("POST", "/images/load", None),
        ("POST", "/commit?container=x", {}),
        ("DELETE", f"/images/{attacker.harness.image}", None),
        ("POST", f"/images/{attacker.harness.image}/tag?repo=x", None),
        ("GET", "/images/json?filters=" + quote("{}"), None),
        ("POST", "/volumes/create", {"Name": "x"}),
        ("GET", "/secrets", None),
        ("GET", "/events", None),
        ("GET", "/system/df", None),
        ("GET", "/plugins", None),
        ("POST", "/swarm/init", {}),
        ("POST", "/auth", {}),
        ("POST", "/session", None),
        ("POST", "/grpc", None),
        ("GET", f"/containers/{mine}/archive?path=/", None),
        ("PUT", f"/containers/{mine}/archive?path=/", None),
        ("GET", f"/containers/{mine}/export", None),
        ("GET", f"/containers/{mine}/top", None),
        ("GET", f"/containers/{mine}/logs?stdout=1&follow=1", None),
        ("GET", f"/containers/{mine}/stats?stream=1", None),
        ("GET", f"/containers/{mine}/json?size=1", None),
        ("POST", f"/containers/{mine}/attach?stream=1&stdin=1", None),
        ("GET", f"/containers/{mine}/attach/ws", None),
        ("POST", f"/containers/{mine}/rename?name=x", None),
        ("POST", f"/containers/{mine}/kill", None),
        ("POST", f"/containers/{mine}/update", {"Memory": 0}),
        ("POST", f"/containers/{mine}/update", {"NanoCpus": 64_000_000_000}),
        ("POST", f"/containers/{mine}/update", {"NanoCpus": 10**9, "nanocpus": 0}),
        ("POST", f"/containers/{mine}/exec", {"Cmd": ["id"], "Privileged": True}),
        ("POST", f"/containers/{mine}/exec", {"Cmd": ["id"], "privileged": True}),
        ("POST", f"/containers/{mine}/exec", {"Cmd": ["id"], "User": "root"}),
        ("POST", f"/containers/{mine}/exec", {"Cmd": ["id"], "AttachStdin": True}),
        ("DELETE", f"/containers/{mine}?link=1", None),
        ("GET", f"/containers/{mine}/../{mine}/json", None),
        ("GET", f"/containers/{mine}/json/../archive?path=/", None),
        ("GET", "/v1.41/v1.41/info", None),
        ("GET", "//info", None),
        ("GET", "/info/", None),
        ("GET", "/INFO", None),
        ("get", "/info", None),
        ("GET", "http://engine/info", None),
        ("GET", f"/containers/%2e%2e/{mine}/json", None),
        ("GET", f"/containers/{mine}%2fjson", None),
        ("GET", f"/containers/{mine}/json%00", None),
        ("GET", f"/containers/{mine};x/json", None),
    ):
        assert attacker.ask(method, path, body)[0] == 403, path
    assert attacker.harness.runtime.observe()[attacker.spec.id].alive


def test_a_command_that_an_operator_prepared_as_root_is_not_started(attacker: Attacker) -> None:
    client = attacker.harness.client
    for rights in ({"privileged": True}, {"user": "root"}):
        command = client.exec_create(attacker.own, ["id"], **rights)["Id"]
        start = {"Detach": False, "Tty": False}
        assert attacker.ask("POST", f"/exec/{command}/start", start)[0] == 403
        assert not client.exec_inspect(command)["Running"]


def test_images_of_other_programs_can_be_neither_read_nor_used(attacker: Attacker) -> None:
    client, private = attacker.harness.client, f"company/{secrets.token_hex(4)}"
    client.import_image_from_data(
        b"\0" * 1024, repository=private, tag="1", changes=["ENV KEY=foreign-secret"]
    )
    image = client.inspect_image(f"{private}:1")["Id"]
    try:
        for reference in (f"{private}:1", image, image.removeprefix("sha256:")[:12]):
            status, text = attacker.ask("GET", f"/images/{reference}/json")
            assert (status, "SOCKET_PROXY_IMAGES" in text) == (403, True)
            body = attacker.body() | {"Image": reference}
            assert attacker.ask("POST", "/containers/create", body)[0] == 403
        assert private not in attacker.ask("GET", "/images/json")[1]
    finally:
        with suppress(APIError):
            client.remove_image(image, force=True)


def test_a_foreign_volume_is_neither_described_nor_removed(attacker: Attacker) -> None:
    client, name = attacker.harness.client, f"{attacker.spec.id}_claimed"
    client.create_volume(name, labels={"note": "foreign-secret"})
    labels = {
        "sandboxportal.instance": attacker.harness.instance,
        "sandboxportal.sandbox": attacker.spec.id,
    }
    try:
        for method, path, body in (
            ("POST", "/volumes/create", {"Name": name, "Labels": labels}),
            ("DELETE", f"/volumes/{name}?force=1", None),
        ):
            status, text = attacker.ask(method, path, body)
            assert (status, "foreign-secret" in text) == (403, False)
        for options in ({"type": "none", "device": "/", "o": "bind"}, {"device": "/"}):
            body = {"Name": name, "Labels": labels, "DriverOpts": options}
            assert attacker.ask("POST", "/volumes/create", body)[0] == 403
    finally:
        client.remove_volume(name)
