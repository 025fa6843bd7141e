"""Save points of billing sandboxes on an engine: their data, and none of their secrets."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv4Network

import docker
import psycopg
import pytest

from sandboxes.blueprints import addresses, load
from sandboxes.runtime.docker import DockerRuntime
from tests.billing.harness import (
    TIME_LIMIT,
    ApiClient,
    LaunchedSandbox,
    launch_billing,
    launch_variables,
)
from tests.harness.runtimes import ignore_step, new_id

pytestmark = [pytest.mark.engine, pytest.mark.slow]

SAVE_POINT = "sp_0123456789abcdef"


@pytest.fixture
def runtime() -> Iterator[DockerRuntime]:
    runtime = DockerRuntime(f"tests-saved-{new_id()[4:12]}", IPv4Network("10.215.16.0/24"))
    yield runtime
    for sandbox_id in runtime.observe():
        runtime.destroy(sandbox_id)
    for save_point in runtime.save_points():
        runtime.remove_save_point(save_point)


def everything_in(image: str) -> bytes:
    """Return the configuration and the history of an image, and all files of its layers."""
    client = docker.APIClient(timeout=60)
    found = json.dumps([client.inspect_image(image), client.history(image)]).encode()
    with tarfile.open(fileobj=io.BytesIO(b"".join(client.get_image(image)))) as exported:
        for member in exported:
            if member.isreg() and (file := exported.extractfile(member)):
                found += file.read()
    return found


def test_a_copy_has_the_data_and_none_of_the_secrets(runtime: DockerRuntime) -> None:
    source = launch_billing(LaunchedSandbox, runtime)
    environment = {k: v for each in source.spec.services for k, v in each.environment.items()}
    password = environment["DATABASE_PASSWORD"]
    [plan] = source.api.list_all("/v1/plans?limit=100")[:1]
    source.api.ok("PATCH", f"/v1/plans/{plan['id']}", json={"name": "Saved"})
    runtime.save(source.spec, SAVE_POINT)
    source.api.ok("PATCH", f"/v1/plans/{plan['id']}", json={"name": "Changed"})

    label = f"sandboxportal.save-point={SAVE_POINT}"
    [image] = docker.APIClient().images(filters={"label": label}, all=True)
    content = everything_in(image["Id"])
    assert b"Saved" in content
    secrets = [environment["API_KEY"], environment["PORTAL_KEY"], password]
    assert not [value for value in secrets if value.encode() in content]

    blueprint = load("billing")
    own = blueprint.new_secrets()
    variables = own | launch_variables(datetime.now(UTC))
    copy = blueprint.spec(new_id(), variables, 2048, SAVE_POINT)
    published = addresses(runtime.create(copy, ignore_step, TIME_LIMIT))
    credentials = blueprint.fill_credentials(own, published)
    with ApiClient(blueprint.endpoint_urls(published)["api"], credentials["api_key"]) as api:
        assert api.ok("GET", f"/v1/plans/{plan['id']}")["name"] == "Saved"
    with psycopg.connect(credentials["database_url"]) as connection:
        assert connection.execute("SELECT count(*) FROM plans").fetchone() == (5,)
    for_source = credentials["database_url"].replace(own["DATABASE_PASSWORD"], password)
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(for_source)

    runtime.recreate(replace(source.spec, save_point=SAVE_POINT), ignore_step, TIME_LIMIT)
    assert source.api.ok("GET", f"/v1/plans/{plan['id']}")["name"] == "Saved"
    with psycopg.connect(source.database_url) as connection:
        connection.execute("SELECT 1")
