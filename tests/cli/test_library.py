"""The client library, against a portal that runs."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sandbox_client import AsyncSandbox, Client, Sandbox, errors

from sandboxes import models
from sandboxes.models import State

pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("environment"),
]
pytest_plugins = ["pytester"]


def state_of(found: Any) -> str:
    return models.Sandbox.objects.get(public_id=found.id).state


def test_a_sandbox_lives_as_long_as_its_block() -> None:
    with Sandbox.launch(name="tests", metadata={"job": "1"}) as sandbox:
        assert sandbox.is_running
        assert sandbox.endpoints["api"].startswith("http://")
        assert sandbox.environment()["API_KEY"] == sandbox.credentials()["api_key"]
        assert sandbox.rename("more tests").name == "more tests"
        assert sandbox.reset().data["reset_pending"] is False
        saved = sandbox.save("before")
        assert sandbox.restore(saved["id"]).is_running
        assert next(event["kind"] for event in sandbox.events()) == "requested"
    assert state_of(sandbox) == State.DESTROYED


def test_the_asynchronous_client_does_the_same() -> None:
    async def use() -> AsyncSandbox:
        async with await AsyncSandbox.launch(heartbeat_seconds=30) as sandbox:
            assert sandbox.is_running
            assert (await sandbox.connections())["apis"]["api"]["headers"]
            saved = await sandbox.save("before")
            assert (await sandbox.restore(saved["id"])).is_running
            await sandbox.extend(60)
            with pytest.raises(errors.Conflict, match="extended once"):
                await sandbox.extend(60)
        return sandbox

    # In a thread, since the browser of other tests leaves an event loop running in this one.
    with ThreadPoolExecutor(1) as pool:
        assert state_of(pool.submit(asyncio.run, use()).result()) == State.DESTROYED


def test_refusals_are_exceptions_with_what_the_portal_said() -> None:
    with Client() as portal:
        with pytest.raises(errors.InvalidRequest) as invalid:
            portal.launch(ttl_minutes=1)
        assert [error["field"] for error in invalid.value.errors] == ["ttl_minutes"]
        launched = [portal.launch() for _ in range(3)]
        with pytest.raises(errors.LimitReached) as reached:
            portal.launch()
        assert reached.value.retry_after
        assert {each.id for each in portal.sandboxes("running")} == {each.id for each in launched}


def test_the_fixture_of_pytest_gives_a_sandbox_to_tests(
    pytester: pytest.Pytester, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(
        """
        def test_one(sandbox):
            assert sandbox.is_running

        def test_two(sandbox, request):
            assert sandbox.id
        """
    )
    # Apart from the plugins of this run.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", environment["PYTHONPATH"])
    result = pytester.runpytest_subprocess("-p", "sandbox_client.pytest_plugin", "--sandbox-reset")
    result.assert_outcomes(passed=2)
    sandbox = models.Sandbox.objects.get()
    assert sandbox.state == State.DESTROYED
    assert sandbox.metadata == {"launched-by": "pytest"}
    assert sandbox.events.filter(kind="reset").count() == 2
