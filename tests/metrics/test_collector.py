"""Metrics, and the alerts, dashboard and documentation based on them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric

from sandboxes import actions
from sandboxes.gateway import development_ca
from sandboxes.lib.clock import now
from sandboxes.metrics import dependencies, outcomes
from sandboxes.metrics.collector import PortalCollector
from sandboxes.models import Engine, WorkerStatus
from sandboxes.runtime import EngineRefused
from tests.helpers.scenarios import (
    launch,
    request,
    run_on_commit,
    sweep,
)

pytestmark = [pytest.mark.django_db, pytest.mark.store]

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "dashboard.json").read_text())
PARTS = {
    "histogram": ("_bucket", "_count", "_sum"),
    "counter": ("_total",),
    "gauge": ("",),
}


@pytest.fixture
def busy(alice, runtime, settings, clock, tmp_path, monkeypatch) -> None:
    """Produce a value for every metric."""
    WorkerStatus.store(last_heartbeat_at=now())
    monkeypatch.setattr(
        dependencies, "database_connections", lambda: dependencies.Connections(12, 100)
    )
    monkeypatch.setattr(dependencies, "_known_expiry", lambda _period: 2_000_000_000.0)
    _, certificate, _ = development_ca.write(tmp_path, "sandboxes.example.net")
    settings.SANDBOX_GATEWAY_CERTIFICATE = str(certificate)
    sandbox = launch(alice)
    settings.SANDBOX_POOL_SIZE = 1
    sweep()
    with run_on_commit():
        request(alice)
    runtime.fail_next("destroy", EngineRefused("It is busy."))
    with run_on_commit():
        actions.destroy(sandbox, alice)
    clock.forward(seconds=20)
    sweep()
    clock.forward(seconds=20)
    outcomes.aggregate_events()
    Engine.default().store(certificate_expires_at=now())


@pytest.fixture
def families(busy: None) -> dict[str, Metric]:
    return {family.name: family for family in PortalCollector().collect()}


def exposed() -> bytes:
    registry = CollectorRegistry()
    registry.register(PortalCollector())
    return generate_latest(registry)


def test_each_engine_has_its_own_series(alice, engines):
    row = launch(alice)
    Engine.objects.get(name="west").store(draining_since=now() - timedelta(hours=1), images={})
    found = {
        (sample.name.removeprefix("sandboxportal_engine_"), sample.labels["engine"]): sample.value
        for metric in PortalCollector().collect()
        for sample in metric.samples
        if "engine" in sample.labels
    }
    assert {found["sandboxes", name] for name in engines} == {0, 1}
    assert found["promised_bytes", row.engine_name] == row.memory_mb * 2**20
    assert found["missing_images", "west"] > 0 == found["missing_images", "east"]
    assert found["draining_seconds", "west"] > 0 == found["draining_seconds", "east"]
    assert found["away", "west"] == 0


def promtool(*arguments: str, given: bytes = b"", folder: Path = PROMETHEUS) -> str:
    done = subprocess.run(
        ["promtool", *arguments], cwd=folder, input=given, capture_output=True, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    return (done.stdout + done.stderr).decode()


@pytest.mark.promtool
def test_promtool_accepts_the_metrics(busy: None) -> None:
    assert promtool("check", "metrics", given=exposed()) == ""


@pytest.mark.promtool
def test_the_alert_rules_are_valid_and_pass_their_tests() -> None:
    promtool("check", "rules", "--lint-fatal", "alerts.yml")
    promtool("test", "rules", "alerts_test.yml")


@pytest.mark.promtool
def test_the_example_configuration_is_valid(tmp_path: Path) -> None:
    shutil.copy(PROMETHEUS / "alerts.yml", tmp_path)
    (tmp_path / "token").write_text("for-prometheus-alone")
    words = (PROMETHEUS / "prometheus.yml").read_text()
    file = tmp_path / "prometheus.yml"
    file.write_text(words.replace("/etc/prometheus/sandboxportal-token", str(tmp_path / "token")))
    promtool("check", "config", str(file), folder=tmp_path)


def test_every_alert_is_tested_firing_and_not_firing() -> None:
    rules = re.findall(r"alert: (\w+)", (PROMETHEUS / "alerts.yml").read_text())
    quiet, loud = (PROMETHEUS / "alerts_test.yml").read_text().split("name: everything is wrong")

    for rule in rules:
        assert f"alertname: {rule}}}" in quiet, rule
        assert f"alertname: {rule}\n        exp_alerts" in loud, rule


def series(families: dict[str, Metric]) -> dict[str, set[str]]:
    """Return all series that can be queried, with their labels."""
    found = {}
    for name, family in families.items():
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        for part in PARTS[family.type]:
            found[name + part] = labels | ({"le"} if part == "_bucket" else set())
    return found


def expressions() -> list[str]:
    panels = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    return [*panels, (PROMETHEUS / "alerts.yml").read_text()]


def test_dashboard_and_alerts_query_only_existing_series(families) -> None:
    known = series(families)
    asked = {name for text in expressions() for name in re.findall(r"sandboxportal_\w+", text)}
    assert asked - known.keys() == set()
    for text in expressions():
        for name, inside in re.findall(r"(sandboxportal_\w+)\{([^}]*)\}", text):
            labels = set(re.findall(r"(\w+)(?==|!=|=~|!~)", inside))
            assert labels <= known[name], (name, inside)


def test_the_dashboard_shows_every_series() -> None:
    text = " ".join(target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"])
    for family in documented():
        assert family in text, family


def test_the_dashboard_can_be_imported() -> None:
    panels = DASHBOARD["panels"]
    places = {(p["gridPos"]["x"], p["gridPos"]["y"]) for p in panels}

    assert DASHBOARD["uid"] and DASHBOARD["title"] and DASHBOARD["schemaVersion"]
    assert len({panel["id"] for panel in panels}) == len(panels) == len(places)
    assert {panel["datasource"]["uid"] for panel in panels} == {"${source}"}
    assert [one["name"] for one in DASHBOARD["templating"]["list"]] == ["source"]


def documented() -> dict[str, tuple[str, set[str]]]:
    """Return type and labels of each series according to the documentation."""
    rows = re.findall(
        r"^\| `(sandboxportal_\w+)` \| (\w+) \|([^|]*)\|",
        (ROOT / "docs" / "metrics.md").read_text(),
        re.MULTILINE,
    )
    return {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def test_every_series_is_documented_with_its_type_and_labels(families) -> None:
    exposed_series = {
        name: (
            family.type,
            {label for sample in family.samples for label in sample.labels} - {"le"},
        )
        for name, family in families.items()
    }
    assert documented() == exposed_series


def test_histograms_add_up(families) -> None:
    samples = families["sandboxportal_launch_seconds"].samples
    counts = {
        (s.labels["start"], s.labels["result"]): s.value
        for s in samples
        if s.name.endswith("_count")
    }
    assert counts == {("warm", "ready"): 1, ("cold", "ready"): 1}
    whole = [s.value for s in samples if s.labels.get("le") == "+Inf"]
    assert sum(whole) == sum(counts.values())


def test_refused_engine_calls_are_counted(families) -> None:
    errors = families["sandboxportal_engine_errors"].samples
    assert {s.labels["call"]: s.value for s in errors if s.name.endswith("_total")} == {
        "create": 0,
        "observe": 0,
        "destroy": 1,
        "sweep": 0,
    }


def test_before_the_first_sweep_unknown_series_are_missing(runtime) -> None:
    names = {family.name for family in PortalCollector().collect()}
    assert "sandboxportal_engine_up" not in names
    assert "sandboxportal_disk_free_bytes" not in names
