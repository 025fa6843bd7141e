"""Parameters and metadata of a launch: in the API, in webhooks, and in the sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sandboxes import blueprints
from sandboxes.models import MetadataEntry, Sandbox, WebhookDelivery
from sandboxes.webhooks import endpoints
from sandboxes.webhooks.messages import body_of
from sandboxes.worker import provisioning
from tests.helpers.api_client import ApiClient, assert_problem
from tests.helpers.blueprints import tiny, write
from tests.helpers.scenarios import launch, pooled, reload, sweep

if TYPE_CHECKING:
    from pathlib import Path

    from django.contrib.auth.models import User
    from django.test.client import _MonkeyPatchedWSGIResponse as Answer
    from pytest_django.fixtures import SettingsWrapper

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime")]

DEFAULTS = {"size": "small", "workers": 2, "debug": False, "region": "eu"}
PARAMETERS = {
    "size": {"type": "enum", "values": ["small", "large"], "default": "small"},
    "workers": {"type": "integer", "minimum": 1, "maximum": 8, "default": 2},
    "debug": {"type": "boolean", "default": False, "help": "Log more."},
    "region": {"type": "string", "pattern": "[a-z]{2}", "default": "eu"},
}


@pytest.fixture(autouse=True)
def _tiny_with_parameters(settings: SettingsWrapper, tmp_path: Path) -> None:
    content = tiny()
    content["x-sandbox"]["parameters"] = PARAMETERS
    variables = {"SIZE": "${size}", "WORKERS": "${workers}", "DEBUG": "${debug}"}
    content["services"]["web"]["environment"] = variables
    write(tmp_path, content)
    settings.SANDBOX_BLUEPRINTS_DIR = tmp_path
    settings.SANDBOX_DEFAULT_BLUEPRINT = "tiny"


@pytest.fixture
def program(alice: User) -> ApiClient:
    return ApiClient(alice)


def environment_of(sandbox: Sandbox) -> dict[str, str]:
    return dict(provisioning.specification(sandbox).services[0].environment)


# --- parameters ------------------------------------------------------------------------------


def test_a_launch_chooses_parameters_and_gets_the_other_defaults(program: ApiClient) -> None:
    launched = program.launch(parameters={"size": "large", "debug": True})

    assert launched["parameters"] == DEFAULTS | {"size": "large", "debug": True}
    sandbox = Sandbox.objects.get()
    assert environment_of(sandbox) == {"SIZE": "large", "WORKERS": "2", "DEBUG": "true"}


@pytest.mark.store
def test_a_sandbox_from_before_there_were_parameters_has_the_defaults(alice: User) -> None:
    sandbox = launch(alice)
    Sandbox.objects.update(parameters={})

    assert environment_of(reload(sandbox)) == {"SIZE": "small", "WORKERS": "2", "DEBUG": "false"}


@pytest.mark.parametrize(
    ("parameters", "errors"),
    [
        ({"colour": "red"}, {"colour": "Unknown parameter. “Tiny stack” has size, workers, debug"}),
        ({"size": "huge"}, {"size": "Must be one of: small, large."}),
        ({"workers": 9}, {"workers": "Must be from 1 to 8."}),
        ({"workers": "9"}, {"workers": "Must be an integer."}),
        ({"debug": None}, {"debug": "Must be true or false."}),
        ({"region": ["eu"]}, {"region": "Must be a string."}),
        ({"region": "EU"}, {"region": "Must match the pattern [a-z]{2}"}),
        ({"size": 1, "debug": 1}, {"size": "small, large", "debug": "true or false"}),
    ],
)
def test_invalid_parameters_are_refused_by_name(
    program: ApiClient, parameters: dict[str, Any], errors: dict[str, str]
) -> None:
    answer = program.post("/sandboxes", {"parameters": parameters})

    problem = assert_problem(answer, 422)
    assert [one["field"] for one in problem["errors"]] == [f"parameters.{name}" for name in errors]
    for one, says in zip(problem["errors"], errors.values(), strict=True):
        assert says in one["message"]
    assert not Sandbox.objects.exists()


def test_the_blueprint_says_which_parameters_it_has(program: ApiClient) -> None:
    [described] = program.get("/blueprints").json()["data"]

    assert described["parameters"]["workers"] == {
        "type": "integer",
        "title": "Workers",
        "help": "",
        "default": 2,
        "values": None,
        "minimum": 1,
        "maximum": 8,
        "pattern": None,
        "max_length": None,
    }
    assert {name: one["default"] for name, one in described["parameters"].items()} == DEFAULTS


@pytest.mark.store
@pytest.mark.parametrize(
    ("parameters", "is_warm"), [({"workers": 2}, True), ({"workers": 3}, False)]
)
def test_the_pool_serves_launches_with_the_defaults(
    program: ApiClient, settings: SettingsWrapper, parameters: dict[str, Any], is_warm: bool
) -> None:
    settings.SANDBOX_POOL_SIZE = 1
    sweep()
    [warm] = pooled()

    launched = program.launch(parameters=parameters, metadata={"job": "1"})

    assert (launched["id"] == warm.public_id) == is_warm
    assert launched["parameters"] == DEFAULTS | parameters
    assert launched["metadata"] == {"job": "1"}


def test_other_options_make_another_request(program: ApiClient) -> None:
    first = program.post("/sandboxes", {"parameters": {"workers": 1}}, Idempotency_Key="k")
    again = program.post("/sandboxes", {"parameters": {"workers": 1}}, Idempotency_Key="k")
    other = program.post("/sandboxes", {"parameters": {"workers": 2}}, Idempotency_Key="k")

    assert (first.status_code, again.json()["id"]) == (201, first.json()["id"])
    assert_problem(other, 422, "already used")


# --- metadata --------------------------------------------------------------------------------


@pytest.mark.store
def test_metadata_is_in_the_sandbox_and_its_webhooks(program: ApiClient, alice: User) -> None:
    endpoints.create(alice, "https://example.com/hook", ["sandbox.running"])
    metadata = {"job": "4711", "commit": "ä" * 500, "k" * 40: "", "👩\u200d💻": "a\u200cb\n"}
    launched = program.launch(metadata=metadata)
    provisioning.provision(Sandbox.objects.get())

    assert launched["metadata"] == program.look(launched)["metadata"] == metadata
    message = body_of(WebhookDelivery.objects.get())
    assert '"metadata":{"job":"4711"' in message
    assert '"parameters":{"size":"small"' in message


@pytest.mark.store
def test_metadata_is_changed_by_pair_and_then_found(program: ApiClient) -> None:
    launched = program.launch(metadata={"job": "1", "branch": "main"})
    path = f"/sandboxes/{launched['id']}"

    changed = program.patch(path, {"metadata": {"job": "2", "branch": None, "try": "1"}}).json()

    assert changed["metadata"] == program.look(launched)["metadata"] == {"job": "2", "try": "1"}
    assert changed["name"] == launched["name"]
    for query, count in (("job]=1", 0), ("branch]=main", 0), ("job]=2&metadata[try]=1", 1)):
        assert len(program.get(f"/sandboxes?metadata[{query}").json()["data"]) == count
    for bad in ({"job": 3}, {f"k{n}": "v" for n in range(20)}):
        refused = program.patch(path, {"name": "other", "metadata": {**bad, "job": 3}})
        assert refused.status_code == 422
    assert program.look(launched) == changed
    assert program.patch(path, {}).json() == changed


@pytest.mark.parametrize(
    ("metadata", "field", "says"),
    [
        ({f"k{n}": "v" for n in range(21)}, "metadata", "at most 20 pairs"),
        ({"k" * 41: "v"}, f"metadata.{'k' * 40}", "1 to 40"),
        ({"": "v"}, "metadata.", "1 to 40"),
        ({"a[b]": "v"}, "metadata.a[b]", "without brackets"),
        ({"a\x00": "v"}, "metadata.a\x00", "printable"),
        ({"job": 4711}, "metadata.job", "Must be a string."),
        ({"job": None}, "metadata.job", "Must be a string."),
        ({"job": "v" * 501}, "metadata.job", "at most 500 characters (these are 501)"),
        ({"job": "\x00"}, "metadata.job", "control characters"),
        ({"job": "\ud800"}, "metadata.job", "lone surrogates"),
        ({"job": "\u202e"}, "metadata.job", "direction of text"),
        ({"job": "\u2028"}, "metadata.job", "control characters"),
    ],
)
def test_invalid_metadata_is_refused_by_key(
    program: ApiClient, metadata: dict[str, Any], field: str, says: str
) -> None:
    answer = program.post("/sandboxes", {"metadata": metadata})

    [error] = assert_problem(answer, 422)["errors"]
    assert error["field"] == field
    assert says in error["message"]
    assert not Sandbox.objects.exists()


def found(answer: Answer) -> list[str]:
    return [sandbox["name"] for sandbox in answer.json()["data"]]


@pytest.mark.store
def test_a_list_is_filtered_by_metadata(program: ApiClient, bob: User) -> None:
    program.launch(name="a", metadata={"job": "1", "branch": "main & more"})
    program.launch(name="b", metadata={"job": "2", "branch": "main & more"})
    ApiClient(bob).launch(name="c", metadata={"job": "1"})

    assert found(program.get("/sandboxes?metadata[job]=1")) == ["a"]
    assert found(program.get("/sandboxes?metadata%5Bjob%5D=2")) == ["b"]
    first = program.get("/sandboxes?metadata[branch]=main%20%26%20more&limit=1")
    assert found(first) == ["b"]
    assert "metadata%5Bbranch%5D=main+%26+more" in first["Link"]
    assert found(program.get("/sandboxes?metadata[branch]=main%20%26%20more&metadata[job]=1")) == [
        "a"
    ]
    assert found(program.get("/sandboxes?metadata[job]=")) == []
    assert found(program.get("/sandboxes?metadata[job]=1&state=failed")) == []


@pytest.mark.store
@pytest.mark.parametrize(
    "query",
    ["metadata=x", "metadata[]=x", "metadata[a][b]=x", "metadata[a]=1&metadata[a]=2", "other[a]=1"],
)
def test_a_malformed_filter_is_refused(program: ApiClient, query: str) -> None:
    problem = assert_problem(program.get(f"/sandboxes?{query}"), 422)

    [error] = problem["errors"]
    assert error["field"] == query.partition("=")[0]
    assert "metadata[key]" in error["message"] or "once" in error["message"]


@pytest.mark.store
def test_a_filter_by_metadata_uses_the_index(alice: User) -> None:
    sandbox = launch(alice)
    MetadataEntry.objects.bulk_create(
        MetadataEntry(sandbox=sandbox, key=f"key{n}", value=str(n)) for n in range(2000)
    )
    plan = MetadataEntry.objects.filter(key="key7", value="7").values("sandbox").explain()

    assert "metadata_by_value" in plan


@pytest.mark.store
def test_operators_find_sandboxes_by_metadata(admin_client: Any, alice: User) -> None:
    launch(alice, name="one", metadata={"job": "1", "branch": "main or so"})
    launch(alice, name="two", metadata={"job": "2"})

    for search in ("job=1", 'branch="main or so"', 'one job=1 branch="main or so"'):
        page = admin_client.get("/admin/sandboxes/sandbox/", {"q": search}).content.decode()
        assert "one <code>" in page and "two <code>" not in page, search
    url = f"/admin/sandboxes/sandbox/{Sandbox.objects.get(name='one').pk}/change/"
    page = admin_client.get(url).content.decode()
    assert "<div>job: 1</div>" in page
    assert "<div>size: small</div>" in page


def test_blueprints_without_parameters_take_none(
    program: ApiClient, settings: SettingsWrapper, tmp_path: Path
) -> None:
    write(tmp_path / "other", tiny())
    settings.SANDBOX_BLUEPRINTS_DIR = tmp_path / "other"
    assert blueprints.load("tiny").parameters == {}

    answer = program.post("/sandboxes", {"parameters": {"size": "small"}})

    assert_problem(answer, 422, "parameters.size: Unknown parameter. “Tiny stack” has none.")


def test_the_launch_form_has_the_parameters_of_the_blueprint(client: Any, alice: User) -> None:
    client.force_login(alice)
    page = client.get("/launch-options/", {"blueprint": "tiny"}).content.decode()
    assert 'name="parameters.size"' in page

    refused = client.post("/sandboxes/", {"key": "k", "parameters.workers": "9"})
    assert "Must be from 1 to 8." in refused.content.decode()
    client.post("/sandboxes/", {"key": "k", "parameters.workers": "3", "parameters.debug": "true"})
    assert Sandbox.objects.get().parameters == DEFAULTS | {"workers": 3, "debug": True}
