"""Save points through the proxy: what the portal needs for them, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlencode

import pytest

from sandboxes.runtime.docker.names import Names
from tests.harness.runtimes import TIME_LIMIT, ignore_step
from tests.helpers.engine_faults import RepairedSandbox, container
from tests.socket_proxy.harness import ProxiedHarness

pytestmark = [pytest.mark.engine, pytest.mark.slow]

SAVE_POINT = "sp_0123456789abcdef"


def test_a_sandbox_is_saved_restored_and_its_save_point_removed(
    proxied: ProxiedHarness, sandbox: RepairedSandbox
) -> None:
    spec = sandbox.healthy()
    proxied.write_data(spec, "first")
    proxied.runtime.save(spec, SAVE_POINT)
    proxied.write_data(spec, "second")
    restored = replace(spec, save_point=SAVE_POINT)
    proxied.runtime.recreate(restored, ignore_step, TIME_LIMIT)
    assert proxied.read_data(spec) == "first"
    assert list(proxied.runtime.save_points()) == [SAVE_POINT]
    proxied.runtime.recreate(spec, ignore_step, TIME_LIMIT)
    proxied.runtime.remove_save_point(SAVE_POINT)
    assert proxied.runtime.save_points() == {}


def test_no_other_commits_and_removals_are_allowed(
    proxied: ProxiedHarness, sandbox: RepairedSandbox
) -> None:
    spec, names = sandbox.healthy(), Names(proxied.instance)
    query = {
        "container": container(spec, "web"),
        "repo": names.save_point_repository,
        "tag": f"{SAVE_POINT}-web",
        "pause": "False",
    }
    labels = names.save_point_labels(SAVE_POINT, "web")
    body = {"Env": ["TOKEN="], "Labels": labels}
    for queries, bodies in (
        ({"repo": proxied.image.partition(":")[0]}, {}),
        ({"repo": Names("other").save_point_repository}, {}),
        ({"tag": f"{SAVE_POINT}-store"}, {}),
        ({"tag": "latest"}, {}),
        ({"pause": "1"}, {}),
        ({"changes": "USER root"}, {}),
        ({"container": "x/../y"}, {}),
        ({}, {"Env": ["TOKEN=x"]}),
        ({}, {"User": "root"}),
        ({}, {"Volumes": {"/x": {}}}),
        ({}, {"Labels": labels | {"sandboxportal.image": "x"}}),
        ({}, {"Labels": labels | {"sandboxportal.instance": "other"}}),
    ):
        path = f"/commit?{urlencode(query | queries)}"
        assert proxied.ask("POST", path, body | bodies)[0] == 403, (queries, bodies)
    for options in ("", "?noprune=1", "?force=1"):
        assert proxied.ask("DELETE", f"/images/{proxied.image}{options}")[0] == 403
    assert proxied.runtime.save_points() == {}
