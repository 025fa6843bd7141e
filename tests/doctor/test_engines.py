"""The check of the engines that operators added."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from sandboxes.doctor import engines as check
from sandboxes.lib import clock
from sandboxes.models import Engine
from sandboxes.operators import alerts
from sandboxes.operators.overview import OperatorOverview
from sandboxes.preparation.engine_certificates import PORTAL, Authority
from sandboxes.runtime import EngineUnreachable, get_runtime
from tests.doctor.findings import FINE, WARNING, WRONG, the_one

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _certificates(tmp_path: Path, settings) -> None:
    settings.SANDBOX_ENGINE_CERTIFICATES = tmp_path / "portal"
    authority = Authority.open(tmp_path / "ca", "only for these tests")
    authority.issue_for_client(tmp_path / "portal", PORTAL)


def test_without_further_engines_nothing_is_asked(runtime) -> None:
    assert "No engines were added" in the_one(check.added_engines(), FINE).message


def test_a_certificate_that_ends_soon_is_named_with_its_engine(engines, monkeypatch) -> None:
    kind = type(get_runtime())
    found, ends = get_runtime().capabilities(), clock.now() + timedelta(days=20)
    monkeypatch.setattr(kind, "capabilities", lambda _: replace(found, certificate_expires_at=ends))
    found = list(check.added_engines())
    warned = [one for one in found if one.level is WARNING]
    assert [one.remedy for one in warned] == [
        f"Renew it: `manage.py engine issue-certificate {name}`."
        for name in Engine.objects.present().exclude(name="default").values_list("name", flat=True)
    ]


def test_an_engine_that_does_not_answer_is_an_error(engines, monkeypatch) -> None:
    Engine.objects.exclude(name__in=["default", "east"]).update(removed_at=clock.now())

    def fail(_: object) -> None:
        raise EngineUnreachable("The engine did not answer.")

    monkeypatch.setattr(type(get_runtime()), "capabilities", fail)
    assert "east: No engine answers there" in the_one(check.added_engines(), WRONG).message


def test_operators_are_told_before_a_certificate_ends(engines) -> None:
    def messages() -> list[str]:
        found = alerts.active_alerts(OperatorOverview())
        return [one.message for one in found if one.name == "engine_certificate"]

    assert messages() == []
    Engine.objects.get(name="east").store(certificate_expires_at=clock.now() + timedelta(days=9))
    assert "engine issue-certificate east" in messages()[0]
